//! What Lambda delivered.

use crate::request::Request;
use aws_lambda_events::eventbridge::EventBridgeEvent;
use fleet_core::text::cut;
use serde::Deserialize;
use serde_json::Value;

/// One invocation's payload.
#[derive(Debug)]
pub enum Event {
    /// A request through the HTTP API, payload version 2.0.
    Http(Box<Request>),
    /// The HTTP API asks whether a request may go on to its function, payload version 2.0.
    Authorize(Box<Request>),
    /// An event of EventBridge: from the schedule, or from an AWS service.
    Bus(Box<EventBridgeEvent<Value>>),
    /// Neither, with the reason.
    Other { event: Value, why: String },
}

impl Event {
    /// Sorts a payload by its shape. It never fails: what is neither comes as [`Event::Other`].
    #[must_use]
    pub fn read(event: Value) -> Event {
        let other = |event, name, why: &str| {
            let why = cut(why, 200);
            Event::Other { why: format!("it cannot be read as an {name} event: {why}"), event }
        };
        if event.pointer("/requestContext/http").is_some() {
            let asks = event.get("type").is_some_and(|kind| kind == "REQUEST");
            return match Request::read(event) {
                Ok(request) if asks => Event::Authorize(Box::new(request)),
                Ok(request) => Event::Http(Box::new(request)),
                Err(why) => other(Value::Null, "API Gateway", &why),
            };
        }
        match EventBridgeEvent::deserialize(&event) {
            Ok(read) => Event::Bus(Box::new(read)),
            Err(error) => other(event, "EventBridge", &error.to_string()),
        }
    }

    /// The message for an event that is not for this function: what came, and from where.
    #[must_use]
    pub fn unexpected(&self) -> String {
        match self {
            Event::Http(request) => {
                let (method, path) = (&request.method, cut(&request.path, 100));
                format!("{method} {path} is an HTTP request, which this function does not take")
            }
            Event::Authorize(request) => {
                let (method, path) = (&request.method, cut(&request.path, 100));
                format!("whether {method} {path} may go on is not for this function to say")
            }
            Event::Bus(event) => {
                let (kind, source) = (cut(&event.detail_type, 100), cut(&event.source, 100));
                format!("{kind:?} from {source:?} is not an event that this function takes")
            }
            Event::Other { why, .. } => why.clone(),
        }
    }
}

/// Whether the function's own schedule sent the event.
#[must_use]
pub fn is_schedule(event: &EventBridgeEvent<Value>) -> bool {
    event.detail_type == "Scheduled Event"
        && matches!(event.source.as_str(), "aws.events" | "aws.scheduler")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_is_told_by_its_shape() {
        let scheduled = json!({
            "version": "0", "id": "i", "detail-type": "Scheduled Event", "source": "aws.events",
            "account": "123456789012", "time": "2026-11-23T00:00:00Z", "region": "us-east-1",
            "resources": [], "detail": {}
        });
        let Event::Bus(event) = Event::read(scheduled.clone()) else { panic!("no event") };
        assert!(is_schedule(&event));
        let mut other = scheduled;
        other["source"] = json!("aws.ec2");
        let other = Event::read(other);
        assert!(matches!(&other, Event::Bus(event) if !is_schedule(event)));
        assert_eq!(
            other.unexpected(),
            r#""Scheduled Event" from "aws.ec2" is not an event that this function takes"#
        );
        for rubbish in
            [json!(null), json!([]), json!("x"), json!({ "requestContext": { "http": 1 } })]
        {
            let event = Event::read(rubbish.clone());
            assert!(matches!(event, Event::Other { .. }), "{rubbish}");
        }
    }

    #[test]
    fn a_question_of_the_api_is_no_request() {
        let text = include_str!("../../../events/authorize-operator.json");
        let event = Event::read(serde_json::from_str(text).unwrap());
        let Event::Authorize(request) = &event else { panic!("{event:?}") };
        assert_eq!(request.path, "/api/v1/admin/autoscale/tick");
        assert!(request.header("authorization").unwrap().is_some());
        assert!(event.unexpected().contains("POST /api/v1/admin/autoscale/tick"));
    }

    #[test]
    fn what_is_said_of_an_event_is_short_however_long_it_is() {
        let long = "x".repeat(5_000_000);
        let events = [
            json!({ "detail-type": long, "source": long, "detail": {} }),
            json!({ "requestContext": { "http": long } }),
            json!(long),
        ];
        for event in events {
            let said = Event::read(event).unexpected();
            assert!(said.len() < 500, "{} bytes", said.len());
        }
    }
}
