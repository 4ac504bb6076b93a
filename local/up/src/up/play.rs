//! The jobs of a run, and its end.

use std::time::Duration;

use aws_double::LifecycleState;
use fleet_local::Error;
use fleet_local::postgres::DATABASE;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::hosts::{Tally, short};
use super::rollouts::{self, Rollout};
use super::stage::{GROUP, QUEUE, Stage};
use super::tell::{Narrator, line};
use super::{End, Options};

const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The last line of a run with `--once`.
#[derive(Debug, Serialize)]
struct Summary {
    jobs_enqueued: u32,
    jobs_completed: i64,
    interrupted: u32,
    peak_instances: usize,
    final_desired: u32,
    min: u32,
    terminated: u32,
    /// Jobs that were finished by workers on their way out.
    finished_leaving: u32,
    /// How each rollout ended.
    rollouts: Vec<Rollout>,
    seconds: f64,
    ok: bool,
}

/// Enqueues the jobs in two bursts and waits for the end; without `--once` there is none.
pub(super) async fn play(
    options: &Options,
    stage: &mut Stage,
    tally: watch::Receiver<Tally>,
    narrator: Narrator,
) -> Result<End, Error> {
    let database = stage.server.connect(DATABASE).await?;
    let mut enqueued = 0;
    let mut rollouts = Vec::new();
    let all = async {
        bursts(options, stage, &database, &tally, narrator, &mut enqueued).await?;
        until_quiet(options, stage, &database).await?;
        if !options.skip_rollouts {
            rollouts = rollouts::watch(options, stage, &tally, narrator).await?;
            until_quiet(options, stage, &database).await?;
        }
        Ok::<(), Error>(())
    };
    let result = if options.once {
        tokio::time::timeout(options.deadline(), all).await
    } else {
        Ok(all.await)
    };
    let in_time = match result {
        Ok(done) => done.map(|()| true)?,
        Err(_) => false,
    };
    let jobs_completed = count_completed(&database).await?;
    let (final_desired, back) = capacity(options, stage);
    // A copy: the hosts go on while this is written.
    let tally = tally.borrow().clone();
    let summary = Summary {
        jobs_enqueued: enqueued,
        jobs_completed,
        interrupted: tally.interrupted,
        peak_instances: tally.peak_instances,
        final_desired,
        min: options.min,
        terminated: tally.terminated,
        finished_leaving: tally.finished_leaving,
        seconds: narrator.elapsed_seconds(),
        ok: (options.skip_rollouts || rollouts::all_as_they_should(&rollouts, stage))
            && enqueued == options.jobs
            && jobs_completed == i64::from(options.jobs)
            && tally.interrupted == 0
            && back,
        rollouts,
    };
    if in_time {
        let text = format!("all {jobs_completed} jobs ran; capacity is back at {final_desired}");
        narrator.say("fleet", &text);
    } else {
        let seconds = options.deadline().as_secs();
        narrator.say("fleet", &format!("is not done after {seconds} s; giving up"));
    }
    if !options.once {
        return std::future::pending().await;
    }
    let end = if summary.ok { End::Good } else { End::Bad };
    let text = serde_json::to_string(&summary);
    line(&text.map_err(|error| Error::Failed(format!("the summary: {error}")))?);
    Ok(end)
}

/// Half of the jobs at once; the rest when the first may have ended, one of them deferred.
async fn bursts(
    options: &Options,
    stage: &mut Stage,
    database: &tokio_postgres::Client,
    tally: &watch::Receiver<Tally>,
    narrator: Narrator,
    enqueued: &mut u32,
) -> Result<(), Error> {
    let second = options.jobs / 2;
    let first = options.jobs - second;
    until_ready(options, tally.clone()).await?;
    // At the minimum nobody is being taken away, so the worker will be there for its job.
    let own = tally.borrow().ready.first().filter(|_| first > 1).cloned();
    for number in 0..first {
        let queue = match &own {
            Some(worker) if number == 0 => format!("{QUEUE}/{worker}"),
            Some(_) | None => QUEUE.to_owned(),
        };
        send(options, stage, narrator, &queue, json!({}))?;
        *enqueued += 1;
    }
    let pause = Duration::from_secs(options.job_seconds.into()) + options.boot();
    let own = own.as_ref();
    let outside = async {
        tokio::select! {
            () = end_a_busy_worker(options, stage, own, tally, narrator) => Ok(()),
            // Where no worker was one too many until now, nobody is taken away.
            ran = until_completed(first, database) => ran,
        }
    };
    tokio::join!(tokio::time::sleep(pause), outside).1?;
    for number in 0..second {
        let deferred = second > 1 && number == second - 1;
        let when =
            if deferred { json!({ "startAfter": options.boot().as_secs() }) } else { json!({}) };
        send(options, stage, narrator, QUEUE, when)?;
        *enqueued += 1;
    }
    Ok(())
}

