//! Two ticks at once exclude each other, also through a transaction pooler, and thousands of ticks
//! share a few connections.

use crate::support::{LOOK_AHEAD, NEWEST, QUEUE, install, server, source};
use fleet_clients::queue::{TickLock, lock_key};
use fleet_local::pgbouncer::{Options, PgBouncer};
use fleet_protocol::ids::GroupName;
use std::sync::OnceLock;
use std::time::Duration;

const POOL_SIZE: u32 = 3;

/// A pooler in front of every database of the server.
pub(crate) fn pooler() -> &'static PgBouncer {
    static POOLER: OnceLock<PgBouncer> = OnceLock::new();
    POOLER.get_or_init(|| {
        PgBouncer::start(server(), Options { pool_size: POOL_SIZE, ..Options::default() })
            .expect("start PgBouncer")
    })
}

/// Creates `database`, in which ten jobs wait, and gives its URL through the pooler.
pub(crate) fn ten_jobs(database: &str) -> String {
    let mut boss = install(server(), database, NEWEST);
    boss.insert(QUEUE, 10, serde_json::json!({}), serde_json::json!({})).expect("insert");
    // The same role and password, at the pooler's port.
    let direct = server().app_url_in(database);
    direct.replace(&format!(":{}/", server().port()), &format!(":{}/", pooler().port()))
}

#[test]
fn the_lock_is_the_groups() {
    let (one, two) =
        (GroupName::new("ghosthands-production"), GroupName::new("ghosthands-staging"));
    let key = |group: &GroupName, region| lock_key(group, region);
    assert_eq!(key(&one, "us-east-1"), key(&one.clone(), "us-east-1"));
    assert_ne!(key(&one, "us-east-1"), key(&two, "us-east-1"));
    assert_ne!(key(&one, "us-east-1"), key(&one, "eu-west-1"), "one name in two regions");
}

#[tokio::test]
async fn a_second_tick_is_told_that_one_runs() {
    let pooled = ten_jobs("locked");
    let direct = server().app_url_in("locked");
    for (url, ca) in [(direct, server().ca_pem()), (pooled, pooler().ca_pem())] {
        let (mut first, mut second) = (source(&url, Some(ca)), source(&url, Some(ca)));
        let TickLock::Acquired(tick) = first.begin(1, LOOK_AHEAD, 0).await.expect("a tick") else {
            panic!("nobody held the lock");
        };
        assert_eq!(tick.snapshot().general.ready, 10);
        let busy = second.begin(1, LOOK_AHEAD, 0).await.expect("an answer");
        assert!(matches!(busy, TickLock::HeldElsewhere), "{busy:?}");
        // Another group's tick is not in the way, on the same source that was just refused.
        assert!(matches!(second.begin(2, LOOK_AHEAD, 0).await, Ok(TickLock::Acquired(_))));
        tick.finish().await;
        let TickLock::Acquired(after) = second.begin(1, LOOK_AHEAD, 0).await.expect("a tick")
        else {
            panic!("the lock was given back");
        };

        // A tick that is dropped gives the lock back too, as soon as the server sees the connection
        // close.
        drop(after);
        let mut tries = 0;
        while !matches!(
            first.begin(1, LOOK_AHEAD, 0).await.expect("an answer"),
            TickLock::Acquired(_)
        ) {
            tries += 1;
            assert!(tries < 1_500, "the lock of a dropped tick is still held");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn groups_of_one_name_in_two_regions_tick_at_once_on_one_database() {
    let (url, ca) = (ten_jobs("regions"), pooler().ca_pem());
    let group = GroupName::new("ghosthands-worker-asg");
    let keys = ["us-east-1", "eu-west-1"].map(|region| lock_key(&group, region));
    let (mut here, mut there) = (source(&url, Some(ca)), source(&url, Some(ca)));
    let one = here.begin(keys[0], LOOK_AHEAD, 0).await.expect("a tick");
    let other = there.begin(keys[1], LOOK_AHEAD, 0).await.expect("a tick");
    assert!(matches!((one, other), (TickLock::Acquired(_), TickLock::Acquired(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_ticks_over_a_few_pooled_connections() {
    const CLIENTS: i64 = 12;
    const TICKS: usize = 250;
    let (url, ca) = (ten_jobs("pooled"), pooler().ca_pem());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let mut source = source(&url, Some(ca));
            tokio::spawn(async move {
                for _ in 0..TICKS {
                    match source.begin(100 + client, LOOK_AHEAD, 0).await {
                        Ok(TickLock::Acquired(tick)) => {
                            assert_eq!(tick.snapshot().general.ready, 10);
                            tick.finish().await;
                        }
                        Ok(TickLock::HeldElsewhere) => panic!("every client has a lock of its own"),
                        Err(unknown) => panic!("{}", unknown.detail),
                    }
                }
            })
        })
        .collect();
    for client in clients {
        client.await.expect("a client without an error");
    }
    let client = server().connect("pooled").await.expect("connect");
    let pooled = "SELECT count(*) FROM pg_stat_activity \
                  WHERE datname = current_database() AND application_name = 'ghosthands-fleet'";
    let connections: i64 = client.query_one(pooled, &[]).await.expect("activity").get(0);
    assert!((1..=i64::from(POOL_SIZE)).contains(&connections), "{connections} connections");
}
