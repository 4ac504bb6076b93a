//! Where bytes from outside come in, one function for each source. The fuzz targets and the tests
//! run the same ones; each says what must hold for any bytes, beyond not panicking.

use deploy_server::deploy::decide::{World, decide, interrupted};
use deploy_server::deploy::gate::judge;
use deploy_server::deploy::model::Run;
use deploy_server::docker::{ContainerSummary, PullStream, demultiplex};
use deploy_server::listener::{parse_parent, read_table};
use deploy_server::notice::{departure, reclaim};
use deploy_server::probe::Reply;
use deploy_server::secrets::dotenv;
use deploy_server::service::ServiceKind;
use deploy_server::state::{parse_history, parse_journal, rollback_target};
use deploy_server::worker::parse_status;
use hyper::body::Bytes;
use secrecy::ExposeSecret as _;
use serde_json::Value;

/// A worker's answer: the first byte chooses the status.
pub(crate) fn worker(bytes: &[u8]) {
    let Some((choice, body)) = bytes.split_first() else { return };
    let status = [200, 503, 404, 500][usize::from(choice % 4)];
    let reply = Reply { status, body: Bytes::copy_from_slice(body) };
    for kind in ServiceKind::ALL {
        drop(judge(kind, &reply, Some("d1")));
    }
    let Ok(reading) = parse_status(&reply) else { return };
    assert!(matches!(status, 200 | 503), "an error is no reading");
    // Fields that nobody reads may hold text that is no text, and a list is read as well: nothing
    // to compare with.
    if let (true, Ok(said @ Value::Object(_))) =
        (reading.is_drained(), serde_json::from_slice(body))
    {
        assert_eq!(
            (&said["active_jobs"], &said["accepting"]),
            (&Value::from(0), &Value::from(false))
        );
    }
}

/// The engine's streams: the first byte chooses the size of the pieces.
pub(crate) fn docker_stream(bytes: &[u8]) {
    let Some((size, bytes)) = bytes.split_first() else { return };
    assert!(demultiplex(bytes).len() <= bytes.len(), "a log is no longer than what was sent");
    let read = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut stream = PullStream::default();
        for piece in pieces {
            stream.feed(piece)?;
        }
        stream.finish()
    };
    let whole = read(&mut std::iter::once(bytes));
    let pieces = read(&mut bytes.chunks(usize::from(*size) + 1));
    // How garbled text is quoted depends on how much of it had arrived.
    assert_eq!(whole.as_ref().ok(), pieces.as_ref().ok(), "a pull means the same in any pieces");
    if let Ok(containers) = serde_json::from_slice::<Vec<ContainerSummary>>(bytes) {
        assert!(containers.iter().all(|container| !container.name().contains('/')));
    }
}

/// What an earlier process left on the disk.
pub(crate) fn journal(bytes: &[u8]) {
    let records = parse_journal(bytes);
    let whole = bytes.iter().filter(|byte| **byte == b'\n').count();
    assert!(records.len() <= whole, "a torn line was never written");
    let mut torn = bytes.to_vec();
    torn.extend_from_slice(b"{\"at\":1,\"record\":\"en");
    if bytes.is_empty() || bytes.ends_with(b"\n") {
        assert_eq!(parse_journal(&torn), records, "a torn line changes nothing");
    }
    if let Some(run) = Run::from_records(records) {
        drop(decide(&run, &World::default()));
        let why = interrupted(&run, &World::default());
        assert!(why.is_none() || run.failure.is_none(), "a deploy fails for one reason");
    }
    let history = parse_history(bytes);
    if let Some(version) = rollback_target(&history, Some("sha256:now")) {
        assert_ne!(version.image_id, "sha256:now", "nobody rolls back to what runs");
    }
}

/// The host: its kernel's tables, its environment file, and the instance metadata.
pub(crate) fn host(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    drop(read_table(bytes, 3100));
    assert!(parse_parent(&text).is_none() || text.contains(')'));
    assert_eq!(departure(&text).is_some(), text == "Terminated");
    if reclaim(&text).is_ok() {
        assert!(text.contains("action") && text.contains("time"));
    }
    for (name, value) in dotenv::parse(&text) {
        let mut line = String::new();
        if dotenv::write(&mut line, &name, value.expose_secret()).is_ok() {
            let again = dotenv::parse(&line);
            let again = again.get(&name).map(|value| value.expose_secret());
            assert_eq!(again, Some(value.expose_secret()), "what is written is read back");
        }
    }
}
