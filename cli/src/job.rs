//! `ghfleet job`: what happened to one job.

use crate::api::{Answer, ApiError};
use crate::connection::ConnectionArgs;
use crate::finish::{Failure, Finished};
use crate::show::{Screen, Tone, fact, number, span, word, wrapped};
use clap::Args;
use fleet_core::passport::JobId;
use fleet_protocol::exit_code::ExitCode as Code;
use serde_json::Value;

const PATH: &str = "/api/v1/admin/jobs";

/// Show what happened to one job: its wait by what it was for, its end, its machine.
///
/// The id is pg-boss's, or the application's. What a source does not have is
/// named at the end with the reason, and no payload is read. The exit code says
/// how the job stands: 0 completed, 1 failed, cancelled or expired, 75 not ended
/// yet; 12 where there is no such job.
///
/// Examples:
///   ghfleet job 0f8fad5b-d9cb-469f-a165-70867728950e
///   ghfleet job 0f8fad5b-d9cb-469f-a165-70867728950e --json | jq .wait
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct JobArgs {
    #[arg(value_name = "ID", value_parser = JobId::parse)]
    id: JobId,
    /// Print the API's answer as it came.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

impl JobArgs {
    /// # Errors
    /// The job could not be read, or there is none with this id.
    pub fn run(&self) -> Result<Finished, Failure> {
        let Answer { text, body } = self.connection.api()?.get(&format!("{PATH}/{}", self.id))?;
        if !body["missing"].is_array() || !body["state"].is_string() {
            return Err(ApiError::Unexpected(format!(
                "{PATH} answered with something that is no job's passport: check that the url is \
                 the stack's output PageUrl"
            ))
            .into());
        }
        let shown = if self.json { text + "\n" } else { render(&Screen::of_stdout(), &body) };
        Ok(Finished::with(shown, standing(&body)))
    }
}

/// pg-boss calls a job completed whose run failed, so the application's word goes first.
fn standing(job: &Value) -> Code {
    let status = word(job, "/application/status").unwrap_or_default();
    match (status.as_str(), word(job, "/state").unwrap_or_default().as_str()) {
        ("failed" | "expired" | "cancelled", _) | (_, "failed" | "expired" | "cancelled") => {
            Code::Failed
        }
        (_, "completed") => Code::Done,
        _ => Code::StillBusy,
    }
}

fn render(screen: &Screen, job: &Value) -> String {
    let text = |at: &str| word(job, at).unwrap_or_else(|| "unknown".to_owned());
    let mut shown = fact("job", &text("/id"));
    let archived = if job["archived"] == true { ", archived" } else { "" };
    shown += &fact("queue", &format!("{}{archived}", text("/queue")));
    let expired = if job["expired"] == true { ", past its expiry" } else { "" };
    shown += &fact("state", &format!("{}{expired}", text("/state")));
    if let Some(status) = word(job, "/application/status") {
        shown += &fact(
            "run",
            &format!("{status}, by the application's row {}", text("/application/id")),
        );
    }
    for (name, at) in [
        ("enqueued", "/enqueued_at"),
        ("due", "/due_at"),
        ("claimed", "/claimed_at"),
        ("ended", "/ended_at"),
    ] {
        if let Some(moment) = word(job, at) {
            shown += &fact(name, &moment);
        }
    }
    shown += &fact(
        "retries",
        &format!("{} of at most {}", number(job, "/retries/made"), number(job, "/retries/limit")),
    );
    shown += &ran(job);
    shown += &waited(job);
    let missing = job["missing"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !missing.is_empty() {
        shown += &screen.paint(Tone::Bad, "\nNot known:\n");
    }
    for one in missing {
        let part = |at: &str| word(one, at).unwrap_or_default().replace('_', " ");
        let detail = word(one, "/detail").unwrap_or_default();
        shown += &wrapped("  ", &format!("{} ({}): {detail}", part("/part"), part("/reason")));
    }
    shown
}

/// Where it ran, with what, and for how much.
fn ran(job: &Value) -> String {
    let mut shown = String::new();
    if let Some(worker) = word(job, "/worker_id") {
        shown += &fact("worker", &worker);
    } else if let Some(worker) = word(job, "/target") {
        shown += &fact("worker", &format!("none yet; only {worker} may take it"));
    }
    if let Some(instance) = word(job, "/machine/instance_id") {
        let launched = word(job, "/machine/launched_at");
        let launched = launched.map_or_else(String::new, |at| format!(", launched at {at}"));
        shown += &fact("instance", &format!("{instance}{launched}"));
    }
    if let Some(cause) = word(job, "/machine/cause") {
        shown += &fact("", &format!("AWS says: {cause}"));
    }
    if let Some(tag) = word(job, "/version/image_tag") {
        let at = word(job, "/version/proven_at").unwrap_or_default();
        shown += &fact("version", &format!("{tag}, proven at {at}"));
    }
    if let (Some(ms), Some(micros)) = (job["cost"]["ms"].as_u64(), job["cost"]["micros"].as_u64()) {
        let dollars = format!("${}.{:06}", micros / 1_000_000, micros % 1_000_000);
        shown += &fact("cost", &format!("{dollars} for {}", seconds(ms)));
    }
    shown
}

fn waited(job: &Value) -> String {
    let Some(ms) = job["wait"]["ms"].as_u64() else { return fact("wait", "unknown") };
    let what = |at: &str| word(job, at).unwrap_or_default();
    let (from, until) = (what("/wait/from_is"), what("/wait/until_is"));
    let mut shown = fact("wait", &format!("{}, from {from} to {until}", seconds(ms)));
    let segments = job["wait"]["segments"].as_array().map(Vec::as_slice).unwrap_or_default();
    if segments.is_empty() {
        return shown;
    }
    shown += &format!("\n{}", row("PART", "AFTER", "FOR", "WHAT FOR"));
    let mut after = 0;
    for segment in segments {
        let text = |at: &str| word(segment, at).unwrap_or_default();
        let lasted = segment["ms"].as_u64().unwrap_or_default();
        let about = if segment["exact"] == true { "" } else { "~" };
        let lasting = format!("{about}{}", seconds(lasted));
        shown += &row(&text("/kind"), &seconds(after), &lasting, &text("/because"));
        after += lasted;
    }
    shown
}

/// A part of the wait, whose words are wrapped and never cut.
fn row(part: &str, after: &str, lasting: &str, words: &str) -> String {
    wrapped(&format!("{part:<9}{after:<14}{lasting:<15}"), words)
}

/// Below two minutes a tenth of a second matters.
fn seconds(ms: u64) -> String {
    match ms {
        0..120_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => span(ms / 1000),
    }
}
