//! `GET /api/v1/admin/jobs/{id}`: what happened to one job.

use crate::app::App;
use crate::read::{CALL, ask, within};
use fleet_clients::queue::FoundJob;
use fleet_core::passport::{JobFacts, JobId, JobPassport, PassportSite, job_passport};
use fleet_lambda::{Call, Problem};
use fleet_protocol::reading::{Reading, Unknown, UnknownCause};
use fleet_protocol::time::UnixMs;
use std::time::Duration;

/// A cold reading makes twice the statements of a status.
const JOB: Duration = Duration::from_secs(6);

/// The passport of the job that the path names.
pub(crate) async fn passport(app: &App, call: &Call<'_>) -> Result<JobPassport, Problem> {
    let id = JobId::parse(call.id.unwrap_or_default()).map_err(Problem::bad_request)?;
    let found = within(JOB, "the job", ask(app, async |source| source.job(&id, JOB).await));
    let found = match found.await {
        Reading::Known(found) => found,
        Reading::Unknown(unknown) => {
            let detail = format!("the jobs cannot be read now: {}", unknown.detail);
            return Err(Problem::new(503, "Service Unavailable", detail));
        }
    };
    let FoundJob { now, job, application, worker, job_before, looked_in } = found;
    let Some(job) = job else { return Err(not_found(&id, &looked_in)) };
    let site = &app.config.site;
    let site = PassportSite {
        environment: site.environment.clone(),
        group: site.group.clone(),
        tick_s: app.config.tick_s,
        prices: site.prices,
        proof_life_s: site.proof_life_s,
    };
    let (launch, word) = (not_asked(), not_asked());
    let facts = JobFacts { now, site, job, application, worker, job_before, launch, word };
    Ok(job_passport(&with_its_machine(app, facts).await))
}

/// What AWS tells of the instance, where one is known.
async fn with_its_machine(app: &App, facts: JobFacts) -> JobFacts {
    let (Some(instance), Some((claimed, until))) = (facts.instance(), facts.ran()) else {
        return facts;
    };
    let group = &app.config.site.group;
    let since = UnixMs(claimed.0 - i64::from(app.config.site.proof_life_s) * 1000);
    let launch = within(CALL, "the group's activities", app.launches.of(group, &instance));
    let word = within(CALL, "its host's commands", app.proofs.before(&instance, since, until));
    let (launch, word) = tokio::join!(launch, word);
    JobFacts { launch, word, ..facts }
}

fn not_asked<T>() -> Reading<T> {
    let detail = "which machine it ran on is not known, so none was asked for".to_owned();
    Reading::Unknown(Unknown { cause: UnknownCause::NotAsked, detail })
}

fn not_found(id: &JobId, looked_in: &[String]) -> Problem {
    Problem::new(
        404,
        "Not Found",
        format!(
            "no job {id}; looked in {}. pg-boss deletes jobs some days after their end",
            looked_in.join(", ")
        ),
    )
}
