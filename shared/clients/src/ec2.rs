//! Whether machines run, by EC2's own word: the one call that is not worth an SDK, which would
//! double the build.

use crate::aws::{
    AwsError, AwsErrorKind, CONNECT_TIMEOUT, OPERATION_TIMEOUT, credentials, refused, tls_context,
};
use crate::config::AwsConfig;
use crate::telemetry::error_chain;
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorSettings};
use aws_smithy_runtime_api::client::identity::Identity;
use aws_smithy_runtime_api::http::Request;
use aws_smithy_types::body::SdkBody;
use aws_smithy_xml::decode::{Document, XmlDecodeError, try_data};
use fleet_core::drain::Machine;
use fleet_protocol::ids::InstanceId;
use fleet_protocol::reading::Reading;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

const CALL: &str = "DescribeInstances";
const VERSION: &str = "2016-11-15";
/// EC2's limit on the values of one filter.
const AT_A_TIME: usize = 200;
const ATTEMPTS: u32 = 2;
const BACKOFF: Duration = Duration::from_millis(200);
/// Two attempts, each with time to connect and to be answered.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(1400);

/// EC2, for one question.
#[derive(Debug)]
pub struct Ec2 {
    connector: Connector,
    credentials: Credentials,
    region: String,
    endpoint: String,
}

