//! Callers who want a tick are gathered into one that begins after all of them came, also through a
//! transaction pooler.

use crate::lock::{pooler, ten_jobs};
use crate::support::{LOOK_AHEAD, server, source};
use fleet_clients::queue::{Gathering, GatheringRequest, QueueSource, TickLock};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

fn request(pause: Duration, patience: Duration) -> GatheringRequest {
    GatheringRequest { gathering: 11, tick: 12, pause, patience }
}

/// Sources directly and through the pooler.
fn sources(database: &str) -> [Box<dyn Fn() -> QueueSource>; 2] {
    let pooled = ten_jobs(database);
    let direct = server().app_url_in(database);
    [
        Box::new(move || source(&direct, Some(server().ca_pem()))),
        Box::new(move || source(&pooled, Some(pooler().ca_pem()))),
    ]
}

/// Gathers, also where the other caller was the one who gathers for a moment.
async fn gather(source: &mut QueueSource, request: GatheringRequest) -> Gathering {
    loop {
        match source.gather(request).await.expect("an answer") {
            Gathering::Joined => {}
            gathered => return gathered,
        }
    }
}

#[tokio::test]
async fn who_comes_while_a_tick_runs_waits_for_its_end_and_everybody_else_joins() {
    for source in sources("gathered") {
        let (mut ticks, mut gathers, mut joins) = (source(), source(), source());
        let TickLock::Acquired(running) = ticks.begin(12, LOOK_AHEAD, 0).await.expect("a tick")
        else {
            panic!("nobody held the lock");
        };
        let now = request(Duration::ZERO, PATIENCE);
        let gathering = tokio::spawn(async move { (gather(&mut gathers, now).await, gathers) });
        let mut joined = joins.gather(request(Duration::ZERO, Duration::from_millis(1))).await;
        while joined != Ok(Gathering::Joined) {
            assert_eq!(joined, Ok(Gathering::StillRunning));
            joined = joins.gather(request(Duration::ZERO, Duration::from_millis(1))).await;
        }
        assert!(!gathering.is_finished(), "the tick still runs");
        running.finish().await;
        let (gathered, mut gathers) = gathering.await.expect("no panic");
        assert_eq!(gathered, Gathering::Tick);
        // Neither lock is held any more: its tick can begin, and who comes now gathers anew.
        let began = gathers.begin(12, LOOK_AHEAD, 0).await.expect("a tick");
        let TickLock::Acquired(tick) = began else { panic!("the gatherer left the tick's lock") };
        let next = joins.gather(request(Duration::ZERO, Duration::from_millis(1))).await;
        assert_eq!(next, Ok(Gathering::StillRunning), "it waits for this tick, and joins nobody");
        tick.finish().await;
        assert_eq!(joins.gather(now).await, Ok(Gathering::Tick));
    }
}

#[tokio::test]
async fn others_have_a_while_to_join_before_the_tick() {
    for source in sources("paused") {
        let (mut gathers, mut joins) = (source(), source());
        let began = Instant::now();
        let pause = Duration::from_millis(1_500);
        let gathering =
            tokio::spawn(async move { gather(&mut gathers, request(pause, PATIENCE)).await });
        let mut joined = 0;
        while !gathering.is_finished() {
            let now = request(Duration::ZERO, PATIENCE);
            joined += usize::from(joins.gather(now).await == Ok(Gathering::Joined));
        }
        assert_eq!(gathering.await.expect("no panic"), Gathering::Tick);
        assert!(began.elapsed() >= pause && joined > 0, "{joined} joined");
    }
}

#[tokio::test]
async fn a_gatherer_who_dies_keeps_nobody_from_gathering() {
    for source in sources("orphaned") {
        let (mut gathers, mut next) = (source(), source());
        let long = request(Duration::from_secs(3600), PATIENCE);
        let gathering = tokio::spawn(async move { gather(&mut gathers, long).await });
        let now = request(Duration::ZERO, PATIENCE);
        while next.gather(now).await != Ok(Gathering::Joined) {
            tokio::task::yield_now().await;
        }
        gathering.abort();
        let gone = Instant::now();
        while next.gather(now).await != Ok(Gathering::Tick) {
            assert!(gone.elapsed() < PATIENCE, "the lock outlived its holder");
        }
    }
}
