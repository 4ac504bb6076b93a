//! One parameter in SSM's Parameter Store: a text that outlives the function's environment.

use crate::aws::{Aws, AwsError, AwsErrorKind, explain};
use aws_sdk_ssm::Client;
use aws_sdk_ssm::types::ParameterType;
use fleet_protocol::reading::{Reading, Unknown, UnknownCause};

#[derive(Clone, Debug)]
pub struct Parameters {
    client: Client,
}

impl Parameters {
    #[must_use]
    pub fn new(aws: &Aws) -> Self {
        Self { client: Client::new(&aws.sdk) }
    }

    /// The parameter's text; `Known(None)` only where SSM says that there is no such parameter.
    pub async fn get(&self, name: &str) -> Reading<Option<String>> {
        match self.client.get_parameter().name(name).send().await {
            Ok(answer) => match answer.parameter.and_then(|parameter| parameter.value) {
                Some(text) => Reading::Known(Some(text)),
                None => Reading::Unknown(Unknown {
                    cause: UnknownCause::Unreadable,
                    detail: format!("GetParameter gave {name} without a value"),
                }),
            },
            Err(error) => match explain("GetParameter", error) {
                AwsError { kind: AwsErrorKind::Missing, .. } => Reading::Known(None),
                error => Reading::Unknown(error.into()),
            },
        }
    }

    /// Writes the parameter, whether or not it exists. SSM takes up to 4,096 bytes and keeps the
    /// last hundred versions.
    ///
    /// # Errors
    /// `Invalid` where the text is too long.
    pub async fn put(&self, name: &str, text: &str) -> Result<(), AwsError> {
        self.client
            .put_parameter()
            .name(name)
            .value(text)
            .r#type(ParameterType::String)
            .overwrite(true)
            .send()
            .await
            .map(drop)
            .map_err(|error| explain("PutParameter", error))
    }
}
