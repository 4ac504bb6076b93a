//! One host for each instance in service, and what its life looks like from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use aws_double::{Double, Transition, TransitionKind, TransitionStream};
use fleet_local::Error;
use fleet_local::host::{Host, HostOptions, Registry, WorkerKind};
use fleet_local::worker::{Event, Source};
use tokio::sync::{mpsc, watch};

use super::stage::{ENVIRONMENT, GROUP, SHUTDOWN};
use super::tell::Narrator;

/// What has happened to instances and jobs so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// Instances whose worker takes jobs.
    pub(crate) ready: BTreeSet<String>,
    /// The job that each busy one runs.
    pub(crate) busy: BTreeMap<String, String>,
    /// The most instances that were in service at once.
    pub(crate) peak_instances: usize,
    pub(crate) terminated: u32,
    /// Jobs that were finished by workers on their way out.
    pub(crate) finished_leaving: u32,
    pub(crate) interrupted: u32,
}

/// What every host needs to know.
pub(crate) struct Site {
    pub(crate) double: Double,
    pub(crate) images: Registry,
    pub(crate) source: Source,
    pub(crate) narrator: Narrator,
}

/// A machine in service.
struct Machine {
    host: State,
    /// The group wants the instance back.
    leaving: bool,
}

enum State {
    Starting,
    Up(Arc<Host>),
    /// It could not be started.
    Failed,
}

enum News {
    Started(String, Result<Host, Error>),
    Worker(String, Event),
}

/// Follows the group's instances for as long as it is polled; dropping it ends every host.
pub(crate) async fn run(
    mut transitions: TransitionStream,
    site: Site,
    tally: watch::Sender<Tally>,
) {
    let (send, mut news) = mpsc::unbounded_channel();
    let mut hosts = Hosts { site, tally, send, machines: BTreeMap::new() };
    loop {
        tokio::select! {
            transition = transitions.next() => hosts.on_transition(&transition),
            Some(news) = news.recv() => hosts.on_news(news),
        }
    }
}

struct Hosts {
    site: Site,
    tally: watch::Sender<Tally>,
    send: mpsc::UnboundedSender<News>,
    machines: BTreeMap<String, Machine>,
}

impl Hosts {
    fn say(&self, instance: &str, what: &str) {
        self.site.narrator.say(instance, what);
    }

    fn on_transition(&mut self, transition: &Transition) {
        let instance = transition.instance.as_str();
        match transition.kind {
            TransitionKind::Launching => self.say(instance, "boots"),
            TransitionKind::PendingWait => self.say(instance, "waits for its launch hook"),
            TransitionKind::InService => {
                self.say(instance, "is in service; its deploy-server starts");
                let machine = Machine { host: State::Starting, leaving: false };
                self.machines.insert(instance.to_owned(), machine);
                let in_service = self.machines.values().filter(|m| !m.leaving).count();
                self.tally.send_modify(|tally| {
                    tally.peak_instances = tally.peak_instances.max(in_service);
                });
                self.start(instance);
            }
            TransitionKind::TerminatingWait => {
                self.say(instance, "is to end; the hook holds it while it drains");
                if let Some(machine) = self.machines.get_mut(instance) {
                    machine.leaving = true;
                }
                self.tally.send_modify(|tally| {
                    tally.ready.remove(instance);
                });
            }
            TransitionKind::ShuttingDown => {
                self.say(instance, "shuts down");
                self.power_off(instance);
            }
            TransitionKind::Lost => {
                self.say(instance, "died");
                self.remove(instance);
            }
            TransitionKind::Terminated => {
                self.say(instance, "is gone");
                self.remove(instance);
                self.tally.send_modify(|tally| tally.terminated += 1);
            }
        }
    }

    fn on_news(&mut self, news: News) {
        match news {
            News::Started(instance, result) => self.on_started(&instance, result),
            News::Worker(instance, event) => self.on_event(&instance, event),
        }
    }