impl Ec2 {
    #[must_use]
    pub fn new(config: &AwsConfig) -> Self {
        let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT_TIMEOUT).build();
        let connector = Connector::builder()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .tls_context(tls_context(config))
            .connector_settings(settings)
            .sleep_impl(aws_smithy_async::rt::sleep::TokioSleep::new())
            .build();
        let region = config.region.clone();
        let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
        let own = config.endpoints.ec2.clone().or_else(|| config.endpoints.all.clone());
        let endpoint = own.unwrap_or_else(|| format!("https://ec2.{region}.amazonaws.com{suffix}"));
        Self { connector, credentials: credentials(config), region, endpoint }
    }

    /// The state of each of these machines that EC2 still knows; it forgets one an hour after its
    /// end.
    pub async fn instance_states(
        &self,
        ids: &[InstanceId],
    ) -> Reading<BTreeMap<InstanceId, Machine>> {
        let mut states = BTreeMap::new();
        for ids in ids.chunks(AT_A_TIME) {
            match self.ask(ids).await {
                Ok(found) => states.extend(found),
                Err(error) => return Reading::Unknown(error.into()),
            }
        }
        Reading::Known(states)
    }

    async fn ask(&self, ids: &[InstanceId]) -> Result<BTreeMap<InstanceId, Machine>, AwsError> {
        let mut body = format!("Action={CALL}&Version={VERSION}&Filter.1.Name=instance-id");
        for (n, id) in ids.iter().enumerate() {
            // An id is letters, digits and a hyphen; the checks of this crate let nothing else in.
            body.push_str(&format!("&Filter.1.Value.{}={}", n + 1, id.as_str()));
        }
        let mut attempt = 1;
        loop {
            let answer = tokio::time::timeout(ATTEMPT_TIMEOUT, self.post(&body)).await;
            let answer = answer.unwrap_or_else(|_| {
                let within = OPERATION_TIMEOUT.as_secs();
                Err(AwsError::new(
                    AwsErrorKind::TimedOut,
                    format!("{CALL} was not answered within {within} s"),
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

    async fn post(&self, body: &str) -> Result<BTreeMap<InstanceId, Machine>, AwsError> {
        let request = self.signed(body)?;
        let answer = self.connector.call(request).await.map_err(|error| {
            let why = error_chain(&error);
            AwsError::new(AwsErrorKind::Unreachable, format!("{CALL} did not reach AWS: {why}"))
        })?;
        let status = answer.status();
        let bytes = read_body(answer.into_body()).await?;
        let text = std::str::from_utf8(&bytes).map_err(|_| unreadable("it is not UTF-8"))?;
        if status.is_success() {
            return parse(text).map_err(|error| unreadable(&error_chain(&error)));
        }
        match parse_error(text) {
            Ok((code, message)) => Err(refused(CALL, &code, Some(&message))),
            Err(_) => Err(unreadable(&format!("HTTP status {}", status.as_u16()))),
        }
    }

    fn signed(&self, body: &str) -> Result<Request<SdkBody>, AwsError> {
        let unsent = |why: String| {
            AwsError::new(AwsErrorKind::Failed, format!("{CALL} could not be sent: {why}"))
        };
        let url = format!("{}/", self.endpoint.trim_end_matches('/'));
        let kind = ("content-type", "application/x-www-form-urlencoded; charset=utf-8");
        let identity: Identity = self.credentials.clone().into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("ec2")
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| unsent(error_chain(&error)))?
            .into();
        let headers = [kind].into_iter();
        let signable =
            SignableRequest::new("POST", &url, headers, SignableBody::Bytes(body.as_bytes()))
                .map_err(|error| unsent(error_chain(&error)))?;
        let (instructions, _) =
            sign(signable, &parameters).map_err(|error| unsent(error_chain(&error)))?.into_parts();
        let mut request = Request::new(SdkBody::from(body));
        request.set_method("POST").map_err(|error| unsent(error_chain(&error)))?;
        request.set_uri(url).map_err(|error| unsent(error_chain(&error)))?;
        let headers = request.headers_mut();
        headers.insert(kind.0, kind.1);
        for header in instructions.into_parts().0 {
            headers.insert(header.name(), header.value().to_owned());
        }
        Ok(request)
    }
}

async fn read_body(body: SdkBody) -> Result<Vec<u8>, AwsError> {
    let stream = aws_smithy_types::byte_stream::ByteStream::new(body);
    let bytes = stream.collect().await.map_err(|error| unreadable(&error_chain(&error)))?;
    Ok(bytes.to_vec())
}

fn unreadable(why: &str) -> AwsError {
    AwsError::new(
        AwsErrorKind::Unreadable,
        format!("{CALL} got an answer that cannot be read: {why}"),
    )
}

/// Ids and states, wherever in their reservations they are.
fn parse(text: &str) -> Result<BTreeMap<InstanceId, Machine>, XmlDecodeError> {
    let mut document = Document::new(text);
    let mut root = document.root_element()?;
    let mut states = BTreeMap::new();
    if !root.start_el().matches("DescribeInstancesResponse") {
        return Err(XmlDecodeError::custom("it is no DescribeInstancesResponse"));
    }
    while let Some(mut set) = root.next_tag() {
        if !set.start_el().matches("reservationSet") {
            continue;
        }
        while let Some(mut reservation) = set.next_tag() {
            while let Some(mut instances) = reservation.next_tag() {
                if !instances.start_el().matches("instancesSet") {
                    continue;
                }
                while let Some(mut instance) = instances.next_tag() {
                    let (mut id, mut state) = (None, None);
                    while let Some(mut field) = instance.next_tag() {
                        if field.start_el().matches("instanceId") {
                            id = Some(try_data(&mut field)?.into_owned());
                        } else if field.start_el().matches("instanceState") {
                            while let Some(mut part) = field.next_tag() {
                                if part.start_el().matches("name") {
                                    state = Some(Machine::read(&try_data(&mut part)?));
                                }
                            }
                        }
                    }
                    let (Some(id), Some(state)) = (id, state) else {
                        return Err(XmlDecodeError::custom("an instance lacks its id or state"));
                    };
                    states.insert(InstanceId::new(id), state);
                }
            }
        }
    }
    Ok(states)
}

/// Code and message of `<Response><Errors><Error>…`.
fn parse_error(text: &str) -> Result<(String, String), XmlDecodeError> {
    let mut document = Document::new(text);
    let (mut code, mut message) = (None, None);
    let mut root = document.root_element()?;
    while let Some(mut errors) = root.next_tag() {
        while let Some(mut error) = errors.next_tag() {
            while let Some(mut field) = error.next_tag() {
                if field.start_el().matches("Code") {
                    code = Some(try_data(&mut field)?.into_owned());
                } else if field.start_el().matches("Message") {
                    message = Some(try_data(&mut field)?.into_owned());
                }
            }
        }
    }
    let code = code.ok_or_else(|| XmlDecodeError::custom("an error without a code"))?;
    Ok((code, message.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_found_in_every_reservation() {
        let text = r#"<?xml version="1.0" encoding="UTF-8"?>
            <DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
              <requestId>r</requestId><reservationSet>
                <item><reservationId>r-1</reservationId><groupSet/><instancesSet>
                  <item><instanceId>i-1</instanceId><imageId>ami-1</imageId>
                    <instanceState><code>16</code><name>running</name></instanceState>
                    <placement><groupName/><tenancy>default</tenancy></placement>
                    <networkInterfaceSet><item><networkInterfaceId>eni-1</networkInterfaceId>
                      <attachment><status>attached</status></attachment></item></networkInterfaceSet></item>
                  <item><instanceId>i-2</instanceId>
                    <instanceState><code>32</code><name>shutting-down</name></instanceState></item>
                </instancesSet></item>
                <item><instancesSet><item><instanceId>i-3</instanceId>
                    <instanceState><code>0</code><name>pending</name></instanceState></item></instancesSet></item>
              </reservationSet></DescribeInstancesResponse>"#;
        let states = parse(text).unwrap();
        let state = |id: &str| states[&InstanceId::new(id)].clone();
        assert_eq!(state("i-1"), Machine::Running);
        assert_eq!(state("i-2"), Machine::Gone("shutting-down".to_owned()));
        assert_eq!(state("i-3"), Machine::Other("pending".to_owned()));
    }

    #[test]
    fn what_is_no_answer_is_an_error_and_never_nobody() {
        for text in [
            "",
            "<html>",
            "<a/>",
            "{}",
            "<DescribeInstancesResponse><reservationSet><item><instancesSet><item><instanceId>i-1</instanceId></item></instancesSet></item></reservationSet></DescribeInstancesResponse>",
        ] {
            parse(text).expect_err(text);
        }
    }

    #[test]
    fn a_refusal_keeps_its_code() {
        let text = "<Response><Errors><Error><Code>RequestLimitExceeded</Code><Message>Request limit exceeded.</Message></Error></Errors><RequestID>r</RequestID></Response>";
        let (code, message) = parse_error(text).unwrap();
        assert!(refused(CALL, &code, Some(&message)).is_throttled());
        parse_error("<html><body/></html>").expect_err("a proxy's page");
    }
}
