//! Calls of AWS that are not worth an SDK, which would double the build: signed by hand.

use crate::aws::{
    AwsError, AwsErrorKind, CONNECT_TIMEOUT, OPERATION_TIMEOUT, credentials, refused, tls_context,
};
use crate::config::{AwsConfig, Endpoints};
use crate::telemetry::error_chain;
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorSettings};
use aws_smithy_runtime_api::client::identity::Identity;
use aws_smithy_runtime_api::http::Request;
use aws_smithy_types::DateTime;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::date_time::Format;
use aws_smithy_xml::decode::{Document, ScopedDecoder, XmlDecodeError, try_data};
use fleet_protocol::time::UnixMs;
use serde_json::Value;
use std::time::{Duration, SystemTime};

const ATTEMPTS: u32 = 2;
const BACKOFF: Duration = Duration::from_millis(200);
/// Two attempts, each with time to connect and to be answered.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(1400);

/// A service by the name in its signatures and addresses, which are the same for each one here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Service(pub(crate) &'static str);

/// One call of a service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    pub(crate) service: Service,
    pub(crate) name: &'static str,
    pub(crate) request: Asks<'a>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Asks<'a> {
    /// By AWS's Query protocol: the API's version, and the parameters, encoded, each with an
    /// ampersand before it. The answer is XML.
    Query { version: &'static str, parameters: &'a str },
    /// By `GET` of a path. The answer is JSON.
    Get { path: &'a str },
}

/// A good answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) text: String,
    /// When it was given, by AWS's clock.
    pub(crate) at: Option<UnixMs>,
}

/// Makes such calls.
#[derive(Debug)]
pub(crate) struct SignedCalls {
    connector: Connector,
    credentials: Credentials,
    region: String,
    endpoints: Endpoints,
}

impl SignedCalls {
    pub(crate) fn new(config: &AwsConfig) -> Self {
        let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT_TIMEOUT).build();
        let connector = Connector::builder()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .tls_context(tls_context(config))
            .connector_settings(settings)
            .sleep_impl(aws_smithy_async::rt::sleep::TokioSleep::new())
            .build();
        let (region, endpoints) = (config.region.clone(), config.endpoints.clone());
        Self { connector, credentials: credentials(config), region, endpoints }
    }

    /// # Errors
    /// What came in place of a good answer, after a second attempt where that may help.
    pub(crate) async fn make(&self, call: Call<'_>) -> Result<Answer, AwsError> {
        let mut attempt = 1;
        loop {
            let answer = tokio::time::timeout(ATTEMPT_TIMEOUT, self.send(call)).await;
            let answer = answer.unwrap_or_else(|_| {
                let (name, within) = (call.name, OPERATION_TIMEOUT.as_secs());
                Err(AwsError::new(
                    AwsErrorKind::TimedOut,
                    format!("{name} was not answered within {within} s"),
                ))
            });
            match answer {
                Err(error) if error.is_transient() && attempt < ATTEMPTS => {
                    tokio::time::sleep(BACKOFF).await;
                    attempt += 1;
                }
                answer => return answer,
            }
        }
    }

    async fn send(&self, call: Call<'_>) -> Result<Answer, AwsError> {
        let name = call.name;
        let request = self.signed(call)?;
        let answer = self.connector.call(request).await.map_err(|error| {
            let why = error_chain(&error);
            AwsError::new(AwsErrorKind::Unreachable, format!("{name} did not reach AWS: {why}"))
        })?;
        let status = answer.status();
        let date = answer.headers().get("date");
        let date = date.and_then(|date| DateTime::from_str(date, Format::HttpDate).ok());
        let at = date.and_then(|date| date.to_millis().ok()).map(UnixMs);
        // Lambda names its error in a header.
        let kind = answer.headers().get("x-amzn-errortype").map(str::to_owned);
        let text = read_body(answer.into_body()).await.map_err(|why| unreadable(name, &why))?;
        if status.is_success() {
            return Ok(Answer { text, at });
        }
        match parse_error(&text, kind.as_deref()) {
            Some((code, message)) => Err(refused(name, &code, Some(&message))),
            None => Err(unreadable(name, &format!("HTTP status {}", status.as_u16()))),
        }
    }

    fn endpoint(&self, Service(service): Service) -> String {
        let own = if service == "ec2" { self.endpoints.ec2.clone() } else { None };
        own.or_else(|| self.endpoints.all.clone()).unwrap_or_else(|| {
            let suffix = if self.region.starts_with("cn-") { ".cn" } else { "" };
            format!("https://{service}.{}.amazonaws.com{suffix}", self.region)
        })
    }

    fn signed(&self, call: Call<'_>) -> Result<Request<SdkBody>, AwsError> {
        let unsent = |why: String| {
            AwsError::new(AwsErrorKind::Failed, format!("{} could not be sent: {why}", call.name))
        };
        let endpoint = self.endpoint(call.service);
        let endpoint = endpoint.trim_end_matches('/');
        let kind = ("content-type", "application/x-www-form-urlencoded; charset=utf-8");
        let (method, url, body, headers) = match call.request {
            Asks::Query { version, parameters } => {
                let body = format!("Action={}&Version={version}{parameters}", call.name);
                ("POST", format!("{endpoint}/"), body, Some(kind))
            }
            Asks::Get { path } => ("GET", format!("{endpoint}{path}"), String::new(), None),
        };
        let identity: Identity = self.credentials.clone().into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(call.service.0)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| unsent(error_chain(&error)))?
            .into();
        let signable = SignableRequest::new(
            method,
            &url,
            headers.into_iter(),
            SignableBody::Bytes(body.as_bytes()),
        )
        .map_err(|error| unsent(error_chain(&error)))?;
        let (instructions, _) =
            sign(signable, &parameters).map_err(|error| unsent(error_chain(&error)))?.into_parts();
        let mut request = Request::new(SdkBody::from(body));
        request.set_method(method).map_err(|error| unsent(error_chain(&error)))?;
        request.set_uri(url).map_err(|error| unsent(error_chain(&error)))?;
        if let Some((name, value)) = headers {
            request.headers_mut().insert(name, value);
        }
        for header in instructions.into_parts().0 {
            request.headers_mut().insert(header.name(), header.value().to_owned());
        }
        Ok(request)
    }
}

