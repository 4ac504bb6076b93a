//! The fleet's figures for Prometheus: the status in numbers. `docs/METRICS.md` explains each.

use super::assemble::whole;
use super::{Capacity, Inputs, LastRollout, Queue, Source, Status, WorkerState};
use crate::count::count;
use crate::rollout;
use crate::scaling::{Memory, State};
use fleet_protocol::exposition::{Exposition, Sample, flag, number, seconds};
use fleet_protocol::lifecycle::LifecycleState;
use fleet_protocol::reading::Reading;
use fleet_protocol::time::UnixMs;

/// All of it as text for Prometheus; `version` is this program's. The figures of a source that did
/// not answer are left out, and its `ghosthands_fleet_source_up` is 0.
#[must_use]
pub fn exposition(inputs: &Inputs, version: &str) -> Exposition {
    let status = whole(inputs);
    let mut page = Exposition::default();
    site(&mut page, inputs, version);
    let sources = Source::ALL
        .map(|(source, name)| Sample::new(&[("source", name)], flag(is_up(&status, source))));
    page.gauges(
        "ghosthands_fleet_source_up",
        "Whether the source answered; the figures of one that did not are left out.",
        sources,
    );
    if let Some(capacity) = &status.capacity {
        bounds(&mut page, capacity);
    }
    instances(&mut page, &status);
    workers(&mut page, &status);
    if let Some(queue) = &status.queue {
        jobs(&mut page, queue);
    }
    if let Reading::Known(Memory::Kept(state)) = &inputs.memory {
        ticks(&mut page, state);
    }
    versions(&mut page, &status, inputs.last_rollout);
    page.gauge(
        "ghosthands_fleet_cost_usd_per_hour",
        "What the instances that exist cost, by the settings' prices.",
        status.cost.map(|cost| number(cost.hour_micros) / 1e6),
    );
    page
}

/// Whether a source answered. The registry and the running jobs are read with the queue.
fn is_up(status: &Status, source: Source) -> bool {
    let answered = |source| status.unavailable.iter().all(|one| one.source != source);
    let with_queue = matches!(source, Source::ActiveJobs | Source::Workers);
    answered(source) && (answered(Source::Queue) || !with_queue)
}

fn site(page: &mut Exposition, inputs: &Inputs, version: &str) {
    let site = &inputs.site;
    let labels = [
        ("environment", site.environment.as_str()),
        ("group", site.group.as_str()),
        ("version", version),
    ];
    page.info("ghosthands_fleet_info", "The fleet and the version of its control plane.", &labels);
    page.gauge(
        "ghosthands_fleet_scaling_enabled",
        "Whether the fleet is scaled at all.",
        Some(flag(site.enabled)),
    );
    page.gauge(
        "ghosthands_fleet_dry_run",
        "Whether the control plane decides and changes nothing.",
        Some(flag(site.dry_run)),
    );
    page.gauge(
        "ghosthands_fleet_wait_target_seconds",
        "A ready job that waits for longer is an alarm.",
        Some(f64::from(site.wait_target_s)),
    );
}

fn bounds(page: &mut Exposition, capacity: &Capacity) {
    let number = |number: u32| Some(f64::from(number));
    page.gauge(
        "ghosthands_fleet_desired_instances",
        "The group's desired capacity.",
        number(capacity.desired),
    );
    page.gauge(
        "ghosthands_fleet_min_instances",
        "The least capacity that settings, group and floor allow.",
        capacity.min.map(f64::from),
    );
    page.gauge(
        "ghosthands_fleet_max_instances",
        "The most capacity that settings and group allow.",
        capacity.max.map(f64::from),
    );
    page.gauge(
        "ghosthands_fleet_floor_instances",
        "The floor that somebody asked for, while there is one.",
        capacity.floor.as_ref().map(|floor| f64::from(floor.workers)),
    );
    page.gauge(
        "ghosthands_fleet_paused",
        "Whether somebody paused the scaling.",
        Some(flag(capacity.paused.is_some())),
    );
    page.gauge(
        "ghosthands_fleet_suspended_processes",
        "Processes of the group that somebody suspended.",
        number(count(capacity.suspended.iter())),
    );
}

