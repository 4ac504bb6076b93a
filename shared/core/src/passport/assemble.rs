//! From facts to the passport.

use super::*;
use crate::status::{HOURS, Prices, Proof, Runs};
use fleet_protocol::ids::{InstanceId, WorkerId};
use fleet_protocol::reading::{Reading, Unknown};
use fleet_protocol::time::UnixMs;

const HOUR_MS: u128 = 3_600_000;

/// The passport of the job, with everything that is unknown named in it.
#[must_use]
pub fn job_passport(facts: &JobFacts) -> JobPassport {
    let JobFacts { now, site, job, .. } = facts;
    let mut missing = queue_gaps(facts);
    let application = application(facts, &mut missing);
    let machine = machine(facts, &mut missing);
    let version = version(facts, machine.as_ref(), &mut missing);
    let wait = wait(facts, &mut missing);
    let moment = |at: UnixMs| at.to_string();
    JobPassport {
        id: job.id.clone(),
        at: now.to_string(),
        queue: job.queue.clone(),
        target: job.target.clone(),
        state: job.state,
        archived: job.archived,
        expired: job.expired(*now),
        application,
        enqueued_at: job.created.map(moment),
        due_at: job.due().filter(|_| !job.was_retried()).map(moment),
        claimed_at: job.claimed().map(moment),
        ended_at: job.ended().map(moment),
        retries: RetriesView {
            made: job.retry_count,
            limit: job.retry_limit,
            delay_s: job.retry_delay_s,
            backoff: job.retry_backoff,
        },
        wait,
        worker_id: facts.worker_id(),
        machine,
        version,
        cost: cost(facts, &site.prices),
        missing,
    }
}

impl JobFacts {
    /// Who took it: the application's word, or the one worker that may.
    fn worker_id(&self) -> Option<WorkerId> {
        self.job.claimed()?;
        let row = self.application.known().and_then(Option::as_ref);
        row.and_then(|row| row.worker.clone()).or_else(|| self.job.target.clone())
    }

    /// The instance whose worker took it, where one is known.
    #[must_use]
    pub fn instance(&self) -> Option<InstanceId> {
        let worker = self.worker_id()?;
        let row = self.worker.known().and_then(Option::as_ref);
        // A worker of old has its instance's id.
        row.and_then(|row| row.instance.clone()).or_else(|| InstanceId::parse(worker.as_str()).ok())
    }

    /// When its last attempt began, and ended or is at now.
    #[must_use]
    pub fn ran(&self) -> Option<(UnixMs, UnixMs)> {
        let until = match self.job.state {
            JobState::Active => self.now,
            _ => self.job.ended()?,
        };
        Some((self.job.claimed()?, until))
    }
}

/// What pg-boss itself does not say.
fn queue_gaps(facts: &JobFacts) -> Vec<Missing> {
    let job = &facts.job;
    let mut missing = Vec::new();
    let mut gap = |is: bool, part, columns: &[&str], otherwise: &str| {
        if is {
            let denied = columns
                .iter()
                .find(|column| job.unreadable.iter().any(|name| name.replace('_', "") == **column));
            missing.push(match denied {
                Some(_) => Missing::new(part, MissingReason::NotReadable, format!(
                    "the role may not read {} of pg-boss's jobs; grant them as docs/sql/role.sql does",
                    job.unreadable.join(", ")
                )),
                None => Missing::new(part, MissingReason::NotKept, otherwise),
            });
        }
    };
    gap(
        job.created.is_none(),
        MissingPart::Enqueued,
        &["createdon"],
        "its row has no moment of creation",
    );
    let retried = job.was_retried();
    gap(
        job.start_after.is_none() && !retried,
        MissingPart::Due,
        &["startafter"],
        "its row has no due moment",
    );
    let end_unknown = job.state.has_ended() && job.ended().is_none();
    gap(end_unknown, MissingPart::End, &["completedon"], "its row has no moment of its end");
    let expiry_unknown = job.expired(facts.now).is_none();
    gap(
        expiry_unknown,
        MissingPart::Expiry,
        &["completedon", "expireseconds"],
        "its row has no expiry",
    );
    let retries_unknown = job.retry_count.is_none() || job.retry_limit.is_none();
    gap(
        retries_unknown,
        MissingPart::Retries,
        &["retrycount", "retrylimit"],
        "its row has no count of retries",
    );
    if retried {
        missing.push(Missing::new(
            MissingPart::Due,
            MissingReason::Overwritten,
            "pg-boss overwrites the due moment for each retry, so the wait counts from when it was enqueued",
        ));
        missing.push(Missing::new(
            MissingPart::EarlierAttempts,
            MissingReason::Overwritten,
            "pg-boss keeps the times of the last attempt only, so those before are in the wait's retry part",
        ));
    }
    missing
}

