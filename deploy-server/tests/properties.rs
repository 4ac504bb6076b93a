//! Properties of the pure parts: readings, torn journals, and the state machine of a deploy against
//! a naive model of a host on which any step may fail and any moment may be the last. `fuzz.rs`
//! feeds the parsers.

use std::collections::BTreeMap;

use deploy_server::deploy::decide::{
    Life, Next, Role, Seen, ServiceWorld, World, decide, interrupted,
};
use deploy_server::deploy::model::{
    Begin, DeployStep, Failure, Kind, OldContainer, Outcome, Record, Run,
};
use deploy_server::probe::Reply;
use deploy_server::service::ServiceKind;
use deploy_server::state::parse_journal;
use deploy_server::worker::parse_status;
use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #[test]
    fn a_worker_reading_is_what_was_written(
        jobs in 0u32..9,
        accepting in any::<Option<bool>>(),
        status in prop_oneof![Just(200u16), Just(503), Just(500)],
    ) {
        let body = serde_json::json!({ "active_jobs": jobs, "accepting": accepting }).to_string();
        let seen = parse_status(&Reply { status, body: body.into() });
        if status == 500 {
            prop_assert!(seen.is_err());
        } else {
            let reading = seen.expect("it is a reading");
            prop_assert_eq!((reading.active_jobs, reading.accepting), (jobs, accepting));
            prop_assert_eq!(reading.is_drained(), jobs == 0 && accepting == Some(false));
        }
    }

    #[test]
    fn a_torn_journal_reads_as_its_whole_lines(cut in 0usize..400) {
        let lines = [
            r#"{"at":1,"record":"begin","deploy":"d","generation":1,"kind":"deploy","image_tag":"v","force":false,"actor":"a","previous":null}"#,
            r#"{"at":2,"record":"doing","step":"drain"}"#,
            r#"{"at":3,"record":"did","step":"drain","waited_ms":4}"#,
            r#"{"at":4,"record":"doing","step":{"stop":"api"}}"#,
            r#"{"at":5,"record":"end","outcome":"rolled_back"}"#,
        ];
        let text = lines.map(|line| format!("{line}\n")).concat();
        let cut = cut.min(text.len());
        let whole = text[..cut].matches('\n').count();
        prop_assert_eq!(parse_journal(&text.as_bytes()[..cut]).len(), whole);
    }

    /// Whatever fails and wherever it is killed, a deploy ends, no port ever has two owners, and
    /// what is left is the new version everywhere or the old one everywhere.
    #[test]
    fn a_deploy_always_ends_well(
        faults in vec(0u8..12, 0..80),
        had_old in any::<bool>(),
        terminating_from in prop_oneof![3 => Just(usize::MAX), 1 => 0usize..40],
    ) {
        Host::new(had_old).run(&faults, terminating_from);
    }
}

#[derive(Clone)]
struct Container {
    life: Life,
    role: Role,
}

/// A host as a deploy sees it, without time.
struct Host {
    run: Run,
    old: BTreeMap<ServiceKind, Container>,
    next: BTreeMap<ServiceKind, Container>,
}

impl Host {
    fn new(had_old: bool) -> Self {
        let begin = Begin {
            deploy: "d1".to_owned(),
            generation: 1,
            kind: Kind::Deploy,
            image_tag: "v2".to_owned(),
            force: false,
            actor: "test".to_owned(),
            previous: None,
        };
        let mut run = Run::new(begin, 0);
        let mut old = BTreeMap::new();
        let mut next = BTreeMap::new();
        for service in ServiceKind::ALL {
            if had_old {
                let name = format!("ghosthands-{service}");
                let (id, policy) = (format!("old-{service}"), "unless-stopped".to_owned());
                let container = OldContainer { id, name, runs: true, policy };
                run.apply(0, Record::Old { service, container });
                old.insert(service, Container { life: Life::Running, role: Role::Current });
            }
            run.apply(0, Record::Doing { step: DeployStep::Create(service) });
            run.apply(0, Record::Created { service, id: format!("new-{service}") });
            next.insert(service, Container { life: Life::Down, role: Role::Next });
        }
        Self { run, old, next }
    }

    fn world(&self, terminating: bool) -> World {
        let see = |all: &BTreeMap<ServiceKind, Container>, service| {
            all.get(&service).map(|it: &Container| Seen { life: it.life, role: it.role })
        };
        let services = ServiceKind::ALL.map(|service| {
            let (old, next) = (see(&self.old, service), see(&self.next, service));
            (service, ServiceWorld { old, next, prev_taken: false })
        });
        World { services: BTreeMap::from(services), terminating }
    }

