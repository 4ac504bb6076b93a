//! One worker process per instance in service, and what its life looks like from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_double::{Transition, TransitionKind, TransitionStream};
use aws_sdk_autoscaling::Client;
use fleet_local::Error;
use fleet_local::worker::{self, Contract, Event, Source, Worker};
use tokio::sync::{mpsc, watch};

use super::drain;
use super::tell::Narrator;

/// What has happened to instances and jobs so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// Instances whose worker listens.
    pub(crate) ready: BTreeSet<String>,
    /// The most instances that were in service at once.
    pub(crate) peak_instances: usize,
    pub(crate) terminated: u32,
    pub(crate) interrupted: u32,
}

/// What every host needs to know.
pub(crate) struct Site {
    pub(crate) group: String,
    pub(crate) source: Source,
    pub(crate) client: Client,
    pub(crate) narrator: Narrator,
}

/// A machine in service.
struct Host {
    worker: State,
    /// The group wants the instance back.
    ending: bool,
}

enum State {
    Starting,
    Up(Worker),
    /// It could not be started.
    Failed,
}

enum News {
    Started(String, Result<Worker, Error>),
    Worker(String, Event),
    Drained(String, Result<Duration, Error>),
}

/// Follows the group's instances for as long as it is polled; dropping it kills every worker.
pub(crate) async fn run(
    mut transitions: TransitionStream,
    site: Site,
    tally: watch::Sender<Tally>,
) {
    let (send, mut news) = mpsc::unbounded_channel();
    let mut hosts = Hosts { site, tally, send, hosts: BTreeMap::new() };
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
    hosts: BTreeMap<String, Host>,
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
                self.say(instance, "is in service; its worker starts");
                let host = Host { worker: State::Starting, ending: false };
                self.hosts.insert(instance.to_owned(), host);
                let in_service = self.hosts.values().filter(|host| !host.ending).count();
                self.tally.send_modify(|tally| {
                    tally.peak_instances = tally.peak_instances.max(in_service);
                });
                self.start_worker(instance);
            }
            TransitionKind::TerminatingWait => {
                self.say(instance, "is to end; its worker drains first");
                if let Some(host) = self.hosts.get_mut(instance) {
                    host.ending = true;
                }
                self.drain(instance);
            }
            TransitionKind::ShuttingDown => {
                self.say(instance, "shuts down");
                if let Some(Host { worker: State::Up(worker), .. }) = self.hosts.get(instance)
                    && let Err(error) = worker.terminate()
                {
                    self.say(instance, &error.to_string());
                }
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
            News::Drained(instance, Ok(took)) => {
                let seconds = took.as_secs_f64();
                self.say(&instance, &format!("is drained after {seconds:.1} s and may go"));
            }
            News::Drained(instance, Err(error)) => self.say(&instance, &error.to_string()),
        }
    }

    fn start_worker(&self, instance: &str) {
        let id = instance.to_owned();
        let options = worker::Options {
            id: id.clone(),
            contract: Contract::Full,
            source: Some(self.site.source.clone()),
            // Faster than a site's 30 s, as everything here is.
            heartbeat: Duration::from_secs(1),
            poll: Duration::from_millis(500),
            environment: vec![
                ("EC2_INSTANCE_ID".to_owned(), id.clone()),
                ("EC2_IP".to_owned(), "127.0.0.1".to_owned()),
                ("AWS_ASG_NAME".to_owned(), self.site.group.clone()),
            ],
        };
        let (send, report) = (self.send.clone(), self.send.clone());
        tokio::task::spawn_blocking(move || {
            let name = id.clone();
            let worker = Worker::start(&options, move |event| {
                // At the very end nobody listens any more.
                report.send(News::Worker(name.clone(), event)).ok();
            });
            send.send(News::Started(id, worker)).ok();
        });
    }

    fn on_started(&mut self, instance: &str, result: Result<Worker, Error>) {
        // An instance may be gone before its worker is up; then the worker is dropped here.
        let Some(host) = self.hosts.get_mut(instance) else { return };
        let (worker, news) = match result {
            Ok(worker) => {
                let news = format!("its worker listens on port {}", worker.port());
                (State::Up(worker), news)
            }
            Err(error) => (State::Failed, format!("its worker does not start: {error}")),
        };
        host.worker = worker;
        if host.ending {
            self.drain(instance);
        } else if matches!(host.worker, State::Up(_)) {
            self.tally.send_modify(|tally| {
                tally.ready.insert(instance.to_owned());
            });
        }
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
            }
            Event::Finished { job } => self.say(instance, &format!("finishes job {}", short(&job))),
            Event::Interrupted { job } => {
                self.say(instance, &format!("ends in the middle of job {}", short(&job)));
                self.tally.send_modify(|tally| tally.interrupted += 1);
            }
            Event::Draining { active_jobs: 0 } => self.say(instance, "takes no more jobs; idle"),
            Event::Draining { .. } => {
                self.say(instance, "takes no more jobs; finishes the one it has")
            }
            Event::Resumed { .. } => self.say(instance, "takes jobs again"),
            Event::Listening { .. } | Event::Stopped => {}
        }
    }

    /// Drains a worker that is up; one that still starts is drained when it is.
    fn drain(&self, instance: &str) {
        let port = match self.hosts.get(instance).map(|host| &host.worker) {
            Some(State::Up(worker)) => Some(worker.port()),
            Some(State::Starting) => return,
            Some(State::Failed) | None => None,
        };
        self.tally.send_modify(|tally| {
            tally.ready.remove(instance);
        });
        let (client, send) = (self.site.client.clone(), self.send.clone());
        let (group, instance) = (self.site.group.clone(), instance.to_owned());
        tokio::spawn(async move {
            let result = drain::drain(&client, &group, &instance, port).await;
            send.send(News::Drained(instance, result)).ok();
        });
    }

    fn remove(&mut self, instance: &str) {
        self.hosts.remove(instance);
        self.tally.send_modify(|tally| {
            tally.ready.remove(instance);
        });
    }
}

/// The first part of a job's id: enough to follow it with the eye.
pub(crate) fn short(job: &str) -> &str {
    job.split('-').next().unwrap_or(job)
}