fn application(facts: &JobFacts, missing: &mut Vec<Missing>) -> Option<ApplicationView> {
    match &facts.application {
        Reading::Known(Some(row)) => {
            let moment = |at: Option<UnixMs>| at.map(|at| at.to_string());
            Some(ApplicationView {
                id: row.id.clone(),
                status: row.status.clone(),
                worker_id: row.worker.clone(),
                created_at: moment(row.created),
                started_at: moment(row.started),
                completed_at: moment(row.completed),
            })
        }
        Reading::Known(None) => {
            missing.push(Missing::new(
                MissingPart::Application,
                MissingReason::NotKept,
                "gh_automation_jobs has no row with this id, nor one whose metadata names it as pgBossJobId",
            ));
            None
        }
        Reading::Unknown(unknown) => {
            missing.push(Missing::of(MissingPart::Application, unknown));
            None
        }
    }
}

fn machine(facts: &JobFacts, missing: &mut Vec<Missing>) -> Option<MachineView> {
    facts.job.claimed()?;
    if facts.worker_id().is_none() {
        missing.push(Missing::new(
            MissingPart::Worker,
            MissingReason::NotKept,
            "pg-boss does not say who took a job, and the application's row does not name a worker",
        ));
        return None;
    }
    note(
        &facts.worker,
        MissingPart::Registration,
        "the registry has no row of its worker",
        missing,
    );
    let Some(instance_id) = facts.instance() else {
        missing.push(Missing::new(
            MissingPart::Instance,
            MissingReason::NotKept,
            "the registry names no instance for its worker, whose name is none either",
        ));
        return None;
    };
    note(
        &facts.launch,
        MissingPart::Launch,
        "no activity that the group still lists launched its machine: AWS keeps six weeks, and the newest 500 were looked through",
        missing,
    );
    let launch = facts.launch.known().and_then(Option::as_ref);
    Some(MachineView {
        instance_id,
        requested_at: launch.and_then(|it| requested_at(&it.cause)).map(|at| at.to_string()),
        launched_at: launch.map(|it| it.launched.to_string()),
        in_service_at: launch.and_then(|it| it.in_service).map(|at| at.to_string()),
        registered_at: registered(facts).map(|at| at.to_string()),
        cause: launch.map(|it| it.cause.clone()).filter(|cause| !cause.is_empty()),
    })
}

/// When the worker registered on this machine. A name that is used again keeps the moment of its
/// first machine, which says nothing of this one.
fn registered(facts: &JobFacts) -> Option<UnixMs> {
    let registered = facts.worker.known()?.as_ref()?.registered?;
    let launched = facts.launch.known().and_then(Option::as_ref).map(|it| it.launched);
    let claimed = facts.job.claimed()?;
    let fits = registered <= claimed && launched.is_none_or(|at| at <= registered);
    fits.then_some(registered)
}

fn version(
    facts: &JobFacts,
    machine: Option<&MachineView>,
    missing: &mut Vec<Missing>,
) -> Option<VersionView> {
    let (_, claimed) = (machine?, facts.job.claimed()?);
    let kept = |detail: String| Missing::new(MissingPart::Version, MissingReason::NotKept, detail);
    match &facts.word {
        Reading::Known(Some(Proof { at, runs: Runs::Version(tag) }))
            if claimed <= at.plus_seconds(facts.site.proof_life_s) =>
        {
            return Some(VersionView { image_tag: tag.clone(), proven_at: at.to_string() });
        }
        Reading::Known(Some(Proof { at, .. })) => missing.push(kept(format!(
            "the last that its host said before the job's end, at {at}, is too old or names no version"
        ))),
        Reading::Known(None) => missing.push(kept(
            "its host said nothing of its version near the job that SSM still has: it keeps 30 days".to_owned(),
        )),
        Reading::Unknown(unknown) => missing.push(Missing::of(MissingPart::Version, unknown)),
    }
    None
}

