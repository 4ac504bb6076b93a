//! The instance metadata service of each instance, version 2 only: a token first, then the paths.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;

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
    if state_of(&account, &instance).is_none() {
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
    let Some(target) = state_of(&account, &instance) else {
        return refuse(StatusCode::NOT_FOUND);
    };
    match path.as_str() {
        "instance-id" => plain(StatusCode::OK, instance),
        "placement/region" => plain(StatusCode::OK, account.config.region.clone()),
        "autoscaling/target-lifecycle-state" => plain(StatusCode::OK, target.to_owned()),
        _ => refuse(StatusCode::NOT_FOUND),
    }
}

/// The state the instance is heading for; none for a machine that does not run.
fn state_of(account: &Account, instance: &str) -> Option<&'static str> {
    account.with_groups(|asg| {
        asg.groups()
            .values()
            .flat_map(|group| &group.instances)
            .find(|i| i.id == instance && i.running)
            .map(|i| if i.state.counts() { "InService" } else { "Terminated" })
    })
}
