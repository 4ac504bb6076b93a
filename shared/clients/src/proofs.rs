//! What hosts have proved about themselves, from what their commands printed through SSM Run
//! Command.

use crate::aws::{Aws, explain};
use crate::run_command::decode;
use aws_sdk_ssm::Client;
use aws_sdk_ssm::types::{CommandFilter, CommandFilterKey};
use fleet_core::drain::DrainOrder;
use fleet_core::run_command::InvocationStatus;
use fleet_core::status::{Proof, Runs, Word, word_of};
use fleet_protocol::ids::InstanceId;
use fleet_protocol::reading::{Reading, Unknown, UnknownCause};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

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

    /// The newest word of each of these hosts about its version, as far as it is found `within`
    /// this time. A host without one is not in the answer.
    pub async fn of(
        &self,
        hosts: &BTreeSet<InstanceId>,
        within: Duration,
    ) -> Reading<BTreeMap<InstanceId, Proof>> {
        let until = Instant::now() + within;
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
        let mut proofs: BTreeMap<InstanceId, Proof> = BTreeMap::new();
        for number in 0..PAGES {
            if proofs.len() == hosts.len() {
                break;
            }
            let page = match timeout_at(until, pages.next()).await {
                Ok(None) => break,
                Ok(Some(Ok(page))) => page,
                Ok(Some(Err(error))) => {
                    return Reading::Unknown(explain("ListCommandInvocations", error).into());
                }
                // A host that never said anything is looked for to the last page, and must not cost
                // what the others said.
                Err(_) if number > 0 => break,
                Err(_) => {
                    let detail = format!(
                        "what the hosts run was not read within {:.1} s",
                        within.as_secs_f32()
                    );
                    return Reading::Unknown(Unknown { cause: UnknownCause::TimedOut, detail });
                }
            };
            for invocation in page.command_invocations.unwrap_or_default() {
                let Ok(invocation) = decode::invocation(invocation) else { continue };
                if hosts.contains(&invocation.instance)
                    && let Some(proof) = read(&invocation)
                {
                    keep(&mut proofs, invocation.instance, proof);
                }
            }
        }
        Reading::Known(proofs)
    }
}

/// The newest requests come first, and an older one may have ended later.
fn keep(proofs: &mut BTreeMap<InstanceId, Proof>, host: InstanceId, proof: Proof) {
    if proofs.get(&host).is_none_or(|known| known.at < proof.at) {
        proofs.insert(host, proof);
    }
}

/// `None` for a command that says nothing of the version.
fn read(invocation: &decode::Invocation) -> Option<Proof> {
    // A drain stops a worker and changes no version.
    if DrainOrder::read(&invocation.comment).is_some() {
        return None;
    }
    let status = invocation.status;
    let cancelled = status == InvocationStatus::Cancelled;
    if status.is_live() || status.never_ran() || cancelled && !invocation.began {
        return None;
    }
    let runs = match invocation.printed.as_deref().map(word_of) {
        Some(Word::Runs(runs)) => runs,
        Some(Word::Other) => return None,
        Some(Word::Unreadable) | None => Runs::Unsaid,
    };
    Some(Proof { at: invocation.ended.unwrap_or(invocation.requested), runs })
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet_protocol::time::UnixMs;

    #[test]
    fn the_newest_word_counts_and_not_the_newest_request() {
        let host = InstanceId::new("i-1");
        let at = |ms| Proof { at: UnixMs(ms), runs: Runs::Unsaid };
        let mut proofs = BTreeMap::new();
        // A cleanup that was sent during a deploy ended before it.
        for ms in [6, 10, 2] {
            keep(&mut proofs, host.clone(), at(ms));
        }
        assert_eq!(proofs[&host].at, UnixMs(10));
    }
}