fn instances(page: &mut Exposition, status: &Status) {
    let Some(instances) = &status.instances else { return };
    let of = |lifecycle: &str, is: &dyn Fn(&LifecycleState) -> bool| {
        let many = count(instances.iter().filter(|instance| is(&instance.lifecycle)));
        (lifecycle.to_owned(), f64::from(many))
    };
    let mut by_state: Vec<(String, f64)> = LifecycleState::KNOWN
        .iter()
        .map(|state| of(state.as_str(), &|its: &LifecycleState| its == state))
        .collect();
    by_state.push(of("other", &|its: &LifecycleState| !its.is_known()));
    page.gauges(
        "ghosthands_fleet_instances",
        "Instances of the group, by their lifecycle state in AWS's words.",
        by_state.iter().map(|(state, many)| Sample::new(&[("lifecycle", state)], *many)),
    );
    page.gauge(
        "ghosthands_fleet_unhealthy_instances",
        "Instances that Auto Scaling holds to be unhealthy.",
        Some(f64::from(count(instances.iter().filter(|instance| !instance.healthy)))),
    );
}

fn workers(page: &mut Exposition, status: &Status) {
    let Some(workers) = &status.workers else { return };
    let of = |(state, name): (WorkerState, &'static str)| {
        let many = count(workers.iter().filter(|worker| worker.state == state));
        Sample::new(&[("state", name)], f64::from(many))
    };
    page.gauges(
        "ghosthands_fleet_workers",
        "Workers in the registry, by what their row says.",
        WorkerState::ALL.map(of),
    );
}

fn jobs(page: &mut Exposition, queue: &Queue) {
    let by_state = [
        ("ready", Some(queue.ready)),
        ("due_soon", Some(queue.due_soon)),
        ("deferred", queue.deferred),
        ("active", queue.active),
        ("expired", queue.expired),
    ];
    let counted = by_state
        .into_iter()
        .filter_map(|(state, jobs)| Some(Sample::new(&[("state", state)], f64::from(jobs?))));
    page.gauges(
        "ghosthands_fleet_queue_jobs",
        "Unfinished jobs of the general queue and the queues of the group's workers.",
        counted,
    );
    page.gauge(
        "ghosthands_fleet_queue_oldest_wait_seconds",
        "How long the oldest ready job has been due; 0 when none is ready.",
        Some(number(queue.oldest_wait_s)),
    );
}

fn ticks(page: &mut Exposition, state: &State) {
    page.gauge(
        "ghosthands_fleet_last_tick_timestamp_seconds",
        "When the scaling function decided last, in seconds since 1970.",
        moment(state.at),
    );
    let newest = state.decisions.last();
    page.gauge(
        "ghosthands_fleet_last_decision_timestamp_seconds",
        "When it last changed the capacity, or another rule bound than before.",
        newest.and_then(|decision| moment(decision.at)),
    );
    page.gauge(
        "ghosthands_fleet_last_decision_failed",
        "Whether AWS refused that decision or did not answer.",
        newest.map(|decision| flag(decision.failed)),
    );
    page.gauge(
        "ghosthands_fleet_converging",
        "Whether the group follows its desired capacity and its workers take jobs.",
        state.converging.map(flag),
    );
}

fn versions(page: &mut Exposition, status: &Status, last: Option<LastRollout>) {
    if is_up(status, Source::Versions) {
        let stable = status.versions.stable.as_ref();
        page.gauge(
            "ghosthands_fleet_drifted_instances",
            "Hosts that proved another version than the stable one.",
            stable.and(status.versions.drifted).map(f64::from),
        );
        page.gauge(
            "ghosthands_fleet_unproven_instances",
            "Hosts that have proved no version, or not lately.",
            status.versions.unknown.map(f64::from),
        );
    }
    if let Some(stable) = &status.versions.stable {
        let labels = [("image_tag", stable.image_tag.as_str())];
        page.info(
            "ghosthands_fleet_stable_version_info",
            "The version that every host proved last, and that new instances boot to.",
            &labels,
        );
        let at = stable.at.as_deref().and_then(|at| at.parse::<jiff::Timestamp>().ok());
        page.gauge(
            "ghosthands_fleet_stable_version_timestamp_seconds",
            "When it was proven, in seconds since 1970.",
            at.and_then(|at| moment(UnixMs(at.as_millisecond()))),
        );
    }
    let Some(last) = last else { return };
    let state = rollout::State::ENDED.into_iter().find(|(state, _)| *state == last.state);
    page.state(
        "ghosthands_fleet_last_rollout_state",
        "How the last rollout ended.",
        "state",
        &rollout::State::ENDED.map(|(_, name)| name),
        state.map(|(_, name)| name),
    );
    page.gauge(
        "ghosthands_fleet_last_rollout_timestamp_seconds",
        "When it ended, in seconds since 1970.",
        moment(last.at),
    );
}

fn moment(at: UnixMs) -> Option<f64> {
    u64::try_from(at.0).ok().map(seconds)
}
