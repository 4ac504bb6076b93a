//! The drain commands of leaving instances, and what came of them.

use super::decode;
use crate::aws::{Aws, AwsError, AwsErrorKind, explain};
use aws_sdk_ssm::Client;
use aws_sdk_ssm::types::{CommandFilter, CommandFilterKey};
use fleet_core::drain::{CallResult, DELIVERY_S, DrainOrder, DrainReport, Invocation, Output};
use fleet_protocol::action::Action;
use fleet_protocol::document::HostCommand;
use fleet_protocol::ids::InstanceId;
use fleet_protocol::reading::{Reading, Unknown, UnknownCause};
use std::collections::HashMap;

/// The most that SSM gives at a time.
const PAGE: i32 = 50;
/// The newest come first and carry what the older ones established, so the rest is not read.
const PAGES: usize = 2;

/// The drain commands of one document.
#[derive(Clone, Debug)]
pub struct DrainCommands {
    client: Client,
    document: String,
}

impl DrainCommands {
    #[must_use]
    pub fn new(aws: &Aws, document: String) -> Self {
        Self { client: Client::new(&aws.sdk), document }
    }

    /// Sends the order to drain. SSM has no idempotency token, so after a lost answer the host may
    /// get it twice, and does not mind.
    pub async fn send(&self, instance: &InstanceId, order: &DrainOrder) -> CallResult {
        let command = HostCommand {
            timeout_s: Some(order.window_s),
            stop: order.stop,
            ..HostCommand::new(Action::Drain)
        };
        let answer = self
            .client
            .send_command()
            .document_name(&self.document)
            .instance_ids(instance.as_str())
            .timeout_seconds(i32::try_from(DELIVERY_S).unwrap_or(i32::MAX))
            .comment(order.comment())
            .set_parameters(Some(parameters(&command)))
            .send()
            .await;
        match answer {
            Ok(_) => CallResult::Done,
            Err(error) => match explain("SendCommand", error) {
                AwsError { kind: AwsErrorKind::NotManaged, .. } => CallResult::NotManaged,
                error => CallResult::Failed { detail: error.detail },
            },
        }
    }

    /// The newest commands of this document on one instance that order it to leave.
    pub async fn of(&self, instance: &InstanceId) -> Reading<Vec<Invocation>> {
        let filter = CommandFilter::builder()
            .key(CommandFilterKey::DocumentName)
            .value(&self.document)
            .build();
        let filter = match filter {
            Ok(filter) => filter,
            Err(error) => return unreadable(error.to_string()),
        };
        let mut pages = self
            .client
            .list_command_invocations()
            .instance_id(instance.as_str())
            .filters(filter)
            .details(true)
            .max_results(PAGE)
            .into_paginator()
            .send();
        let mut found = Vec::new();
        for _ in 0..PAGES {
            let Some(page) = pages.next().await else { break };
            let page = match page {
                Ok(page) => page,
                Err(error) => match explain("ListCommandInvocations", error) {
                    // It was never managed, so it never got a command.
                    AwsError { kind: AwsErrorKind::NotManaged, .. } => {
                        return Reading::Known(found);
                    }
                    error => return Reading::Unknown(error.into()),
                },
            };
            for invocation in page.command_invocations.unwrap_or_default() {
                match decode::invocation(invocation) {
                    Ok(invocation) => found.extend(read(invocation)),
                    Err(detail) => return unreadable(detail),
                }
            }
        }
        Reading::Known(found)
    }
}

/// As SSM takes them.
pub(crate) fn parameters(command: &HostCommand) -> HashMap<String, Vec<String>> {
    command.parameters().into_iter().map(|(name, text)| (name.to_owned(), vec![text])).collect()
}

/// `None` for a command that is no drain command.
fn read(listed: decode::Invocation) -> Option<Invocation> {
    let order = DrainOrder::read(&listed.comment)?;
    let output = match listed.printed.as_deref().map(DrainReport::find) {
        None => Output::None,
        Some(Ok(report)) => Output::Report(report),
        Some(Err(what)) => Output::Unreadable(what),
    };
    Some(Invocation {
        command: listed.id.to_string(),
        requested: listed.requested,
        status: listed.status,
        detail: listed.detail,
        order,
        output,
    })
}

fn unreadable<T>(detail: String) -> Reading<T> {
    Reading::Unknown(Unknown { cause: UnknownCause::Unreadable, detail })
}
