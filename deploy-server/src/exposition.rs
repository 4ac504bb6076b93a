//! `GET /metrics` for Prometheus: what `/health`, `/workers`, `/version`, `/deploys` and the JSON
//! of `/metrics` say, in numbers. `docs/METRICS.md` explains each.

use fleet_protocol::exposition::{Exposition, Sample, flag, number, seconds};

use crate::deploy::model::Outcome;
use crate::metrics::{Counters, Metrics};
use crate::ops::What;
use crate::state::Entry;
use crate::views::{Health, WorkerView};
use crate::worker::WorkerState;

/// What is known of the host.
#[derive(Debug)]
pub struct Facts<'a> {
    pub environment: &'a str,
    pub instance_id: Option<&'a str>,
    pub health: &'a Health,
    pub worker: &'a WorkerView,
    pub metrics: &'a Metrics,
    /// The deploy that ended last; `None` where there was none or the history cannot be read.
    pub last_deploy: Option<&'a Entry>,
}

/// All of it as text for Prometheus, without what is unknown.
#[must_use]
pub fn render(facts: &Facts<'_>) -> Exposition {
    let mut page = Exposition::default();
    server(&mut page, facts);
    worker(&mut page, facts);
    if let Some(last) = facts.last_deploy {
        deploys(&mut page, last);
    }
    machine(&mut page, facts.metrics);
    if let Some(disks) = &facts.metrics.devices.disks {
        let names =
            ["ghosthands_host_disk_read_bytes_total", "ghosthands_host_disk_written_bytes_total"];
        let help =
            ["Bytes read from the disk since boot.", "Bytes written to the disk since boot."];
        devices(&mut page, disks, names, help);
    }
    if let Some(interfaces) = &facts.metrics.devices.network {
        let names = [
            "ghosthands_host_network_receive_bytes_total",
            "ghosthands_host_network_transmit_bytes_total",
        ];
        let help = [
            "Bytes received by the interface since boot.",
            "Bytes sent by the interface since boot.",
        ];
        devices(&mut page, interfaces, names, help);
    }
    page
}

fn server(page: &mut Exposition, facts: &Facts<'_>) {
    let Facts { environment, instance_id, health, .. } = facts;
    let mut labels = vec![("environment", *environment), ("version", env!("CARGO_PKG_VERSION"))];
    labels.extend(instance_id.map(|id| ("instance_id", id)));
    page.info("ghosthands_host_info", "The host and the version of its deploy-server.", &labels);
    page.gauge(
        "ghosthands_host_uptime_seconds",
        "How long the deploy-server has run.",
        u64::try_from(health.uptime_ms).ok().map(seconds),
    );
    page.gauge(
        "ghosthands_host_docker_up",
        "Whether the Docker Engine answers.",
        Some(flag(health.docker_reachable)),
    );
    page.gauge(
        "ghosthands_host_api_healthy",
        "Whether the host's API answers that it is well.",
        Some(flag(health.api_healthy)),
    );
    page.gauge(
        "ghosthands_host_terminating",
        "Whether the host was told that its machine goes away.",
        Some(flag(health.terminating)),
    );
    page.gauge(
        "ghosthands_host_deploy_safe",
        "Whether a fresh reading says that no job runs.",
        Some(flag(health.deploy_safe)),
    );
    page.state(
        "ghosthands_host_operation",
        "What holds the host's lock; all are 0 while nothing does.",
        "operation",
        &What::NAMES,
        Some(health.operation.unwrap_or_default()),
    );
}

fn worker(page: &mut Exposition, Facts { health, worker, .. }: &Facts<'_>) {
    page.state(
        "ghosthands_host_worker_state",
        "How the worker is, by its own word and Docker's.",
        "state",
        &WorkerState::ALL.map(WorkerState::name),
        Some(worker.status.name()),
    );
    page.gauge(
        "ghosthands_host_worker_active_jobs",
        "Jobs that the worker has in hand.",
        worker.active_jobs.map(f64::from),
    );
    page.gauge(
        "ghosthands_host_worker_accepting",
        "Whether the worker takes jobs, in its own word.",
        worker.accepting.map(flag),
    );
    page.gauge(
        "ghosthands_host_worker_uptime_seconds",
        "How long the worker has run.",
        worker.uptime.map(number),
    );
    if let Some(tag) = &health.image_tag {
        let labels = [("image_tag", tag.as_str())];
        page.info("ghosthands_host_worker_image_info", "The image of the worker.", &labels);
    }
}

