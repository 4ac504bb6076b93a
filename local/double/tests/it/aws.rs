//! One call of an API over plain HTTP, as an SDK makes it.

use aws_double::Double;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Status and body of a request to the double.
pub(crate) async fn http(
    double: &Double,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, String) {
    let address = double.endpoint().trim_start_matches("http://").to_owned();
    let mut request =
        format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
    let mut stream = TcpStream::connect(&address).await.expect("it listens");
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, body.to_owned())
}

/// Calls an action of SSM; the error code of a refusal.
pub(crate) async fn ssm(double: &Double, action: &str, params: &Value) -> Result<Value, String> {
    let scope = "Credential=k/20260101/us-east-1/ssm/aws4_request";
    let headers = [
        ("authorization", format!("AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0")),
        ("x-amz-target", format!("AmazonSSM.{action}")),
        ("content-type", "application/x-amz-json-1.1".to_owned()),
    ];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let (status, body) = http(double, "POST", "/", &headers, &params.to_string()).await;
    let body: Value = serde_json::from_str(&body).expect("JSON");
    if status == 200 { Ok(body) } else { Err(body["__type"].as_str().expect("a code").to_owned()) }
}

/// Sends lines for the shell; the command's id.
pub(crate) async fn send_shell(double: &Double, instance: &str, parameters: &Value) -> String {
    let params = json!({
        "DocumentName": "AWS-RunShellScript",
        "InstanceIds": [instance],
        "TimeoutSeconds": 30,
        "Parameters": parameters,
    });
    let answer = ssm(double, "SendCommand", &params).await.expect("accepted");
    assert_eq!(answer["Command"]["Status"], "Pending");
    answer["Command"]["CommandId"].as_str().expect("an id").to_owned()
}
