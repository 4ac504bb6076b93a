//! The commands of a record with what came of them, and which of them tell nothing more.

use super::view::View;
use super::{Evidence, Host, OrderId, Output, Record, Sent, Step};
use fleet_protocol::ids::InstanceId;
use std::collections::BTreeSet;

/// Commands that a record holds at most; where that drops an older one, the record says so.
const COMMANDS: usize = 13;

/// The record's commands with what came of them, oldest first.
pub(super) type Read<'a> = Vec<(Step, &'a Sent, &'a Evidence)>;

pub(super) fn newest_survey<'a>(read: &Read<'a>) -> Option<(&'a Sent, &'a Evidence)> {
    let surveys = read.iter().filter(|(step, ..)| *step == Step::Survey);
    surveys.map(|(_, sent, evidence)| (*sent, *evidence)).next_back()
}

/// The record without commands that tell nothing more. What stays: the two newest questions; older
/// ones that hold the newest answer of a host that may have the version; and orders that not every
/// host of theirs holds or has ended by its own word.
pub(super) fn trim(record: &Record, read: &Read<'_>, view: &View) -> Record {
    let find = |id: &InstanceId| view.hosts.iter().find(|host| host.instance_id == *id);
    let told = |evidence: &Evidence| {
        let rank = evidence.command.host_order.as_ref().map(OrderId::rank);
        evidence.command.targets.iter().all(|id| {
            find(id).is_none_or(|host| {
                !host.live || host.answers && rank.is_some_and(|rank| host.held >= rank)
            })
        })
    };
    let (mut surveys, mut answered) = (0, BTreeSet::new());
    let mut is_last_answer = |evidence: &Evidence| {
        let reports = evidence.invocations.iter().filter(|i| matches!(i.output, Output::Report(_)));
        let new: Vec<&InstanceId> =
            reports.map(|i| &i.instance).filter(|id| answered.insert((*id).clone())).collect();
        let matters = |host: &Host| host.live && (host.held.0 != Step::Survey || host.has_it);
        new.into_iter().any(|id| find(id).is_some_and(matters))
    };
    let mut kept: Vec<Sent> = Vec::new();
    let mut forgot = record.forgot;
    for sent in record.commands.iter().rev() {
        let evidence =
            read.iter().find(|(_, known, _)| *known == sent).map(|(.., evidence)| *evidence);
        let keep = match sent.step {
            Step::Survey => {
                surveys += 1;
                evidence.is_some_and(&mut is_last_answer) || surveys <= 2
            }
            Step::TakeBack => surveys == 0,
            Step::Apply | Step::Undo => evidence.is_some_and(|evidence| !told(evidence)),
        };
        if keep && kept.len() < COMMANDS {
            kept.push(sent.clone());
        } else {
            forgot |= keep;
        }
    }
    kept.reverse();
    Record { id: record.id().cloned(), commands: kept, forgot, ..record.clone() }
}
