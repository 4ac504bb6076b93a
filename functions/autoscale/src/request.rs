//! What woke the function: the schedule, or an operator through the API.

use aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use aws_lambda_events::eventbridge::EventBridgeEvent;
use serde::Serialize;
use serde_json::Value;

/// The route of `template.yaml`.
const TICK_METHOD: &str = "POST";
const TICK_PATH: &str = "/api/v1/admin/autoscale/tick";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Trigger {
    Schedule,
    Api,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Scheduled,
    /// `None`: there is no such route here.
    Api(Option<ApiTick>),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ApiTick {
    /// The `Authorization` header as it came.
    pub(crate) authorization: Option<String>,
}

/// Reads the event; anything but a scheduled event and a request through the HTTP API is an error
/// that says what came.
pub(crate) fn read(event: Value) -> Result<Request, String> {
    if event.pointer("/requestContext/http").is_some() {
        let request: ApiGatewayV2httpRequest = serde_json::from_value(event).map_err(|error| {
            format!("not an API Gateway request of payload version 2.0: {error}")
        })?;
        return Ok(Request::Api(api(&request)));
    }
    let event: EventBridgeEvent<Value> = serde_json::from_value(event).map_err(|error| {
        format!("neither an EventBridge event nor an API Gateway request of payload version 2.0: {error}")
    })?;
    match (event.source.as_str(), event.detail_type.as_str()) {
        ("aws.events" | "aws.scheduler", "Scheduled Event") => Ok(Request::Scheduled),
        (source, detail_type) => Err(format!(
            "{detail_type:?} from {source:?} is no event of this function, which listens to its schedule only"
        )),
    }
}

fn api(request: &ApiGatewayV2httpRequest) -> Option<ApiTick> {
    let http = &request.request_context.http;
    let is_tick = http.method.as_str() == TICK_METHOD && http.path.as_deref() == Some(TICK_PATH);
    is_tick.then(|| {
        let authorization = request.headers.get("authorization");
        let authorization = authorization.and_then(|value| value.to_str().ok()).map(str::to_owned);
        ApiTick { authorization }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn api_event(method: &str, path: &str) -> Value {
        json!({
            "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "",
            "headers": { "authorization": "Bearer t" },
            "requestContext": { "accountId": "1", "apiId": "a", "http": {
                "method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "t"
            }, "requestId": "r", "routeKey": "$default", "stage": "$default", "time": "t", "timeEpoch": 0 },
            "isBase64Encoded": false
        })
    }

    #[test]
    fn the_schedule_and_the_route_are_told_apart() {
        let scheduled = json!({
            "version": "0", "id": "i", "detail-type": "Scheduled Event", "source": "aws.events",
            "account": "123456789012", "time": "2026-11-23T00:00:00Z", "region": "us-east-1",
            "resources": [], "detail": {}
        });
        assert_eq!(read(scheduled), Ok(Request::Scheduled));
        let tick = ApiTick { authorization: Some("Bearer t".into()) };
        assert_eq!(read(api_event(TICK_METHOD, TICK_PATH)), Ok(Request::Api(Some(tick))));
        assert_eq!(read(api_event("GET", TICK_PATH)), Ok(Request::Api(None)));
        assert_eq!(read(api_event("POST", "/")), Ok(Request::Api(None)));
    }

    #[test]
    fn anything_else_is_refused_with_what_came() {
        let foreign = json!({
            "version": "0", "id": "i", "detail-type": "EC2 Spot Instance Interruption Warning",
            "source": "aws.ec2", "account": "1", "time": "2026-11-23T00:00:00Z", "region": "r",
            "resources": [], "detail": {}
        });
        assert!(read(foreign).expect_err("foreign").contains("Spot Instance Interruption"));
        for rubbish in
            [json!(null), json!([]), json!("x"), json!({}), json!({"requestContext": {"http": 1}})]
        {
            read(rubbish.clone()).expect_err(&rubbish.to_string());
        }
    }
}
