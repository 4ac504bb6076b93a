//! Systems Manager Parameter Store over JSON 1.1: `String` and `StringList` parameters of the
//! standard tier, with their versions and labels.

mod labels;
mod parameters;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use self::parameters::Put;
use super::decode;
use crate::error::ApiError;

pub(crate) use parameters::Parameters;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Get {
    name: String,
    /// Nothing here is encrypted, so both values read the same.
    #[serde(default, rename = "WithDecryption")]
    _with_decryption: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct GetMany {
    names: Vec<String>,
    #[serde(default, rename = "WithDecryption")]
    _with_decryption: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct History {
    name: String,
    #[serde(default, rename = "WithDecryption")]
    _with_decryption: bool,
    max_results: Option<usize>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Label {
    name: String,
    parameter_version: Option<u64>,
    labels: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Delete {
    name: String,
}

/// Runs one action. `None` when there is no such action here.
pub(super) fn call(
    action: &str,
    body: &Value,
    parameters: &mut Parameters,
    arn_prefix: &str,
    now: Timestamp,
) -> Option<Result<Value, ApiError>> {
    Some(match action {
        "PutParameter" => decode(body).and_then(|put: Put| parameters.put(put, now)),
        "GetParameter" => decode(body).and_then(|Get { name, .. }| {
            parameters.get(&name, arn_prefix).map(|found| json!({ "Parameter": found }))
        }),
        "GetParameters" => {
            decode(body).and_then(|GetMany { names, .. }| parameters.get_many(&names, arn_prefix))
        }
        "GetParameterHistory" => decode(body).and_then(|h: History| {
            let user = format!("{}:user/double", arn_prefix.replacen(":ssm:", ":iam:", 1));
            parameters.history(&h.name, h.max_results, h.next_token.as_deref(), &user)
        }),
        "LabelParameterVersion" => decode(body)
            .and_then(|l: Label| parameters.label(&l.name, l.parameter_version, &l.labels)),
        "UnlabelParameterVersion" => decode(body)
            .and_then(|l: Label| parameters.unlabel(&l.name, l.parameter_version, &l.labels)),
        "DeleteParameter" => decode(body).and_then(|Delete { name }| {
            if parameters.remove(&name) { Ok(json!({})) } else { Err(not_found(&name)) }
        }),
        _ => return None,
    })
}

fn not_found(name: &str) -> ApiError {
    ApiError::new("ParameterNotFound", format!("Parameter {name} not found."))
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new("ValidationException", message)
}
