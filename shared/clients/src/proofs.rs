//! What hosts have proved about themselves, from what their commands printed through SSM Run
//! Command.

use crate::aws::{Aws, explain};
use crate::run_command::decode;
use aws_sdk_ssm::Client;
use aws_sdk_ssm::error::SdkError;
use aws_sdk_ssm::operation::list_command_invocations::{
    ListCommandInvocationsError, ListCommandInvocationsOutput,
};
use aws_sdk_ssm::types::{CommandFilter, CommandFilterKey};
use fleet_core::drain::DrainOrder;
use fleet_core::run_command::InvocationStatus;
use fleet_core::status::{Proof, Runs, Word, settled, word_of};
use fleet_protocol::document;
use fleet_protocol::ids::InstanceId;
use fleet_protocol::reading::{Reading, Unknown, UnknownCause};
use fleet_protocol::time::UnixMs;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// The most that SSM gives at a time.
const PAGE: i32 = 50;
/// A thousand invocations of each document. What is older is not read.
const PAGES: usize = 20;
/// Hosts whose last word is looked for although it counts no more.
const LOOKED_FOR: usize = 10;

/// The results of the commands of the hosts' document, and of the surveys beside it.
#[derive(Clone, Debug)]
pub struct Proofs {
    client: Client,
    document: String,
    survey: String,
}

/// What a document's commands are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    /// An order, after which a host that says nothing may run anything.
    Order,
    /// A question, after which it runs what it ran before.
    Survey,
}

impl Proofs {
    #[must_use]
    pub fn new(aws: &Aws, document: String) -> Self {
        let survey = document::survey(&document);
        Self { client: Client::new(&aws.sdk), document, survey }
    }

    /// The newest word of each of these hosts about its version, as far as it is found `within`
    /// this time, from the commands requested `since` then. Of some hosts that said nothing since
    /// then, the last word. A host without one is not in the answer.
    pub async fn of(
        &self,
        hosts: &BTreeSet<InstanceId>,
        since: UnixMs,
        within: Duration,
    ) -> Reading<BTreeMap<InstanceId, Proof>> {
        let until = Instant::now() + within;
        let mut proofs = match self.newest(hosts, since, until, within).await {
            Ok(proofs) => proofs,
            Err(unknown) => return Reading::Unknown(unknown),
        };
        let mut looks = JoinSet::new();
        for host in hosts.iter().filter(|host| !proofs.contains_key(host)).take(LOOKED_FOR) {
            let (this, host) = (self.clone(), host.clone());
            looks.spawn(async move { Some((host.clone(), this.last_word(&host).await?)) });
        }
        // It only says since when nothing is known, so it costs nobody the answer.
        while let Ok(Some(found)) = timeout_at(until, looks.join_next()).await {
            proofs.extend(found.ok().flatten());
        }
        Reading::Known(proofs)
    }

    /// Both documents' results, a page of each at a time. The surveys' end where each host has
    /// answered one, because an older answer is older news; the orders' where none that is left can
    /// have ended after what is known.
    async fn newest(
        &self,
        hosts: &BTreeSet<InstanceId>,
        since: UnixMs,
        until: Instant,
        within: Duration,
    ) -> Result<BTreeMap<InstanceId, Proof>, Unknown> {
        let since = UnixMs(since.0 - since.0.rem_euclid(1000)).to_string();
        let list = |document: &str| {
            let filter =
                |key, value: &str| CommandFilter::builder().key(key).value(value).build().ok();
            let filters = filter(CommandFilterKey::DocumentName, document)
                .into_iter()
                .chain(filter(CommandFilterKey::InvokedAfter, &since));
            let call = self.client.list_command_invocations().set_filters(Some(filters.collect()));
            call.details(true).max_results(PAGE).into_paginator().send()
        };
        let (mut surveys, mut orders) = (list(&self.survey), list(&self.document));
        let (mut more_surveys, mut more_orders) = (true, true);
        let mut proofs = BTreeMap::new();
        let mut surveyed = BTreeSet::new();
        for number in 0..PAGES {
            if !more_surveys && !more_orders {
                break;
            }
            let pages = async {
                tokio::join!(
                    async { if more_surveys { surveys.next().await } else { None } },
                    async { if more_orders { orders.next().await } else { None } },
                )
            };
            let (survey, order) = match timeout_at(until, pages).await {
                Ok(pages) => pages,
                // A host that never said anything is looked for to the last page, and must not cost
                // what the others said.
                Err(_) if number > 0 => break,
                Err(_) => {
                    let detail = format!(
                        "what the hosts run was not read within {:.1} s",
                        within.as_secs_f32()
                    );
                    return Err(Unknown { cause: UnknownCause::TimedOut, detail });
                }
            };
            let survey = words(survey, Asks::Survey)?;
            let order = words(order, Asks::Order)?;
            more_surveys = survey.is_some();
            let oldest = order.as_ref().and_then(|page| page.oldest);
            more_orders = order.is_some();
            for (host, proof) in survey.into_iter().flat_map(|page| page.words) {
                if hosts.contains(&host) {
                    surveyed.insert(host.clone());
                    keep(&mut proofs, host, proof);
                }
            }
            for (host, proof) in order.into_iter().flat_map(|page| page.words) {
                if hosts.contains(&host) {
                    keep(&mut proofs, host, proof);
                }
            }
            more_surveys &= surveyed.len() < hosts.len();
            more_orders &= oldest.is_none_or(|oldest| !settled(hosts, &proofs, oldest));
        }
        Ok(proofs)
    }

