//! The same truth by other means: every row is read, and counted here by plain code.

use crate::support::QUEUE;
use fleet_local::postgres::Postgres;
use std::collections::BTreeMap;

/// Counts of one queue.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) ready: u32,
    pub(crate) due_soon: u32,
    pub(crate) deferred: u32,
    pub(crate) live: u32,
    pub(crate) expired: u32,
}

/// Unfinished jobs of every queue in `database`, however it is named.
pub(crate) async fn rows(
    server: &Postgres,
    database: &str,
    look_ahead: f64,
) -> BTreeMap<String, Counted> {
    let client = server.connect(database).await.expect("connect");
    let columns: Vec<String> = client
        .query(
            "SELECT column_name::text FROM information_schema.columns \
             WHERE table_schema = 'pgboss' AND table_name = 'job'",
            &[],
        )
        .await
        .expect("columns")
        .iter()
        .map(|row| row.get(0))
        .collect();
    let has = |name: &str| columns.iter().any(|column| column == name);
    let start = if has("startafter") { "startafter" } else { "start_after" };
    let started = if has("startedon") { "startedon" } else { "started_on" };
    let expire = if has("expirein") {
        "extract(epoch FROM expirein)"
    } else if has("expire_in") {
        "extract(epoch FROM expire_in)"
    } else {
        "expire_seconds"
    };
    let blocked = if has("blocked") { "blocked" } else { "false" };
    let beat = if has("heartbeat_on") {
        "extract(epoch FROM heartbeat_on + heartbeat_seconds * interval '1 s')::float8"
    } else {
        "NULL::float8"
    };
    let query = format!(
        "SELECT name, state::text, extract(epoch FROM {start})::float8, extract(epoch FROM {started})::float8, \
         ({expire})::float8, {blocked}, {beat}, extract(epoch FROM now())::float8 FROM pgboss.job"
    );
    let mut queues = BTreeMap::<String, Counted>::new();
    for row in client.query(&query, &[]).await.expect("rows") {
        let now: f64 = row.get(7);
        let counted = queues.entry(row.get(0)).or_default();
        match row.get::<_, &str>(1) {
            "created" | "retry" if row.get(5) => {}
            "created" | "retry" => {
                let wait = row.get::<_, f64>(2) - now;
                let place = if wait <= 0.0 {
                    &mut counted.ready
                } else if wait <= look_ahead {
                    &mut counted.due_soon
                } else {
                    &mut counted.deferred
                };
                *place += 1;
            }
            "active" => {
                let ends = row.get::<_, f64>(3) + row.get::<_, f64>(4);
                let silent = row.get::<_, Option<f64>>(6).is_some_and(|until| until < now);
                let place =
                    if ends < now || silent { &mut counted.expired } else { &mut counted.live };
                *place += 1;
            }
            _finished => {}
        }
    }
    queues
}

/// The queues of [`rows`] as the snapshot groups them: the general one, and the targeted ones that
/// hold an unfinished job.
pub(crate) fn grouped(
    mut queues: BTreeMap<String, Counted>,
) -> (Counted, BTreeMap<String, Counted>) {
    let general = queues.remove(QUEUE).unwrap_or_default();
    let targeted = queues
        .into_iter()
        .filter_map(|(name, counted)| {
            let (queue, worker) = name.split_once('/')?;
            (queue == QUEUE && counted != Counted::default()).then(|| (worker.to_owned(), counted))
        })
        .collect();
    (general, targeted)
}