fn wait(facts: &JobFacts, missing: &mut Vec<Missing>) -> Option<Wait> {
    let JobFacts { now, site, job, .. } = facts;
    let retried = job.was_retried();
    let (from, from_is) = match retried {
        true => (job.created?, WaitFrom::Enqueued),
        false => (job.due()?, WaitFrom::Due),
    };
    let claimed = job.claimed();
    let (until, until_is) = match claimed {
        Some(claimed) => (claimed, WaitUntil::Claim),
        None if job.state.has_ended() => (job.ended()?, WaitUntil::End),
        None => (*now, WaitUntil::Now),
    };
    let until = until.max(from);
    let job_before = match (&facts.job_before, claimed) {
        (Reading::Known(ended), _) => Some(*ended),
        (Reading::Unknown(unknown), Some(_)) if facts.worker_id().is_some() => {
            missing.push(Missing::of(MissingPart::JobBefore, unknown));
            None
        }
        (Reading::Unknown(_), _) => None,
    };
    let registered = registered(facts);
    if claimed.is_some()
        && facts.worker.known().is_some_and(Option::is_some)
        && registered.is_none()
    {
        missing.push(Missing::new(
            MissingPart::Registration,
            MissingReason::NotKept,
            "the registry does not say when its worker registered on this machine",
        ));
    }
    let launch = facts.launch.known().and_then(Option::as_ref);
    let segments = split(&Boundaries {
        from,
        until,
        retry_due: job.start_after.filter(|_| retried),
        blocked: job.blocked,
        claimed: claimed.is_some(),
        tick_ms: i64::from(site.tick_s) * 1000,
        requested: launch.and_then(|it| requested_at(&it.cause)),
        launched: launch.map(|it| it.launched),
        registered,
        job_before,
    });
    if until > from {
        missing.push(decision(facts, job.start_after.unwrap_or(from), until));
    }
    Some(Wait {
        from: from.to_string(),
        from_is,
        until: until.to_string(),
        until_is,
        ms: until.since(from).unsigned_abs(),
        segments,
    })
}

/// Decision records are in the log, which this function may not read.
fn decision(facts: &JobFacts, due: UnixMs, until: UnixMs) -> Missing {
    let PassportSite { environment, tick_s, .. } = &facts.site;
    let query = decisions_query(environment, due.min(until), until, *tick_s);
    let detail = format!(
        "which tick counted it first, and what was decided, is in {} from {} to {}: run {}",
        query.log_group, query.from, query.to, query.query
    );
    let missing = Missing::new(MissingPart::Decision, MissingReason::NotLookedUp, detail);
    Missing { query: Some(query), ..missing }
}

/// Names a source that said nothing.
fn note<T>(
    reading: &Reading<Option<T>>,
    part: MissingPart,
    none: &str,
    missing: &mut Vec<Missing>,
) {
    match reading {
        Reading::Known(Some(_)) => {}
        Reading::Known(None) => missing.push(Missing::new(part, MissingReason::NotKept, none)),
        Reading::Unknown(unknown) => {
            let unknown: &Unknown = unknown;
            missing.push(Missing::of(part, unknown));
        }
    }
}

fn cost(facts: &JobFacts, prices: &Prices) -> Option<JobCost> {
    let (began, until) = facts.ran()?;
    let ms = until.since(began).max(0).unsigned_abs();
    let month = u128::from(prices.compute(1)) + u128::from(prices.volumes(1));
    let micros = month * u128::from(ms) / (u128::from(HOURS) * HOUR_MS);
    let micros = u64::try_from(micros).unwrap_or(u64::MAX);
    Some(JobCost { currency: "USD", ms, micros })
}
