//! Orders to hosts through SSM Run Command, and what came of them.

use crate::aws::{Aws, AwsError, AwsErrorKind, explain};
use aws_sdk_ssm::Client;
use aws_sdk_ssm::types::{CommandFilter, CommandFilterKey, CommandInvocation};
use fleet_core::drain::{DELIVERY_S, Done, HostReport, Invocation, Order, Output, Status};
use fleet_protocol::ids::InstanceId;
use fleet_protocol::reading::{Reading, Unknown, UnknownCause};
use fleet_protocol::time::UnixMs;

/// The most that SSM gives at a time.
const PAGE: i32 = 50;
/// The newest come first and carry what the older ones established, so the rest is not read.
const PAGES: usize = 2;

/// The commands of one document.
#[derive(Clone, Debug)]
pub struct Commands {
    client: Client,
    document: String,
}

impl Commands {
    pub fn new(aws: &Aws, document: String) -> Self {
        Self { client: Client::new(&aws.sdk), document }
    }

    /// Sends the order to drain. SSM has no idempotency token, so after a lost answer the host may
    /// get it twice, and does not mind.
    pub async fn send(&self, instance: &InstanceId, order: &Order) -> Done {
        let answer = self
            .client
            .send_command()
            .document_name(&self.document)
            .instance_ids(instance.as_str())
            .timeout_seconds(i32::try_from(DELIVERY_S).unwrap_or(i32::MAX))
            .comment(order.comment())
            .parameters("Action", vec!["drain".to_owned()])
            .parameters("TimeoutSeconds", vec![order.window_s.to_string()])
            .parameters("Stop", vec![order.stop.to_string()])
            .send()
            .await;
        match answer {
            Ok(_) => Done::Done,
            Err(error) => match explain("SendCommand", error) {
                AwsError { kind: AwsErrorKind::NotManaged, .. } => Done::NotManaged,
                error => Done::Failed { detail: error.detail },
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
                match read(invocation) {
                    Ok(Some(invocation)) => found.push(invocation),
                    Ok(None) => {}
                    Err(detail) => return unreadable(detail),
                }
            }
        }
        Reading::Known(found)
    }
}

/// `None` for a command that is not one of ours.
fn read(invocation: CommandInvocation) -> Result<Option<Invocation>, String> {
    let Some(order) = invocation.comment.as_deref().and_then(Order::read) else {
        return Ok(None);
    };
    let requested = invocation.requested_date_time.and_then(|at| at.to_millis().ok());
    let (Some(command), Some(requested), Some(status)) =
        (invocation.command_id, requested, invocation.status)
    else {
        return Err(
            "ListCommandInvocations gave a command without its id, date or status".to_owned()
        );
    };
    let detail = invocation.status_details.unwrap_or_default();
    let status = Status::read(status.as_str(), &detail);
    let printed = invocation
        .command_plugins
        .unwrap_or_default()
        .into_iter()
        .filter_map(|plugin| plugin.output)
        .find(|output| !output.trim().is_empty());
    let output = match printed {
        None => Output::None,
        // What a command printed before its end may be half a line.
        Some(_) if status == Status::Live => Output::None,
        Some(text) => match HostReport::find(&text) {
            Ok(report) => Output::Report(report),
            Err(what) => Output::Unreadable(what),
        },
    };
    Ok(Some(Invocation { command, requested: UnixMs(requested), status, detail, order, output }))
}

fn unreadable<T>(detail: String) -> Reading<T> {
    Reading::Unknown(Unknown { cause: UnknownCause::Unreadable, detail })
}
