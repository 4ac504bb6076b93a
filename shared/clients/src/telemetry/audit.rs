//! Who changed what through the API.

use super::emit_line;
use crate::auth::Caller;
use fleet_protocol::time::UnixMs;
use serde_json::{Value, json};

/// One call that changed something or was to, whether or not it was let in. Never holds a secret.
#[derive(Clone, Debug)]
pub struct Audit<'a> {
    pub at: UnixMs,
    /// Nobody where the token was missing, wrong or could not be looked up.
    pub who: Option<Caller>,
    /// What was asked, such as `autoscale.tick`.
    pub what: &'a str,
    /// With which values; null where there are none.
    pub asked: Value,
    /// The HTTP status that it was answered with.
    pub status: u16,
    /// What came of it, in words.
    pub detail: String,
    pub request_id: &'a str,
}

impl Audit<'_> {
    /// Prints the line, `"type":"audit"`.
    pub fn emit(&self) {
        emit_line(&self.line());
    }

    fn line(&self) -> Value {
        let result = match self.status {
            ..400 => "done",
            400..500 => "refused",
            500.. => "failed",
        };
        json!({
            "type": "audit", "at": self.at.to_string(), "who": self.who, "what": self.what,
            "asked": self.asked, "result": result, "status": self.status, "detail": self.detail,
            "request_id": self.request_id,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_who_what_and_what_came_of_it() {
        let audit = Audit {
            at: UnixMs(1_795_478_400_000),
            who: None,
            what: "capacity.set",
            asked: json!({ "floor": 3 }),
            status: 401,
            detail: "the token is not one of the fleet's".to_owned(),
            request_id: "r-1",
        };
        let line = audit.line();
        assert_eq!(
            line,
            json!({
                "type": "audit", "at": "2026-11-24T00:00:00Z", "who": null, "what": "capacity.set",
                "asked": { "floor": 3 }, "result": "refused", "status": 401,
                "detail": "the token is not one of the fleet's", "request_id": "r-1"
            })
        );
        let result = |status| Audit { status, ..audit.clone() }.line()["result"].clone();
        assert_eq!([result(202), result(409), result(503)], ["done", "refused", "failed"]);
    }
}
