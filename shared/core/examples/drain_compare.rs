//! Prints what docs/BENCHMARKS.md reports of drains on the simulated faults: ours beside the rules
//! of others, and how fast it is.
//!
//! `drain_compare [LIVES]` lives so many lives of each single fault and a tenth as many of each
//! pair; 100 by default.

#[path = "../tests/drain/sim/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest of it")]
mod sim;

use sim::{
    Fault, Life, Lifecycled, Loss, NodeTerminationHandler, OldSystem, Ours, Reconciler, Scenario,
    crowd, live, percentile,
};
use std::io::{Error, Result, Write};

/// Who looks after the instance, and with what.
struct Arm {
    name: &'static str,
    retain: bool,
    /// The host watches its own metadata, as the shipped one does.
    watcher: bool,
    old_worker: bool,
    reconciler: fn() -> Box<dyn Reconciler>,
}

const ARMS: [Arm; 6] = [
    Arm {
        name: "ours",
        retain: true,
        watcher: true,
        old_worker: false,
        reconciler: || Box::new(Ours::new()),
    },
    Arm {
        name: "ours, without the host's own watch",
        retain: true,
        watcher: false,
        old_worker: false,
        reconciler: || Box::new(Ours::new()),
    },
    Arm {
        name: "ours, with a hook that does not retain",
        retain: false,
        watcher: true,
        old_worker: false,
        reconciler: || Box::new(Ours::new()),
    },
    Arm {
        name: "node-termination-handler's rules",
        retain: false,
        watcher: false,
        old_worker: false,
        reconciler: || Box::new(NodeTerminationHandler::default()),
    },
    Arm {
        name: "lifecycled's rules",
        retain: false,
        watcher: false,
        old_worker: false,
        reconciler: || Box::new(Lifecycled::default()),
    },
    Arm {
        name: "the old system",
        retain: false,
        watcher: false,
        old_worker: true,
        reconciler: || Box::new(OldSystem),
    },
];

fn main() -> Result<()> {
    let lives = match std::env::args().nth(1) {
        None => 100,
        Some(count) => count.parse().map_err(|_| {
            Error::other(format!("LIVES is {count:?} and has to be a number, such as 100"))
        })?,
    };
    let mut out = std::io::stdout().lock();
    lost(&mut out, lives)?;
    speed(&mut out)
}

/// Every set of one fault or two with its seeds.
fn scenarios(lives: u64) -> Vec<Scenario> {
    // An old worker is a fault of the worker: it is the old system's, and measured apart.
    let all: Vec<Fault> = Fault::ALL.iter().copied().filter(|f| *f != Fault::OldWorker).collect();
    let mut sets: Vec<(Vec<Fault>, u64)> = all.iter().map(|fault| (vec![*fault], lives)).collect();
    for (index, fault) in all.iter().enumerate() {
        let pairs = all[index + 1..].iter().map(|other| (vec![*fault, *other], lives.div_ceil(10)));
        sets.extend(pairs);
    }
    let seeds = |(salt, (faults, lives)): (u64, (Vec<Fault>, u64))| {
        (0..lives).map(move |n| Scenario::new(salt * 1_000_000 + n, &faults))
    };
    (0..).zip(sets).flat_map(seeds).collect()
}

fn lost(out: &mut dyn Write, lives: u64) -> Result<()> {
    let scenarios = scenarios(lives);
    writeln!(
        out,
        "{} scale-ins under every single fault and every pair of faults:\n",
        scenarios.len()
    )?;
    writeln!(
        out,
        "| | jobs killed | let go past the limit | stopped with grace | beyond anybody |"
    )?;
    writeln!(out, "|---|---|---|---|---|")?;
    for arm in &ARMS {
        let mut counts = [0; 4];
        for scenario in &scenarios {
            let mut scenario =
                Scenario { retain: arm.retain, watcher: arm.watcher, ..scenario.clone() };
            if arm.old_worker {
                scenario.faults.push(Fault::OldWorker);
            }
            for (_, loss) in live(&scenario, &mut *(arm.reconciler)()).losses {
                counts[match loss {
                    // A job without end is killed by no hook: it is past every limit.
                    Loss::HookRanOut if scenario.faults.contains(&Fault::JobHangs) => 1,
                    Loss::Released | Loss::HookRanOut => 0,
                    Loss::GaveUp => 1,
                    Loss::Stopped => 2,
                    Loss::BeyondUs => 3,
                }] += 1;
            }
        }
        let [killed, past, stopped, beyond] = counts;
        writeln!(out, "| {} | {killed} | {past} | {stopped} | {beyond} |", arm.name)?;
    }
    let old = scenarios.iter().map(|scenario| {
        let mut scenario = Scenario { watcher: true, ..scenario.clone() };
        scenario.faults.push(Fault::OldWorker);
        live(&scenario, &mut Ours::new()).caught
    });
    let caught: u32 = old.sum();
    writeln!(
        out,
        "\nOurs with the old worker, which fetches on: {caught} jobs caught in its last instant."
    )
}

fn speed(out: &mut dyn Write) -> Result<()> {
    writeln!(out, "\n| seconds | p50 | p99 | aim |\n|---|---|---|---|")?;
    let of = |faults: &[Fault]| -> Vec<Life> {
        (0..2_000).map(|seed| live(&Scenario::new(seed, faults), &mut Ours::new())).collect()
    };
    let row = |out: &mut dyn Write, what: &str, seconds: Vec<i64>, aim: &str| {
        let (p50, p99) = (percentile(&seconds, 50), percentile(&seconds, 99));
        writeln!(out, "| {what} | {p50} | {p99} | {aim} |")
    };
    for (faults, with, told, left) in [
        (&[][..], "with events", "p99 at most 5", "p50 at most 5"),
        (&[Fault::EventsLost], "all events lost", "p99 at most 90", "p99 at most 65"),
    ] {
        let lives = of(faults);
        let asked = lives.iter().filter_map(|life| life.asked_at).collect();
        row(out, &format!("end decided to first command, {with}"), asked, told)?;
        let went =
            lives.iter().filter_map(|life| Some(life.released_at? - life.idle_at?)).collect();
        row(out, &format!("drained to completed, {with}"), went, left)?;
    }
    writeln!(out, "\n| | measured | aim |\n|---|---|---|")?;
    let idle = Ours::calls_of_an_idle_minute();
    writeln!(out, "| AWS calls in an idle minute | {idle} | 1 |")?;
    for passes in [1, 5] {
        let scenarios: Vec<Scenario> = (0..100).map(|seed| Scenario::new(seed, &[])).collect();
        let lives = crowd(&scenarios, Ours::paced(passes, 64));
        let margin = lives.iter().filter_map(|life| life.margin_s).min().unwrap_or_default();
        let minutes = lives.iter().filter_map(|life| life.over_at).max().unwrap_or(60) / 60;
        let calls = lives.iter().map(|life| i64::from(life.calls)).sum::<i64>() / minutes.max(1);
        writeln!(
            out,
            "| least heartbeat margin, 100 at once, reserved concurrency {passes} | {margin} of 300 s | 180 s |"
        )?;
        writeln!(out, "| AWS calls a minute meanwhile | {calls} | |")?;
    }
    Ok(())
}
