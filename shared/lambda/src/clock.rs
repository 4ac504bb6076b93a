use fleet_protocol::time::UnixMs;

/// The time now. The one place where functions ask for it.
#[must_use]
pub fn now() -> UnixMs {
    UnixMs(jiff::Timestamp::now().as_millisecond())
}
