//! The two secrets, by the names of their keys.

use super::listed;
use crate::doctor::diagnosis::{Check, Diagnosis};
use crate::doctor::facts::Facts;
use fleet_protocol::reading::Reading;
use std::collections::BTreeSet;

const AREA: &str = "secrets";
/// What a worker cannot start without; `deploy-server pull-secrets` looks for the same.
const HOSTS_NEED: [&str; 3] = ["DATABASE_URL", "GH_SERVICE_SECRET", "NODE_ENV"];
/// What the guide lists beside them.
const HOSTS_USE: [&str; 3] = ["DATABASE_DIRECT_URL", "GH_CREDENTIAL_KEY", "GH_DEPLOY_SECRET"];
/// Keys of the control plane, for which `deploy-server pull-secrets` refuses the whole secret.
const NEVER_ON_HOSTS: [&str; 2] = ["FLEET_", "VALET_DEPLOY_"];
const TOKENS: [&str; 2] = ["FLEET_TOKENS", "FLEET_OPERATOR_TOKEN"];

pub(super) fn findings(facts: &Facts) -> Vec<Diagnosis> {
    vec![fleets(facts), hosts(facts)]
}

fn write(id: &str) -> String {
    format!(
        "aws secretsmanager put-secret-value --secret-id {id} --secret-string file://secret.json"
    )
}

fn create(id: &str) -> String {
    format!("aws secretsmanager create-secret --name {id} --secret-string file://secret.json")
}

fn fleets(facts: &Facts) -> Diagnosis {
    let id = facts.names.fleet_secret.as_deref().unwrap_or("of an unknown environment");
    let check = Check::new(AREA, "fleet's secret", format!("names of the keys of {id}"));
    let keys = match &facts.aws.fleet_keys {
        Reading::Known(keys) => keys,
        Reading::Unknown(why) => return check.unknown(why, create(id)),
    };
    if !TOKENS.iter().any(|key| keys.contains(*key)) {
        let finding =
            format!("{id} has neither {}: nobody may change anything", TOKENS.join(" nor "));
        return check.fault(finding, write(id));
    }
    if !keys.contains("DATABASE_URL") {
        let finding = format!(
            "{id} has no DATABASE_URL, which is right only where DatabaseSecretId names another"
        );
        return check.warning(finding, write(id));
    }
    check.ok(format!("{id} has {}", listed(&named(keys))))
}

fn hosts(facts: &Facts) -> Diagnosis {
    let id = facts.names.host_secret.as_deref().unwrap_or("of an unknown environment");
    let check = Check::new(AREA, "hosts' secret", format!("names of the keys of {id}"));
    let keys = match &facts.aws.host_keys {
        Reading::Known(keys) => keys,
        Reading::Unknown(why) => return check.unknown(why, create(id)),
    };
    let of_control_plane: Vec<&str> = named(keys)
        .into_iter()
        .filter(|key| NEVER_ON_HOSTS.iter().any(|prefix| key.starts_with(prefix)))
        .collect();
    if !of_control_plane.is_empty() {
        let finding = format!(
            "{id} has keys of the control plane, for which hosts refuse the whole secret: {}",
            listed(&of_control_plane)
        );
        return check.fault(finding, write(id));
    }
    let lacks = |wanted: &[&'static str]| -> Vec<&'static str> {
        wanted.iter().copied().filter(|key| !keys.contains(*key)).collect()
    };
    let (needed, used) = (lacks(&HOSTS_NEED), lacks(&HOSTS_USE));
    if !needed.is_empty() {
        let finding = format!("{id} lacks {}: workers cannot start", listed(&needed));
        return check.fault(finding, write(id));
    }
    if !used.is_empty() {
        let finding = format!("{id} lacks {}", listed(&used));
        return check.warning(finding, write(id));
    }
    check.ok(format!("{id} has what workers need, {} keys in all", keys.len()))
}

fn named(keys: &BTreeSet<String>) -> Vec<&str> {
    keys.iter().map(String::as_str).collect()
}
