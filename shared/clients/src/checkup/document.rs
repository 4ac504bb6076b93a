//! The SSM document that carries orders to hosts.

use super::Checkup;
use crate::aws::explain;
use aws_sdk_ssm::types::DocumentFormat;
use fleet_protocol::reading::{Reading, Unknown, UnknownCause};
use serde_json::Value;

/// A document, as far as it decides which orders reach a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostDocument {
    /// SSM counts a document's versions from 1.
    pub version: String,
    /// The values that its parameter `Action` allows.
    pub actions: Vec<String>,
    /// Its parameters.
    pub parameters: Vec<String>,
}

impl Checkup {
    /// The document of this name; unknown as missing where there is none.
    pub async fn document(&self, name: &str) -> Reading<HostDocument> {
        let call = self.ssm.get_document().name(name).document_format(DocumentFormat::Json);
        let answer = match call.send().await {
            Ok(answer) => answer,
            Err(error) => return Reading::Unknown(explain("GetDocument", error).into()),
        };
        let content = answer.content.unwrap_or_default();
        let Ok(content) = serde_json::from_str::<Value>(&content) else {
            let detail = format!("GetDocument gave {name} with a content that is no JSON");
            return Reading::Unknown(Unknown { cause: UnknownCause::Unreadable, detail });
        };
        let parameters = content["parameters"].as_object();
        let allowed = content["parameters"]["Action"]["allowedValues"].as_array();
        let actions = allowed.into_iter().flatten().filter_map(Value::as_str);
        Reading::Known(HostDocument {
            version: answer.document_version.unwrap_or_default(),
            actions: actions.map(str::to_owned).collect(),
            parameters: parameters.into_iter().flat_map(|all| all.keys().cloned()).collect(),
        })
    }
}