fn deploys(page: &mut Exposition, last: &Entry) {
    let ended: Option<jiff::Timestamp> = last.finished_at.parse().ok();
    page.gauge(
        "ghosthands_host_last_deploy_timestamp_seconds",
        "When the last deploy, rollback or bootstrap ended, in seconds since 1970.",
        ended.and_then(|at| u64::try_from(at.as_millisecond()).ok()).map(seconds),
    );
    page.gauge(
        "ghosthands_host_last_deploy_duration_seconds",
        "How long it took.",
        u64::try_from(last.duration).ok().map(seconds),
    );
    page.state(
        "ghosthands_host_last_deploy_outcome",
        "How it ended.",
        "outcome",
        &Outcome::ALL.map(Outcome::name),
        Some(last.status.name()),
    );
}

fn machine(page: &mut Exposition, metrics: &Metrics) {
    let Metrics { cpu, memory, disk, .. } = metrics;
    let of_percent = |percent: f64| percent / 100.0;
    page.gauge(
        "ghosthands_host_cpu_usage_ratio",
        "Share of all cores that was not idle in the last seconds.",
        cpu.usage_percent.map(of_percent),
    );
    page.gauge(
        "ghosthands_host_cpu_cores",
        "Cores.",
        cpu.cores.and_then(|cores| u32::try_from(cores).ok()).map(f64::from),
    );
    for (name, help, load) in [
        ("ghosthands_host_load1", "Load average over 1 minute.", 0),
        ("ghosthands_host_load5", "Load average over 5 minutes.", 1),
        ("ghosthands_host_load15", "Load average over 15 minutes.", 2),
    ] {
        page.gauge(name, help, cpu.load_average.map(|average| average[load]));
    }
    let memory = memory.as_ref();
    page.gauge(
        "ghosthands_host_memory_size_bytes",
        "Physical memory.",
        memory.map(|memory| number(memory.total_bytes)),
    );
    page.gauge(
        "ghosthands_host_memory_available_bytes",
        "What a new process could have without swapping.",
        memory.map(|memory| number(memory.available_bytes)),
    );
    let disk = disk.as_ref();
    page.gauge(
        "ghosthands_host_disk_size_bytes",
        "Size of the file system of /.",
        disk.map(|disk| number(disk.total_bytes)),
    );
    page.gauge(
        "ghosthands_host_disk_used_bytes",
        "Used of it.",
        disk.map(|disk| number(disk.used_bytes)),
    );
    page.gauge(
        "ghosthands_host_disk_available_bytes",
        "What an ordinary user could still write to it.",
        disk.map(|disk| number(disk.available_bytes)),
    );
    page.gauge(
        "ghosthands_host_disk_inodes_used_ratio",
        "Used of all its inodes.",
        disk.and_then(|disk| disk.inodes_usage_percent).map(of_percent),
    );
}

