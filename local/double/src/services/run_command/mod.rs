//! Systems Manager Run Command over JSON 1.1.

mod read;
mod render;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::decode;
use crate::account::Account;
use crate::commands::SendRequest;
use crate::error::ApiError;

/// Runs one action. `None` when there is no such action here.
pub(super) fn call(
    action: &str,
    body: &Value,
    account: &Account,
) -> Option<Result<Value, ApiError>> {
    Some(match action {
        "CreateDocument" => decode(body).and_then(|new| create_document(new, account)),
        "DescribeDocument" => decode(body).and_then(|which| describe_document(&which, account)),
        "GetDocument" => decode(body).and_then(|which| get_document(&which, account)),
        "DeleteDocument" => decode(body).and_then(|which: WhichDocument| {
            account.with_commands(|c| c.delete_document(&which.name)).map(|()| json!({}))
        }),
        "SendCommand" => decode(body).and_then(|send| send_command(send, account)),
        "CancelCommand" => decode(body).and_then(|Cancel { command_id, instance_ids }| {
            account.with_commands(|c| c.cancel(&command_id, &instance_ids)).map(|()| json!({}))
        }),
        "ListCommands" => decode(body).and_then(|list| read::commands(&list, account)),
        "ListCommandInvocations" => decode(body).and_then(|list| read::invocations(&list, account)),
        "GetCommandInvocation" => decode(body).and_then(|which| read::invocation(&which, account)),
        "DescribeInstanceInformation" => {
            decode(body).and_then(|list| read::instances(&list, account))
        }
        _ => return None,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct NewDocument {
    name: String,
    content: String,
    document_type: Option<String>,
    document_format: Option<String>,
    #[serde(rename = "TargetType")]
    _target_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct WhichDocument {
    name: String,
    document_version: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct GetDocument {
    name: String,
    document_version: Option<String>,
    document_format: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Target {
    key: String,
    #[serde(default)]
    values: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Send {
    document_name: String,
    document_version: Option<String>,
    #[serde(default)]
    instance_ids: Vec<String>,
    #[serde(default)]
    targets: Vec<Target>,
    #[serde(default)]
    parameters: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    comment: String,
    timeout_seconds: Option<u32>,
    max_concurrency: Option<String>,
    max_errors: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Cancel {
    command_id: String,
    #[serde(default)]
    instance_ids: Vec<String>,
}

fn only(field: &str, given: Option<&str>, known: &[&str]) -> Result<(), ApiError> {
    match given.filter(|given| !known.contains(given)) {
        None => Ok(()),
        Some(other) => Err(ApiError::new(
            "ValidationException",
            format!("The double models {field} {} only, not {other}", known.join(" and ")),
        )),
    }
}

fn check_version(version: Option<&str>) -> Result<(), ApiError> {
    match version {
        None | Some("$DEFAULT" | "$LATEST" | "1") => Ok(()),
        Some(other) => Err(ApiError::new(
            "InvalidDocumentVersion",
            format!("There is no version {other}: documents of the double have version 1"),
        )),
    }
}

fn create_document(new: NewDocument, account: &Account) -> Result<Value, ApiError> {
    only("DocumentType", new.document_type.as_deref(), &["Command"])?;
    only("DocumentFormat", new.document_format.as_deref(), &["JSON"])?;
    account.with_commands(|c| {
        c.create_document(&new.name, &new.content)?;
        let (document, created) = c.document(&new.name)?;
        let owner = &account.config.account;
        Ok(json!({ "DocumentDescription": render::document(document, *created, owner) }))
    })
}

fn describe_document(which: &WhichDocument, account: &Account) -> Result<Value, ApiError> {
    check_version(which.document_version.as_deref())?;
    account.with_commands(|c| {
        let (document, created) = c.document(&which.name)?;
        let owner = &account.config.account;
        Ok(json!({ "Document": render::document(document, *created, owner) }))
    })
}

fn get_document(which: &GetDocument, account: &Account) -> Result<Value, ApiError> {
    check_version(which.document_version.as_deref())?;
    only("DocumentFormat", which.document_format.as_deref(), &["JSON"])?;
    account.with_commands(|c| {
        let (document, created) = c.document(&which.name)?;
        Ok(render::content(document, *created))
    })
}

fn send_command(send: Send, account: &Account) -> Result<Value, ApiError> {
    check_version(send.document_version.as_deref())?;
    let request = SendRequest {
        document: send.document_name,
        instance_ids: send.instance_ids,
        targets: send.targets.into_iter().map(|t| (t.key, t.values)).collect(),
        parameters: send.parameters,
        comment: send.comment,
        timeout_seconds: send.timeout_seconds,
        max_concurrency: send.max_concurrency,
        max_errors: send.max_errors,
    };
    let machines = account.machines();
    account.with_commands(|c| {
        let seq = c.send(request, &machines)?;
        // The answer is from before anyone picked it up.
        let spaced = c.settings.spaced_details;
        let sent = c.command(seq).map(|command| render::command(command, spaced));
        Ok(json!({ "Command": sent }))
    })
}