async fn read_body(body: SdkBody) -> Result<String, String> {
    let stream = aws_smithy_types::byte_stream::ByteStream::new(body);
    let bytes = stream.collect().await.map_err(|error| error_chain(&error))?;
    String::from_utf8(bytes.to_vec()).map_err(|_| "it is not UTF-8".to_owned())
}

pub(crate) fn unreadable(call: &str, why: &str) -> AwsError {
    AwsError::new(
        AwsErrorKind::Unreadable,
        format!("{call} got an answer that cannot be read: {why}"),
    )
}

/// A text as the value of a Query parameter.
pub(crate) fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// Reads the document whose root is an element of this name.
///
/// # Errors
/// It is another one, or no XML.
pub(crate) fn read_xml<T>(
    text: &str,
    root: &str,
    read: impl FnOnce(&mut ScopedDecoder<'_, '_>) -> Result<T, XmlDecodeError>,
) -> Result<T, XmlDecodeError> {
    let mut document = Document::new(text);
    let mut element = document.root_element()?;
    if !element.start_el().matches(root) {
        return Err(XmlDecodeError::custom(format!("it is no {root}")));
    }
    read(&mut element)
}

/// Calls `read` with each element at the end of this path, from `within` on.
///
/// # Errors
/// What `read` says.
pub(crate) fn each(
    within: &mut ScopedDecoder<'_, '_>,
    path: &[&str],
    read: &mut dyn FnMut(&mut ScopedDecoder<'_, '_>) -> Result<(), XmlDecodeError>,
) -> Result<(), XmlDecodeError> {
    let Some((first, rest)) = path.split_first() else { return read(within) };
    while let Some(mut element) = within.next_tag() {
        if element.start_el().matches(first) {
            each(&mut element, rest, read)?;
        }
    }
    Ok(())
}

/// The text of an element that holds no others.
///
/// # Errors
/// It holds others.
pub(crate) fn text(element: &mut ScopedDecoder<'_, '_>) -> Result<String, XmlDecodeError> {
    Ok(try_data(element)?.into_owned())
}

/// Code and message: of EC2's `<Response><Errors><Error>`, of the other Query services'
/// `<ErrorResponse><Error>`, or of JSON with its kind in a header. `None` for anything else, such
/// as a proxy's page.
fn parse_error(body: &str, kind: Option<&str>) -> Option<(String, String)> {
    if let Some(kind) = kind {
        let code = kind.split(':').next().unwrap_or(kind).to_owned();
        let body: Value = serde_json::from_str(body).ok()?;
        let message = body.get("Message").or_else(|| body.get("message"));
        return Some((code, message.and_then(Value::as_str).unwrap_or_default().to_owned()));
    }
    let find = |root: &str, path: &[&str]| {
        let (mut code, mut message) = (None, None);
        let read = read_xml(body, root, |root| {
            each(root, path, &mut |error| {
                while let Some(mut field) = error.next_tag() {
                    if field.start_el().matches("Code") {
                        code = Some(text(&mut field)?);
                    } else if field.start_el().matches("Message") {
                        message = Some(text(&mut field)?);
                    }
                }
                Ok(())
            })
        });
        read.ok()?;
        Some((code?, message.unwrap_or_default()))
    };
    find("Response", &["Errors", "Error"]).or_else(|| find("ErrorResponse", &["Error"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_keeps_its_code() {
        let text = "<Response><Errors><Error><Code>RequestLimitExceeded</Code><Message>Request limit exceeded.</Message></Error></Errors><RequestID>r</RequestID></Response>";
        let (code, message) = parse_error(text, None).unwrap();
        assert!(refused("DescribeInstances", &code, Some(&message)).is_throttled());
        let text = "<ErrorResponse xmlns=\"n\"><Error><Type>Sender</Type><Code>ExpiredToken</Code><Message>Expired.</Message></Error></ErrorResponse>";
        let (code, message) = parse_error(text, None).unwrap();
        assert_eq!(refused("GetCallerIdentity", &code, Some(&message)).kind, AwsErrorKind::Denied);
        let text = "{\"Message\":\"not you\"}";
        let kind = Some("AccessDeniedException:http://internal.amazon.com/");
        let (code, message) = parse_error(text, kind).unwrap();
        assert_eq!((code.as_str(), message.as_str()), ("AccessDeniedException", "not you"));
        assert_eq!(parse_error("<html><body/></html>", None), None, "a proxy's page");
    }

    #[test]
    fn values_of_parameters_are_encoded() {
        assert_eq!(encoded("arn:aws:sns:r:1:a-b_c.d~"), "arn%3Aaws%3Asns%3Ar%3A1%3Aa-b_c.d~");
        assert_eq!(encoded("$Latest&x=ä"), "%24Latest%26x%3D%C3%A4");
    }
}