    /// 0 fails the step, 1 kills the server before its effect, 2 after it, 3 kills a new container,
    /// 4 reboots the machine; everything else lets it be.
    fn run(mut self, faults: &[u8], terminating_from: usize) {
        for turn in 0..300 {
            let fault = faults.get(turn).copied().unwrap_or(u8::MAX);
            let terminating = turn >= terminating_from;
            match fault {
                3 => self.next.values_mut().for_each(|it| it.life = Life::Down),
                4 => self.reboot(),
                _ => {}
            }
            if fault == 4 {
                self.crash(terminating);
            }
            match decide(&self.run, &self.world(terminating)) {
                Next::End(outcome) => return self.check(outcome, terminating),
                Next::Fail(step, reason) => self.fail(step, reason),
                Next::Do(step) => {
                    self.run.apply(0, Record::Doing { step });
                    match fault {
                        0 => self.trouble(step),
                        1 => self.crash(terminating),
                        _ => {
                            let done = self.apply(step);
                            if fault == 2 {
                                self.crash(terminating);
                            } else if done {
                                self.run
                                    .apply(0, Record::Did { step, caught_jobs: 0, waited_ms: 0 });
                            }
                        }
                    }
                }
            }
            for service in ServiceKind::ALL {
                let runs = |all: &BTreeMap<ServiceKind, Container>| {
                    all.get(&service).is_some_and(|it| it.life == Life::Running)
                };
                assert!(!(runs(&self.old) && runs(&self.next)), "two owners of the {service} port");
            }
        }
        panic!("it never ends: {:?}", self.run);
    }

    fn fail(&mut self, step: DeployStep, reason: &str) {
        self.run.apply(
            0,
            Record::Failed(Failure {
                step: step.public_name().to_owned(),
                service: step.service(),
                reason: reason.to_owned(),
                log: Vec::new(),
            }),
        );
    }

    fn trouble(&mut self, step: DeployStep) {
        match (self.run.failure.is_some(), step.service()) {
            (true, Some(service)) => {
                let reason = "it failed".to_owned();
                self.run.apply(0, Record::RestoreFailed { service, reason });
            }
            _ => self.fail(step, "it failed"),
        }
    }

    /// What a new process does with what the journal says.
    fn crash(&mut self, terminating: bool) {
        self.run.did.remove(&DeployStep::Drain);
        for service in ServiceKind::ALL {
            self.run.did.remove(&DeployStep::StartOld(service));
        }
        if let Some(reason) = interrupted(&self.run, &self.world(terminating)) {
            self.fail(DeployStep::Drain, reason);
        }
    }

    /// Containers that were not stopped by hand come back if their policy says so.
    fn reboot(&mut self) {
        for service in ServiceKind::ALL {
            if let Some(next) = self.next.get_mut(&service)
                && !self.run.did.contains(&DeployStep::Keep(service))
            {
                next.life = Life::Down;
            }
        }
    }

    /// Carries out a step and says whether the journal must note that it was done.
    fn apply(&mut self, step: DeployStep) -> bool {
        let both_run = self.next.values().all(|next| next.life == Life::Running);
        let old = step.service().and_then(|service| self.old.get_mut(&service));
        let next = step.service().and_then(|service| self.next.get_mut(&service));
        match step {
            DeployStep::Stop(_) => old.expect("there is one").life = Life::Down,
            DeployStep::RenameOld(_) => old.expect("there is one").role = Role::Prev,
            DeployStep::RestoreName(_) => old.expect("there is one").role = Role::Current,
            DeployStep::StartOld(_) => {
                old.expect("there is one").life = Life::Running;
                return true;
            }
            DeployStep::Start(_) => next.expect("there is one").life = Life::Running,
            DeployStep::StopNew(_) => next.expect("there is one").life = Life::Down,
            DeployStep::Promote(_) => next.expect("there is one").role = Role::Current,
            DeployStep::RemoveNew(service) => drop(self.next.remove(&service)),
            // Both are watched side by side, and both are noted.
            DeployStep::Gate(_) if both_run => {
                for service in ServiceKind::ALL {
                    let step = DeployStep::Gate(service);
                    self.run.apply(0, Record::Did { step, caught_jobs: 0, waited_ms: 0 });
                }
            }
            DeployStep::Gate(_) => self.trouble(step),
            DeployStep::FirstAnswer(_) | DeployStep::GateOld(_) => {
                let container = if matches!(step, DeployStep::GateOld(_)) { old } else { next };
                if container.expect("there is one").life == Life::Running {
                    return true;
                }
                self.trouble(step);
            }
            DeployStep::Drain
            | DeployStep::Retire(_)
            | DeployStep::Keep(_)
            | DeployStep::RestorePolicy(_)
            | DeployStep::Resume => {
                return true;
            }
            DeployStep::CloseIntake
            | DeployStep::Pull
            | DeployStep::Create(_)
            | DeployStep::ClearPrev(_) => {
                panic!("not a step of the swap")
            }
        }
        false
    }

