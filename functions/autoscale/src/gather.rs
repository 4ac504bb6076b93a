//! Ticks that callers ask for: however many they are, at most one a second.

use crate::app::App;
use crate::handler::Trigger;
use crate::tick::{TickReport, tick};
use fleet_clients::queue::{Gathering, GatheringRequest, gathering_key, lock_key};
use fleet_protocol::reading::Unknown;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// What a caller waits for others who come: each of their ticks has such a second for itself.
const PAUSE: Duration = Duration::from_secs(1);
/// With the pause and a tick of its own a caller is answered within the 30 s of an HTTP API.
const PATIENCE: Duration = Duration::from_secs(10);
/// Gatherings after which a tick of somebody else's was first each time.
const ATTEMPTS: u32 = 3;

/// What became of a call.
pub(crate) enum GatheredTick {
    Ticked(TickReport),
    /// The tick of another caller, which has not begun yet, is made for this one too.
    Joined,
    /// Other ticks kept it from making one.
    StillRunning,
}

/// Makes one tick for this caller and all who join it, or joins another caller's.
pub(crate) async fn gathered_tick(app: &App, request_id: &str) -> GatheredTick {
    let mut pause = PAUSE;
    for _ in 0..ATTEMPTS {
        if app.config.enabled {
            match gather(app, pause).await {
                Ok(Gathering::Joined) => return GatheredTick::Joined,
                Ok(Gathering::StillRunning) => return GatheredTick::StillRunning,
                // Without the database there is nobody to ask who else comes; the tick says so.
                Ok(Gathering::Tick) | Err(_) => {}
            }
        }
        match tick(app, Trigger::Api, request_id).await {
            // It may have read the queue before the last of ours joined.
            TickReport::AlreadyRunning(_) => pause = Duration::ZERO,
            report => return GatheredTick::Ticked(report),
        }
    }
    GatheredTick::StillRunning
}

async fn gather(app: &App, pause: Duration) -> Result<Gathering, Unknown> {
    let (group, region) = (&app.config.group, &app.config.aws.region);
    let request = GatheringRequest {
        gathering: gathering_key(group, region),
        tick: lock_key(group, region),
        pause,
        patience: PATIENCE,
    };
    let mut queue = app.queue.lock().await;
    let source = queue.source(app.queue_failed.load(Ordering::Relaxed)).await?;
    let gathered = source.gather(request).await;
    if gathered.is_err() {
        app.queue_failed.store(true, Ordering::Relaxed);
    }
    gathered
}