    fn start(&self, instance: &str) {
        let id = instance.to_owned();
        let (send, report) = (self.send.clone(), self.send.clone());
        let name = id.clone();
        let options = HostOptions {
            group: GROUP.to_owned(),
            environment: ENVIRONMENT.to_owned(),
            aws: self.site.double.aws_env(),
            worker: WorkerKind::Queue {
                source: self.site.source.clone(),
                // Faster than a site's 30 s, as everything here is.
                heartbeat: Duration::from_secs(1),
                poll: Duration::from_millis(500),
            },
            metadata: Some(self.site.double.imds_endpoint(instance)),
            report: Some(Arc::new(move |event| {
                // At the very end nobody listens any more.
                report.send(News::Worker(name.clone(), event)).ok();
            })),
            ..HostOptions::new(instance, self.site.images.clone())
        };
        tokio::task::spawn_blocking(move || {
            let host = Host::start(options).and_then(|host| match host.bootstrap()? {
                ran if ran.exit_code == 0 => Ok(host),
                ran => Err(Error::Failed(format!(
                    "its version does not come into service: {}",
                    ran.reply
                ))),
            });
            send.send(News::Started(id, host)).ok();
        });
    }

    fn on_started(&mut self, instance: &str, result: Result<Host, Error>) {
        // An instance may be gone before its host is up; then the host is dropped here.
        let Some(machine) = self.machines.get_mut(instance) else { return };
        let news = match result {
            Ok(host) => {
                let news = format!(
                    "serves {}; deploy-server on port {}, worker on port {}",
                    host.in_service().worker.as_deref().unwrap_or("nothing"),
                    host.deploy_port(),
                    host.worker_port()
                );
                self.site.double.set_runner_of(instance, host.runner());
                machine.host = State::Up(Arc::new(host));
                if !machine.leaving {
                    self.tally.send_modify(|tally| {
                        tally.ready.insert(instance.to_owned());
                    });
                }
                news
            }
            Err(error) => {
                machine.host = State::Failed;
                format!("does not start: {error}")
            }
        };
        self.say(instance, &news);
    }

    fn on_event(&self, instance: &str, event: Event) {
        match event {
            Event::Claimed { job, queue, seconds } => {
                let kind = match queue.as_deref().map(|queue| queue.contains('/')) {
                    Some(true) => "its own job",
                    Some(false) | None => "job",
                };
                self.say(instance, &format!("claims {kind} {}, {seconds:.0} s long", short(&job)));
                self.tally.send_modify(|tally| {
                    tally.busy.insert(instance.to_owned(), job);
                });
            }
            Event::Finished { job } => {
                self.say(instance, &format!("finishes job {}", short(&job)));
                let leaving = self.machines.get(instance).is_some_and(|machine| machine.leaving);
                self.tally.send_modify(|tally| {
                    tally.busy.remove(instance);
                    tally.finished_leaving += u32::from(leaving);
                });
            }
            Event::Interrupted { job } => {
                self.say(instance, &format!("ends in the middle of job {}", short(&job)));
                self.tally.send_modify(|tally| {
                    tally.busy.remove(instance);
                    tally.interrupted += 1;
                });
            }
            Event::Draining { active_jobs: 0 } => self.say(instance, "takes no more jobs; idle"),
            Event::Draining { .. } => {
                self.say(instance, "takes no more jobs; finishes the one it has");
            }
            Event::Resumed { .. } => self.say(instance, "takes jobs again"),
            Event::Listening { .. } | Event::Stopped => {}
        }
    }

    fn power_off(&self, instance: &str) {
        let Some(Machine { host: State::Up(host), .. }) = self.machines.get(instance) else {
            return;
        };
        let (host, narrator, id) = (Arc::clone(host), self.site.narrator, instance.to_owned());
        tokio::task::spawn_blocking(move || {
            if let Err(error) = host.power_off(SHUTDOWN) {
                narrator.say(&id, &error.to_string());
            }
        });
    }

    fn remove(&mut self, instance: &str) {
        self.machines.remove(instance);
        self.tally.send_modify(|tally| {
            tally.ready.remove(instance);
            tally.busy.remove(instance);
        });
    }
}

/// The first part of a job's id: enough to follow it with the eye.
pub(crate) fn short(job: &str) -> &str {
    job.split('-').next().unwrap_or(job)
}
