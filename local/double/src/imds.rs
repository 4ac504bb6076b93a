//! The instance metadata service of each instance, version 2 only: a token first, then the paths.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::json;

use crate::account::{Account, lock};
use crate::ids::Ids;
use crate::services::header;

/// The tokens that were handed out.
#[derive(Debug)]
pub(crate) struct Tokens(Mutex<Issued>);

#[derive(Debug)]
struct Issued {
    ids: Ids,
    /// Instance, token, and when it ends.
    known: BTreeMap<(String, String), Timestamp>,
}

impl Tokens {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Mutex::new(Issued { ids: Ids::new(seed, 6), known: BTreeMap::new() }))
    }
}

fn plain(status: StatusCode, text: String) -> Response {
    (status, [("content-type", "text/plain")], text).into_response()
}

fn refuse(status: StatusCode) -> Response {
    plain(status, status.canonical_reason().unwrap_or_default().to_owned())
}

/// `PUT …/latest/api/token`
pub(crate) async fn token(
    State(account): State<Arc<Account>>,
    Path(instance): Path<String>,
    headers: HeaderMap,
) -> Response {
    let ttl = header(&headers, "x-aws-ec2-metadata-token-ttl-seconds")
        .and_then(|text| text.parse::<u64>().ok())
        .filter(|seconds| (1..=21_600).contains(seconds));
    let Some(ttl) = ttl else { return refuse(StatusCode::BAD_REQUEST) };
    if facts_of(&account, &instance).is_none() {
        return refuse(StatusCode::NOT_FOUND);
    }
    let until = account.clock.now() + Duration::from_secs(ttl);
    let mut tokens = lock(&account.tokens.0);
    let token = tokens.ids.uuid();
    tokens.known.insert((instance, token.clone()), until);
    plain(StatusCode::OK, token)
}

/// `GET …/latest/meta-data/…`
pub(crate) async fn metadata(
    State(account): State<Arc<Account>>,
    Path((instance, path)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let token = header(&headers, "x-aws-ec2-metadata-token").unwrap_or_default().to_owned();
    let until = lock(&account.tokens.0).known.get(&(instance.clone(), token)).copied();
    if until.is_none_or(|until| until <= account.clock.now()) {
        return refuse(StatusCode::UNAUTHORIZED);
    }
    let Some(facts) = facts_of(&account, &instance) else {
        return refuse(StatusCode::NOT_FOUND);
    };
    // AWS writes whole seconds here.
    let time = |at: Timestamp| format!("{at:.0}");
    let text = match path.as_str() {
        "instance-id" => Some(instance),
        "placement/region" => Some(account.config.region.clone()),
        "placement/availability-zone" => Some(facts.zone),
        "autoscaling/target-lifecycle-state" => Some(facts.target.to_owned()),
        "spot/instance-action" => facts
            .reclaim_at
            .map(|at| json!({ "action": "terminate", "time": time(at) }).to_string()),
        "spot/termination-time" => facts.reclaim_at.map(time),
        "events/recommendations/rebalance" => {
            facts.rebalance_at.map(|at| json!({ "noticeTime": time(at) }).to_string())
        }
        _ => None,
    };
    text.map_or_else(|| refuse(StatusCode::NOT_FOUND), |text| plain(StatusCode::OK, text))
}

/// What an instance can read about itself.
struct Facts {
    zone: String,
    /// The state it is heading for.
    target: &'static str,
    reclaim_at: Option<Timestamp>,
    rebalance_at: Option<Timestamp>,
}

/// None for a machine that does not run.
fn facts_of(account: &Account, instance: &str) -> Option<Facts> {
    account.with_groups(|asg| {
        let mut instances = asg.groups().values().flat_map(|group| &group.instances);
        instances.find(|i| i.id == instance && i.running).map(|i| Facts {
            zone: i.zone.clone(),
            target: if i.state.counts() { "InService" } else { "Terminated" },
            reclaim_at: i.reclaim_at,
            rebalance_at: i.rebalance_at,
        })
    })
}