/// The first and the second counter of each device, as a metric each.
fn devices(page: &mut Exposition, counters: &Counters, names: [&str; 2], help: [&str; 2]) {
    let of = |which: fn(&(u64, u64)) -> u64| {
        counters.iter().map(move |(device, both)| {
            Sample::new(&[("device", device.as_str())], number(which(both)))
        })
    };
    page.counters(names[0], help[0], of(|both| both.0));
    page.counters(names[1], help[1], of(|both| both.1));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deploy::model::Kind;
    use crate::metrics::{Cpu, Devices, Disk, Memory};
    use std::collections::BTreeMap;

    fn health() -> Health {
        Health {
            status: "ok",
            active_workers: Some(1),
            deploy_safe: false,
            api_healthy: true,
            worker_status: WorkerState::Busy,
            current_deploy: None,
            uptime_ms: 61_500,
            accepting: Some(true),
            terminating: false,
            docker_reachable: true,
            operation: Some("drain"),
            image_tag: Some("v2".to_owned()),
            reason: None,
        }
    }

    fn worker() -> WorkerView {
        WorkerView {
            worker_id: "w1".to_owned(),
            container_id: "c".to_owned(),
            container_name: "ghosthands-worker".to_owned(),
            status: WorkerState::Busy,
            active_jobs: Some(1),
            status_port: 3101,
            uptime: Some(60),
            image: "ghosthands:v2".to_owned(),
            accepting: Some(true),
            image_tag: Some("v2".to_owned()),
            reason: None,
        }
    }

    fn metrics() -> Metrics {
        let device = |name: &str| Some(BTreeMap::from([(name.to_owned(), (7_u64, 9_u64))]));
        Metrics {
            cpu: Cpu {
                usage_percent: Some(12.5),
                cores: Some(2),
                load_average: Some([0.5, 0.25, 0.1]),
            },
            memory: Some(Memory {
                used_mb: 1,
                total_mb: 3,
                usage_percent: 33.3,
                available_mb: 1,
                total_bytes: 3_500_000,
                available_bytes: 2_000_000,
            }),
            disk: Some(Disk {
                used_gb: 0.0,
                total_gb: 0.0,
                usage_percent: 10.0,
                available_gb: 0.0,
                inodes_usage_percent: Some(3.2),
                read_bytes_per_sec: None,
                write_bytes_per_sec: None,
                total_bytes: 4000,
                used_bytes: 1000,
                available_bytes: 2800,
            }),
            network: None,
            devices: Devices { network: device("ens5"), disks: device("nvme0n1") },
        }
    }

    fn deploy() -> Entry {
        Entry {
            id: "d1".to_owned(),
            generation: 1,
            kind: Kind::Deploy,
            status: Outcome::RolledBack,
            image_tag: "v3".to_owned(),
            image_id: None,
            digest: None,
            previous: None,
            actor: "local uid 0".to_owned(),
            started_at: "2026-11-24T08:00:00.000Z".to_owned(),
            finished_at: "2026-11-24T08:01:00.500Z".to_owned(),
            duration: 60_500,
            failed_step: None,
            failed_service: None,
            error: None,
            notes: vec![],
            log: vec![],
            caught_jobs: 0,
            drain_waited_ms: 0,
        }
    }

    fn text(
        health: &Health,
        worker: &WorkerView,
        metrics: &Metrics,
        last: Option<&Entry>,
    ) -> String {
        let facts = Facts {
            environment: "staging",
            instance_id: Some("i-1"),
            health,
            worker,
            metrics,
            last_deploy: last,
        };
        render(&facts).into_text()
    }

    #[test]
    fn all_that_is_known_of_a_host_is_told() {
        insta::assert_snapshot!(text(&health(), &worker(), &metrics(), Some(&deploy())));
    }

    #[test]
    fn what_is_unknown_is_left_out_and_never_0() {
        let silent = WorkerView {
            status: WorkerState::Unknown,
            active_jobs: None,
            uptime: None,
            accepting: None,
            ..worker()
        };
        let unhealthy = Health { image_tag: None, operation: None, ..health() };
        let nothing = Metrics {
            cpu: Cpu { usage_percent: None, cores: None, load_average: None },
            memory: None,
            disk: None,
            network: None,
            devices: Devices::default(),
        };
        let text = text(&unhealthy, &silent, &nothing, None);
        for unknown in [
            "active_jobs",
            "accepting",
            "image",
            "worker_uptime",
            "cpu",
            "load",
            "memory",
            "disk",
            "network",
            "last_deploy",
        ] {
            assert!(!text.contains(unknown), "{unknown}: {text}");
        }
        assert!(text.contains("ghosthands_host_worker_state{state=\"unknown\"} 1\n"), "{text}");
        assert!(text.contains("ghosthands_host_operation{operation=\"drain\"} 0\n"), "{text}");
    }

    #[test]
    fn the_lock_has_no_holder_without_a_name() {
        let deploy = What::Deploy { id: String::new(), image_tag: String::new(), force: false };
        let all = [deploy, What::Drain, What::Resume, What::Cleanup, What::Recovery];
        assert_eq!(all.map(|what| what.name()), What::NAMES);
    }

    #[test]
    fn every_outcome_has_the_name_that_replies_have() {
        for outcome in Outcome::ALL {
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.name());
        }
    }
}
