//! How long one decision takes at 1,000 machines and 1,000 targeted queues, how long its inputs
//! are, and how much memory both take: `cargo run --release -p fleet-core --example decide_scale`.

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a measurement for people")]

use fleet_core::scaling::{
    ActiveCounts, Group, HookStatus, Inputs, Instance, LossCause, Memory, Observation, Omitted,
    Policy, QueueCounts, QueueSnapshot, RefreshStatus, Schema, TargetedQueue, UnreadableRows,
    WorkerRow, WorkerStatus, decide,
};
use fleet_protocol::ids::{GroupName, InstanceId, WorkerId};
use fleet_protocol::reading::Reading;
use fleet_protocol::time::UnixMs;
use std::time::Instant;

const MACHINES: u64 = 1_000;
const TIMES: usize = 500;
const NOW: UnixMs = UnixMs(1_764_000_000_000);

/// Ids as EC2 gives them: seventeen hexadecimal digits that look random.
fn instance(n: u64) -> InstanceId {
    InstanceId::new(format!("i-{:017x}", (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

fn counts(ready: u32, live: u32) -> QueueCounts {
    let newest_start = (live > 0).then_some(UnixMs(NOW.0 - 60_000));
    QueueCounts {
        ready,
        due_soon: 0,
        deferred: None,
        oldest_wait_ms: 0,
        active: Reading::Known(ActiveCounts { live, expired: 0, newest_start }),
    }
}

fn inputs() -> Inputs {
    let rows = (0..MACHINES).map(|n| WorkerRow {
        worker: WorkerId::new(instance(n).as_str()),
        target: None,
        instance: Some(instance(n)),
        status: WorkerStatus::Active,
        has_job: n % 2 == 0,
        jobs: Some(u32::from(n % 2 == 0)),
        accepting: Some(true),
        idle_since: (n % 2 == 1).then_some(UnixMs(NOW.0 - 700_000)),
        last_heartbeat: UnixMs(NOW.0 - 10_000),
    });
    let targeted = (0..MACHINES).map(|n| TargetedQueue {
        worker: WorkerId::new(instance(n).as_str()),
        counts: counts(u32::from(n % 10 == 0), 0),
    });
    let queue = QueueSnapshot {
        db_now: NOW,
        schema: Schema { version: 46, tested: true },
        general: counts(0, 500),
        held_by_key: 0,
        targeted: targeted.collect(),
        workers: Reading::Known(rows.collect()),
        jobs_elsewhere: 0,
        omitted: Omitted::default(),
        unreadable: UnreadableRows::default(),
    };
    let group = Group {
        name: GroupName::new("ghosthands-worker-asg"),
        min: 0,
        max: 1_000,
        desired: 1_000,
        instances: (0..MACHINES)
            .map(|n| Instance {
                id: instance(n),
                lifecycle: "InService".into(),
                healthy: true,
                protected: false,
            })
            .collect(),
        suspended: Vec::new(),
        tags: Vec::new(),
        not_instances: None,
        stopped: Vec::new(),
    };
    Inputs {
        policy: Policy { max: 1_000, ..Policy::default() },
        memory: Memory::Lost { cause: LossCause::Absent, detail: "the first tick".to_owned() },
        observation: Observation {
            now: NOW,
            queue: Reading::Known(queue),
            group: Reading::Known(group),
            refresh: Some(Reading::Known(RefreshStatus::None)),
            hook: Some(Reading::Known(HookStatus::Ours)),
            launches: None,
        },
    }
}

fn main() {
    let mut inputs = inputs();
    inputs.memory = Memory::Kept(decide(&inputs).state);
    let mut took: Vec<u128> = (0..TIMES)
        .map(|_| {
            let began = Instant::now();
            std::hint::black_box(decide(std::hint::black_box(&inputs)));
            began.elapsed().as_micros()
        })
        .collect();
    took.sort_unstable();
    let bytes = serde_json::to_string(&inputs).map_or(0, |text| text.len());
    println!("median {} us, p99 {} us", took[TIMES / 2], took[TIMES * 99 / 100]);
    println!("inputs {bytes} bytes as JSON");
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("unknown");
    println!("peak memory of the process {}", peak.trim());
}
