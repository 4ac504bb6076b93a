//! Which variables exist, so that a misspelled one is an error instead of a setting that silently
//! has no effect.

use super::lookup::Lookup;
use super::report::Problem;

/// Every variable that the autoscale function knows.
pub const NAMES: [&str; 44] = [
    "AUTOSCALE_ASG_ENABLED",
    "AUTOSCALE_BOOT_SECONDS",
    "AUTOSCALE_FLOORS",
    "AUTOSCALE_HOLD_MIN_SECONDS",
    "AUTOSCALE_IDLE_CONFIRM_SECONDS",
    "AUTOSCALE_MAX",
    "AUTOSCALE_MAX_IN_PERCENT",
    "AUTOSCALE_MIN",
    "AUTOSCALE_NO_SCALE_IN",
    "AUTOSCALE_STATE_PARAMETER",
    "AUTOSCALE_TICK_SECONDS",
    "AWS_ACCESS_KEY_ID",
    "AWS_ASG_NAME",
    "AWS_CA_BUNDLE",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_AUTO_SCALING",
    "AWS_ENDPOINT_URL_SECRETS_MANAGER",
    "AWS_ENDPOINT_URL_SSM",
    "AWS_LAMBDA_LOG_LEVEL",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "DATABASE_CA",
    "DATABASE_SECRET_ID",
    "DATABASE_URL",
    "DRAIN_HOOK",
    "DRAIN_JOB_LIMIT_SECONDS",
    "DRY_RUN",
    "FLEET_OPERATOR_TOKEN",
    "FLEET_READER_TOKEN",
    "FLEET_SECRET_ID",
    "FLEET_TICKER_TOKEN",
    "FLEET_TOKENS",
    "GH_ENVIRONMENT",
    "JOBS_PER_WORKER",
    "PGBOSS_GROUP_CONCURRENCY",
    "PGBOSS_QUEUE",
    "PGBOSS_SCHEMA",
    "ROLLOUT_BAKE_SECONDS",
    "ROLLOUT_WATCH_SECONDS",
    "RUST_LOG",
    "WAIT_TARGET_SECONDS",
    "WAIT_VALUE",
    // Not read: the migrations' own, often set beside ours, so it is let be.
    "DATABASE_DIRECT_URL",
];

/// A variable that begins like this is meant for us, so it has to be one we know.
pub(super) const PREFIXES: [&str; 7] =
    ["AUTOSCALE_", "AWS_ASG_", "DATABASE_", "FLEET_", "JOBS_PER_", "PGBOSS_", "ROLLOUT_"];

/// One problem for each variable that begins like ours and is not `known`.
pub(super) fn unknown(
    env: &impl Lookup,
    known: &[&'static str],
    prefixes: &[&'static str],
) -> Vec<Problem> {
    env.names()
        .into_iter()
        .filter(|name| prefixes.iter().any(|prefix| name.starts_with(prefix)))
        .filter(|name| !known.contains(&name.as_str()))
        .map(|name| Problem {
            fix: match nearest(&name, known) {
                Some(known) => format!("Did you mean {known}? Rename it or remove it"),
                None => "Remove it".to_owned(),
            },
            wrong: "is not a setting of this program and would have no effect".to_owned(),
            variable: name,
        })
        .collect()
}

/// The known name that `name` was most likely meant to be. At most a third of it may differ.
fn nearest(name: &str, known: &[&'static str]) -> Option<&'static str> {
    known
        .iter()
        .map(|known| (distance(name, known), *known))
        .filter(|(edits, _)| *edits <= name.len() / 3)
        .min()
        .map(|(_, known)| known)
}

/// Levenshtein distance in bytes; names are ASCII.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, r) in right.bytes().enumerate() {
            let substituted = diagonal + usize::from(l != r);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}
