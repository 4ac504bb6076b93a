//! The hosts' side of SSM: agents, and the documents that carry orders to them.

use super::listed;
use crate::doctor::diagnosis::{Check, Diagnosis};
use crate::doctor::facts::{Facts, Machine};
use fleet_protocol::action::Action;
use fleet_protocol::document;
use fleet_protocol::lifecycle::LifecycleState;
use fleet_protocol::reading::Reading;

const AREA: &str = "hosts";
const DEPLOY: &str = "scripts/build-functions.sh && sam deploy";
/// Every parameter that the control plane sends.
const PARAMETERS: [&str; 9] = [
    document::ACTION,
    document::TIMEOUT_SECONDS,
    document::STOP,
    document::LEAVING,
    document::IMAGE_TAG,
    document::FORCE,
    document::ORDER,
    document::JOB_LIMIT_SECONDS,
    document::EXECUTION_SECONDS,
];

pub(super) fn findings(facts: &Facts) -> Vec<Diagnosis> {
    vec![agents(facts), orders(facts), survey(facts)]
}

fn agents(facts: &Facts) -> Diagnosis {
    let check = Check::new(AREA, "SSM agents", "DescribeInstanceInformation of the group");
    let agents = match &facts.aws.agents {
        Reading::Known(agents) => agents,
        Reading::Unknown(why) => return check.not_checked(&why.detail),
    };
    let machines = match facts.machines() {
        Ok(machines) => machines,
        Err(why) => return check.not_checked(why),
    };
    let expected: Vec<&Machine> = machines
        .iter()
        .filter(|it| it.lifecycle == LifecycleState::InService && !facts.boots(&it.id))
        .collect();
    let online = |id: &str| agents.iter().find(|(it, _)| it.as_str() == id).map(|(_, on)| *on);
    let with = |state: Option<bool>| -> Vec<&str> {
        let of = |it: &&&Machine| online(&it.id) == state;
        expected.iter().filter(of).map(|it| it.id.as_str()).collect()
    };
    let (offline, absent) = (with(Some(false)), with(None));
    let mut wrong = Vec::new();
    if !offline.is_empty() {
        wrong.push(format!("offline on {}", listed(&offline)));
    }
    if !absent.is_empty() {
        wrong.push(format!("never registered on {}", listed(&absent)));
    }
    let Some(first) = offline.first().or_else(|| absent.first()) else {
        return check.ok(format!("online on all {} instances in service", expected.len()));
    };
    let fix = format!("aws ec2 get-console-output --latest --output text --instance-id {first}");
    check.fault(format!("{}: no order reaches them", wrong.join("; ")), fix)
}

fn orders(facts: &Facts) -> Diagnosis {
    let name = &facts.names.document;
    let check = Check::new(AREA, "SSM document", format!("GetDocument {name}"));
    let document = match &facts.aws.document {
        Reading::Known(document) => document,
        Reading::Unknown(why) => return check.unknown(why, DEPLOY),
    };
    let has = |list: &[String], word: &str| list.iter().any(|known| known == word);
    let actions = Action::ALL.map(Action::as_str);
    let absent = actions.iter().filter(|action| !has(&document.actions, action));
    let absent = absent.chain(PARAMETERS.iter().filter(|it| !has(&document.parameters, it)));
    let absent: Vec<&str> = absent.copied().collect();
    let version = &document.version;
    if absent.is_empty() {
        return check.ok(format!("{name} version {version} takes every order of this version"));
    }
    let finding = format!("{name} version {version} is an older one: it lacks {}", listed(&absent));
    check.fault(finding, DEPLOY)
}

fn survey(facts: &Facts) -> Diagnosis {
    let name = document::survey(&facts.names.document);
    let check = Check::new(AREA, "survey document", format!("GetDocument {name}"));
    match &facts.aws.survey {
        Reading::Known(document) => check.ok(format!("{name} version {}", document.version)),
        Reading::Unknown(why) => check.unknown(why, DEPLOY),
    }
}
