//! Who changed what through the API.

use crate::gate::Caller;
use crate::request::Request;
use fleet_clients::telemetry::emit_line;
use fleet_protocol::time::UnixMs;
use serde_json::{Value, json};

/// One call that changed something or was to, whether or not it was let in. Never holds a secret,
/// and nothing of the request's body before the caller was let in.
#[derive(Debug)]
pub struct Audit<'a> {
    pub at: UnixMs,
    /// `None` where the token was missing, wrong or could not be looked up.
    pub who: Option<&'a Caller>,
    /// What was asked, such as `autoscale.tick`.
    pub what: &'a str,
    /// With which values, as they were understood; null where there are none.
    pub asked: &'a Value,
    /// The HTTP status that it was answered with.
    pub status: u16,
    /// What came of it, in words.
    pub detail: &'a str,
    pub request: &'a Request,
    /// Lambda's id of the invocation.
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
            "source_ip": self.request.source_ip, "api_request_id": self.request.api_request_id,
            "request_id": self.request_id,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::tests::request;

    #[test]
    fn a_line_says_who_what_from_where_and_what_came_of_it() {
        let (request, asked) = (request("PUT", "/", Value::Null), json!({ "floor": 3 }));
        let line = |status| {
            let audit = Audit {
                at: UnixMs(1_795_478_400_000),
                who: None,
                what: "capacity.set",
                asked: &asked,
                status,
                detail: "the token is not one of the fleet's",
                request: &request,
                request_id: "r-1",
            };
            audit.line()
        };
        assert_eq!(
            line(401),
            json!({
                "type": "audit", "at": "2026-11-24T00:00:00Z", "who": null, "what": "capacity.set",
                "asked": { "floor": 3 }, "result": "refused", "status": 401,
                "detail": "the token is not one of the fleet's", "source_ip": "192.0.2.7",
                "api_request_id": "api-1", "request_id": "r-1"
            })
        );
        let result = |status| line(status)["result"].clone();
        assert_eq!([result(202), result(409), result(503)], ["done", "refused", "failed"]);
    }
}
