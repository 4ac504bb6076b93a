//! What hosts have proved about themselves, from what their commands printed through SSM Run Command.

use crate::aws::{Aws, explain};
use aws_sdk_ssm::Client;
use aws_sdk_ssm::types::{CommandFilter, CommandFilterKey, CommandInvocation};
use fleet_core::drain::Order;
use fleet_core::fleet::{Proof, Runs, Word, word_of};
use fleet_core::ids::InstanceId;
use fleet_core::scaling::{Reading, Unknown, UnknownCause};
use fleet_core::time::UnixMs;
use std::collections::{BTreeMap, BTreeSet};

/// The most that SSM gives at a time.
const PAGE: i32 = 50;
/// A thousand invocations: five deployments over two hundred hosts. What is older is not read.
const PAGES: usize = 20;

/// The results of one document's commands.
#[derive(Clone, Debug)]
pub struct Proofs {
    client: Client,
    document: String,
}

impl Proofs {
    pub fn new(aws: &Aws, document: String) -> Self {
        Self { client: Client::new(&aws.sdk), document }
    }

    /// The newest word of each of these hosts about its version. A host without one is not in the answer.
    pub async fn of(
        &self,
        mut hosts: BTreeSet<InstanceId>,
    ) -> Reading<BTreeMap<InstanceId, Proof>> {
        let filter = CommandFilter::builder()
            .key(CommandFilterKey::DocumentName)
            .value(&self.document)
            .build();
        let filter = match filter {
            Ok(filter) => filter,
            Err(error) => {
                let (cause, detail) = (UnknownCause::Unreadable, error.to_string());
                return Reading::Unknown(Unknown { cause, detail });
            }
        };
        let mut pages = self
            .client
            .list_command_invocations()
            .filters(filter)
            .details(true)
            .max_results(PAGE)
            .into_paginator()
            .send();
        let mut proofs = BTreeMap::new();
        for _ in 0..PAGES {
            if hosts.is_empty() {
                break;
            }
            let page = match pages.next().await {
                None => break,
                Some(Ok(page)) => page,
                Some(Err(error)) => {
                    return Reading::Unknown(explain("ListCommandInvocations", error).into());
                }
            };
            // The newest come first.
            for invocation in page.command_invocations.unwrap_or_default() {
                let Some(host) = invocation.instance_id.as_deref().map(InstanceId::new) else {
                    continue;
                };
                if hosts.contains(&host)
                    && let Some(proof) = read(&invocation)
                {
                    hosts.remove(&host);
                    proofs.insert(host, proof);
                }
            }
        }
        Reading::Known(proofs)
    }
}

/// `None` for a command that says nothing of the version.
fn read(invocation: &CommandInvocation) -> Option<Proof> {
    // A drain stops a worker and changes no version.
    if invocation.comment.as_deref().and_then(Order::read).is_some() {
        return None;
    }
    let plugins = invocation.command_plugins.as_deref().unwrap_or_default();
    let detail = invocation.status_details.as_deref().unwrap_or_default();
    match detail {
        "Pending" | "InProgress" | "Delayed" | "Cancelling" => return None,
        // It never reached the host.
        "DeliveryTimedOut" | "Undeliverable" | "Terminated" | "InvalidPlatform" => return None,
        "Cancelled" if plugins.iter().all(|p| p.response_start_date_time.is_none()) => return None,
        _ => {}
    }
    let printed = plugins.iter().filter_map(|plugin| plugin.output.as_deref());
    let ended = plugins.iter().filter_map(|plugin| plugin.response_finish_date_time).next_back();
    let at = ended.or(invocation.requested_date_time)?.to_millis().ok()?;
    let runs = match printed.map(word_of).find(|word| *word != Word::Unreadable) {
        Some(Word::Runs(runs)) => runs,
        Some(Word::Other) => return None,
        Some(Word::Unreadable) | None => Runs::Unsaid,
    };
    Some(Proof { at: UnixMs(at), runs })
}