    fn check(&self, outcome: Outcome, terminating: bool) {
        let is = |all: &BTreeMap<ServiceKind, Container>, service, life, role| {
            all.get(&service).is_some_and(|it| it.life == life && it.role == role)
        };
        for service in ServiceKind::ALL {
            if outcome == Outcome::Deployed {
                let next = &self.next[&service];
                assert_eq!(next.role, Role::Current, "{service}");
                assert!(self.run.did.contains(&DeployStep::Gate(service)), "{service} was proved");
                assert!(self.old.get(&service).is_none_or(|old| old.life == Life::Down));
            } else if !self.run.restore_failed.contains_key(&service) {
                assert!(!self.next.contains_key(&service), "nothing new is left of {service}");
                let held_back = service == ServiceKind::Worker && terminating;
                if self.old.contains_key(&service) && !held_back {
                    assert!(
                        is(&self.old, service, Life::Running, Role::Current),
                        "{service} is back"
                    );
                }
            }
        }
        assert_eq!(
            outcome == Outcome::Down,
            !self.run.restore_failed.is_empty() && outcome != Outcome::Deployed
        );
        assert_eq!(outcome == Outcome::Deployed, self.run.failure.is_none());
    }
}

/// The steps of a deploy on a host without faults but one: `fails` fails once it is reached.
fn steps(fails: Option<DeployStep>) -> Vec<DeployStep> {
    let mut host = Host::new(true);
    let mut steps = Vec::new();
    for _ in 0..100 {
        match decide(&host.run, &host.world(false)) {
            Next::End(_) => return steps,
            Next::Fail(step, reason) => host.fail(step, reason),
            Next::Do(step) => {
                steps.push(step);
                host.run.apply(0, Record::Doing { step });
                if Some(step) == fails && host.run.failure.is_none() {
                    host.trouble(step);
                } else if host.apply(step) {
                    host.run.apply(0, Record::Did { step, caught_jobs: 0, waited_ms: 0 });
                }
            }
        }
    }
    panic!("it never ends: {steps:?}");
}

fn at(steps: &[DeployStep], step: DeployStep) -> usize {
    steps.iter().position(|one| *one == step).unwrap_or_else(|| panic!("no {step:?}: {steps:?}"))
}

#[test]
fn the_worker_starts_at_the_apis_first_answer_and_both_are_watched_after_that() {
    let steps = steps(None);
    let order = [
        DeployStep::Start(ServiceKind::Api),
        DeployStep::FirstAnswer(ServiceKind::Api),
        DeployStep::Start(ServiceKind::Worker),
        DeployStep::RenameOld(ServiceKind::Api),
        DeployStep::Gate(ServiceKind::Api),
    ];
    let places = order.map(|step| at(&steps, step));
    assert!(places.is_sorted(), "{steps:?}");
}

#[test]
fn on_the_way_back_nothing_is_tidied_up_before_the_old_containers_run() {
    let steps = steps(Some(DeployStep::Gate(ServiceKind::Api)));
    let restored = ServiceKind::ALL.map(|service| at(&steps, DeployStep::StartOld(service)));
    let tidied = ServiceKind::ALL.map(|service| at(&steps, DeployStep::RemoveNew(service)));
    assert!(restored.iter().max() < tidied.iter().min(), "{steps:?}");
    // A new worker may have a job that is waited for: the API does not wait with it.
    assert!(
        at(&steps, DeployStep::StartOld(ServiceKind::Api))
            < at(&steps, DeployStep::StopNew(ServiceKind::Worker))
    );
}