/// Somebody outside takes an instance away in the middle of its job, as a person or another policy
/// of the group might. It is not the one with its own job, which is the first to have done.
async fn end_a_busy_worker(
    options: &Options,
    stage: &Stage,
    own: Option<&String>,
    tally: &watch::Receiver<Tally>,
    narrator: Narrator,
) {
    let mut tally = tally.clone();
    let one_too_many = |tally: &Tally| {
        let (desired, _) = capacity(options, stage);
        desired > options.min && tally.busy.len() > options.min as usize
    };
    let Ok(busy) = tally.wait_for(one_too_many).await.map(|tally| tally.busy.clone()) else {
        return;
    };
    let Some((instance, job)) = busy.iter().find(|(busy, _)| Some(*busy) != own) else { return };
    let ended = stage.double.terminate_instance(instance, true);
    let text = match ended {
        Ok(()) => format!("ends {instance} from outside, in the middle of job {}", short(job)),
        Err(error) => format!("cannot end {instance}: {error}"),
    };
    narrator.say("somebody", &text);
}

fn send(
    options: &Options,
    stage: &mut Stage,
    narrator: Narrator,
    queue: &str,
    mut settings: Value,
) -> Result<(), Error> {
    let mut text = format!("of {} s into {queue}", options.job_seconds);
    if let Some(seconds) = settings["startAfter"].as_u64() {
        text.push_str(&format!(", due in {seconds} s"));
    }
    // As the application sends them: a job that fails is not tried again.
    settings["retryLimit"] = json!(0);
    settings["expireInSeconds"] = json!(14_400);
    let job = stage
        .boss
        .send(queue, json!({ "seconds": options.job_seconds }), settings)?
        .ok_or_else(|| Error::Failed(format!("pg-boss took no job into {queue}")))?;
    narrator.say("enqueue", &format!("job {} {text}", short(&job)));
    Ok(())
}

/// Waits until the least capacity is there, with its workers.
async fn until_ready(options: &Options, mut tally: watch::Receiver<Tally>) -> Result<(), Error> {
    let enough = |tally: &Tally| tally.ready.len() >= options.min as usize;
    tally.wait_for(enough).await.map(drop).map_err(|_| Error::Failed("the hosts ended".to_owned()))
}

/// Waits until every job ran and the group is back at its minimum.
async fn until_quiet(
    options: &Options,
    stage: &Stage,
    database: &tokio_postgres::Client,
) -> Result<(), Error> {
    until_completed(options.jobs, database).await?;
    while !capacity(options, stage).1 {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// Waits until so many jobs ran.
async fn until_completed(jobs: u32, database: &tokio_postgres::Client) -> Result<(), Error> {
    while count_completed(database).await? < i64::from(jobs) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// The desired capacity, and whether it and the instances are at the minimum.
fn capacity(options: &Options, stage: &Stage) -> (u32, bool) {
    let Some(group) = stage.double.group(GROUP) else { return (0, false) };
    let at_rest = group.desired == options.min
        && group.instances.len() == options.min as usize
        && group.instances.iter().all(|instance| instance.state == LifecycleState::InService);
    (group.desired, at_rest)
}

/// By the queue's own table, not by what the workers said.
async fn count_completed(database: &tokio_postgres::Client) -> Result<i64, Error> {
    let sql = "SELECT count(*) FROM pgboss.job WHERE state = 'completed' AND name LIKE $1";
    let row = database
        .query_one(sql, &[&format!("{QUEUE}%")])
        .await
        .map_err(|error| Error::Failed(format!("count the completed jobs: {error}")))?;
    Ok(row.get(0))
}