    /// The last word of one host until `until`, from the commands requested since `since`, of which
    /// the newest fifty are looked through. `None` where it gave none.
    pub async fn before(
        &self,
        host: &InstanceId,
        since: UnixMs,
        until: UnixMs,
    ) -> Reading<Option<Proof>> {
        let (since, latest) = (since.whole_seconds(), until.plus_seconds(1).whole_seconds());
        let filter =
            |key, at: UnixMs| CommandFilter::builder().key(key).value(at.to_string()).build().ok();
        let filters = filter(CommandFilterKey::InvokedAfter, since)
            .into_iter()
            .chain(filter(CommandFilterKey::InvokedBefore, latest));
        let call = self.client.list_command_invocations().instance_id(host.as_str());
        let call = call.set_filters(Some(filters.collect())).details(true).max_results(PAGE);
        match call.send().await {
            Ok(page) => Reading::Known(self.newest_word(page, |word| word.at <= until)),
            Err(error) => Reading::Unknown(explain("ListCommandInvocations", error).into()),
        }
    }

    /// What one host said last, whenever that was; `None` also where that cannot be read.
    async fn last_word(&self, host: &InstanceId) -> Option<Proof> {
        let call = self.client.list_command_invocations().instance_id(host.as_str());
        let page = call.details(true).max_results(PAGE).send().await.ok()?;
        self.newest_word(page, |_| true)
    }

    fn newest_word(
        &self,
        page: ListCommandInvocationsOutput,
        counts: impl Fn(&Proof) -> bool,
    ) -> Option<Proof> {
        let words = page.command_invocations.unwrap_or_default().into_iter().filter_map(|it| {
            let asks = match it.document_name.as_deref()? {
                name if name == self.document => Asks::Order,
                name if name == self.survey => Asks::Survey,
                _ => return None,
            };
            read(&decode::invocation(it).ok()?, asks)
        });
        let words = words.filter(counts);
        words.reduce(|newest, word| if word.at > newest.at { word } else { newest })
    }
}

/// What one page of results says.
struct Page {
    words: Vec<(InstanceId, Proof)>,
    /// When the last command on it was requested; later pages have older ones.
    oldest: Option<UnixMs>,
}

/// `None` after the last page.
fn words(
    page: Option<Result<ListCommandInvocationsOutput, SdkError<ListCommandInvocationsError>>>,
    asks: Asks,
) -> Result<Option<Page>, Unknown> {
    let page = match page {
        None => return Ok(None),
        Some(Ok(page)) => page,
        Some(Err(error)) => return Err(explain("ListCommandInvocations", error).into()),
    };
    let listed = page.command_invocations.unwrap_or_default().into_iter();
    let read_all: Vec<decode::Invocation> =
        listed.filter_map(|invocation| decode::invocation(invocation).ok()).collect();
    let oldest = read_all.iter().map(|invocation| invocation.requested).min();
    let words = read_all.into_iter().filter_map(|invocation| {
        let word = read(&invocation, asks)?;
        Some((invocation.instance, word))
    });
    Ok(Some(Page { words: words.collect(), oldest }))
}

/// The newest requests come first, and an older one may have ended later.
fn keep(proofs: &mut BTreeMap<InstanceId, Proof>, host: InstanceId, proof: Proof) {
    if proofs.get(&host).is_none_or(|known| known.at < proof.at) {
        proofs.insert(host, proof);
    }
}

/// `None` for a command that says nothing of the version.
fn read(invocation: &decode::Invocation, asks: Asks) -> Option<Proof> {
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
        Some(Word::Unreadable) | None if asks == Asks::Survey => return None,
        Some(Word::Unreadable) | None => Runs::Unsaid,
    };
    Some(Proof::new(invocation.requested, invocation.ended, runs))
}

#[cfg(test)]
mod tests {
    use super::*;

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
