//! Signed JSON requests, for the two services that are not worth an SDK.

use std::time::{Duration, SystemTime};

use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use serde_json::Value;

use super::transport::Request;
use super::{Aws, Error};

const DEADLINE: Duration = Duration::from_secs(8);

impl Aws {
    /// `ecr:GetAuthorizationToken` in `region`: the answer as JSON.
    ///
    /// # Errors
    /// [`Error`] where there are no credentials, no answer, or a refusal.
    pub async fn ecr_authorization(&self, region: &str) -> Result<Value, Error> {
        const WHAT: &str = "ECR GetAuthorizationToken";
        let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
        let inner = &self.inner;
        let url = inner
            .endpoint_ecr
            .clone()
            .or_else(|| inner.endpoint.clone())
            .unwrap_or_else(|| format!("https://api.ecr.{region}.amazonaws.com{suffix}"));
        let target = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken";
        self.ask(WHAT, (region, "ecr"), &url, target, "{}".to_owned()).await
    }

    /// `ssm:GetParameter`: the parameter's text; `None` where there is no such parameter.
    ///
    /// # Errors
    /// [`Error`] where there are no credentials, no answer, or a refusal.
    pub async fn parameter(&self, name: &str) -> Result<Option<String>, Error> {
        const WHAT: &str = "SSM GetParameter";
        let region = self.region().await?;
        let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
        let inner = &self.inner;
        let url = inner
            .endpoint_ssm
            .clone()
            .or_else(|| inner.endpoint.clone())
            .unwrap_or_else(|| format!("https://ssm.{region}.amazonaws.com{suffix}"));
        let body = serde_json::json!({ "Name": name }).to_string();
        match self.ask(WHAT, (&region, "ssm"), &url, "AmazonSSM.GetParameter", body).await {
            Ok(json) => match json["Parameter"]["Value"].as_str() {
                Some(text) => Ok(Some(text.to_owned())),
                None => Err(Error::Unreadable { what: WHAT.to_owned(), reason: "it has no value" }),
            },
            Err(Error::Refused { code: Some(code), .. }) if code == "ParameterNotFound" => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// One call: to this region and service, at this address.
    async fn ask(
        &self,
        what: &str,
        (region, service): (&str, &str),
        url: &str,
        target: &str,
        body: String,
    ) -> Result<Value, Error> {
        let url = format!("{url}/");
        let mut headers = vec![
            ("content-type", "application/x-amz-json-1.1".to_owned()),
            ("x-amz-target", target.to_owned()),
        ];
        self.sign(region, service, &url, &mut headers, body.as_bytes()).await?;
        let request = Request { method: "POST", url: &url, headers, body, deadline: DEADLINE };
        let reply = self.inner.transport.send(what, request).await?;
        let json = serde_json::from_str::<Value>(&reply.body);
        match (reply.status, json) {
            (200, Ok(json)) => Ok(json),
            (200, Err(_)) => {
                Err(Error::Unreadable { what: what.to_owned(), reason: "it is not JSON" })
            }
            (status, json) => {
                let (code, reason) = json
                    .map_or_else(|_| (None, "without a reason".to_owned()), |json| refusal(&json));
                Err(Error::Refused { what: what.to_owned(), status, code, reason })
            }
        }
    }

    async fn sign(
        &self,
        region: &str,
        service: &str,
        url: &str,
        headers: &mut Vec<(&'static str, String)>,
        body: &[u8],
    ) -> Result<(), Error> {
        let unsigned =
            |reason| Error::Unreadable { what: format!("the request to {service}"), reason };
        let identity: Identity = self.inner.credentials.get().await?.into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name(service)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|_| unsigned("its signing parameters are incomplete"))?
            .into();
        let request = SignableRequest::new(
            "POST",
            url,
            headers.iter().map(|(name, value)| (*name, value.as_str())),
            SignableBody::Bytes(body),
        )
        .map_err(|_| unsigned("its address cannot be signed"))?;
        let (instructions, _signature) =
            sign(request, &params).map_err(|_| unsigned("it cannot be signed"))?.into_parts();
        let (signed, _query) = instructions.into_parts();
        for header in signed {
            headers.push((header.name(), header.value().to_owned()));
        }
        Ok(())
    }
}

/// The code of a JSON 1.1 error, and code and message as one text, whatever the case of the names.
fn refusal(json: &Value) -> (Option<String>, String) {
    let text =
        |names: [&str; 2]| names.iter().find_map(|name| json.get(*name)).and_then(Value::as_str);
    // `com.amazonaws.ssm#ParameterNotFound`, or the name alone.
    let code = text(["__type", "code"]).map(|code| code.rsplit('#').next().unwrap_or(code));
    let name = code.unwrap_or("no code");
    let reason = match text(["message", "Message"]) {
        Some(message) => format!("{name}: {message}"),
        None => name.to_owned(),
    };
    (code.map(str::to_owned), reason)
}

#[cfg(test)]
mod tests {
    use super::refusal;
    use serde_json::json;

    #[test]
    fn a_code_is_the_services_own_and_never_a_word_of_its_message() {
        let code = |error: serde_json::Value| refusal(&error).0;
        for error in [
            json!({ "__type": "com.amazonaws.ssm#ParameterNotFound", "message": "x" }),
            json!({ "code": "ParameterNotFound" }),
        ] {
            assert_eq!(code(error).as_deref(), Some("ParameterNotFound"));
        }
        assert_eq!(code(json!({ "message": "ParameterNotFound: not here" })), None);
        let (_, reason) = refusal(&json!({ "__type": "AccessDenied", "Message": "no" }));
        assert_eq!(reason, "AccessDenied: no");
    }
}
