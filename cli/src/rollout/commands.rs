//! The commands about versions: `deploy`, `rollback`, `cancel`, `pause`, `continue`.

use super::{PATH, WaitArgs, begin, find, is_open, is_rollout};
use crate::connection::ConnectionArgs;
use crate::finish::{Failure, Finished};
use crate::show::{plain, wrapped};
use clap::Args;
use fleet_protocol::image_tag::ImageTag;
use fleet_protocol::rollout_order::Strategy;
use serde_json::{Value, json};

/// How fast it goes, and why.
#[derive(Debug, Args)]
struct Pace {
    /// canary, one-at-a-time, half-at-a-time or all-at-once.
    #[arg(long, default_value_t = Strategy::Canary, value_parser = Strategy::parse)]
    strategy: Strategy,
    /// End a job that has had the job limit, and replace what is up to date.
    #[arg(long)]
    force: bool,
    /// Why, for those who read it later.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl Pace {
    fn body(&self) -> Value {
        let Pace { strategy, force, reason } = self;
        json!({ "strategy": strategy.as_str(), "force": force, "reason": reason })
    }
}

/// Roll a version out, host by host, and wait until it has ended.
///
/// Each host swaps when its running job ends. The first failure sends every
/// host back. Ends with 0 only where every host in service proved the version.
/// The same tag that is being rolled out already is followed.
///
/// Examples:
///   ghfleet deploy v42
///   ghfleet deploy v42 --strategy one-at-a-time --reason "new browser"
///   ghfleet deploy v42 --no-wait
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct DeployArgs {
    /// The version: a tag of the image's repository, or its digest.
    #[arg(value_name = "TAG", value_parser = ImageTag::parse)]
    image_tag: ImageTag,
    #[command(flatten)]
    pace: Pace,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
}

impl DeployArgs {
    /// # Errors
    /// It was refused, or could not be followed.
    pub fn run(&self) -> Result<Finished, Failure> {
        let api = self.connection.api()?;
        let mut body = self.pace.body();
        body["image_tag"] = json!(self.image_tag.as_str());
        let begun = begin::deploy(&api, PATH, &body)?;
        self.wait.finish(&api, begun)
    }
}

/// Bring every host back to the version before, and wait until that has ended.
///
/// A rollout that is stable goes back to the version before it; one that failed
/// or was cancelled goes back to the stable version.
///
/// Examples:
///   ghfleet rollback
///   ghfleet rollback 12345678-1234-1234-1234-1234567890ab --reason "errors"
///   ghfleet rollback --cancel --reason "it fails logins"
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct RollbackArgs {
    /// The rollout to undo; the last one that ended where none is named.
    id: Option<String>,
    /// Cancel it first where it is in progress, and wait until its hosts have
    /// ended what they swap.
    #[arg(long)]
    cancel: bool,
    #[command(flatten)]
    pace: Pace,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
}

impl RollbackArgs {
    /// # Errors
    /// It was refused, or could not be followed.
    pub fn run(&self) -> Result<Finished, Failure> {
        let api = self.connection.api()?;
        let id = match &self.id {
            Some(id) => checked(id)?,
            None => find(
                &api,
                |one| is_rollout(one) && (self.cancel || !is_open(one)),
                "no rollout has ended yet, so there is none to undo: deploy a version by its tag",
            )?,
        };
        if self.cancel {
            begin::cancel(&api, &id)?;
        }
        let begun = begin::begin(&api, &format!("{PATH}/{id}/rollback"), &self.pace.body())?;
        self.wait.finish(&api, begun)
    }
}

/// Give no further host the version; hosts that have begun finish or undo it.
///
/// Examples:
///   ghfleet cancel
///   ghfleet cancel 12345678-1234-1234-1234-1234567890ab
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct CancelArgs {
    #[command(flatten)]
    which: Which,
}

/// Let no further host begin; hosts that have begun go on.
///
/// Examples:
///   ghfleet pause
///   ghfleet pause 12345678-1234-1234-1234-1234567890ab
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct PauseArgs {
    #[command(flatten)]
    which: Which,
}

/// Let a rollout go on that is paused, or needs a decision.
///
/// Examples:
///   ghfleet continue
///   ghfleet continue 12345678-1234-1234-1234-1234567890ab
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct ContinueArgs {
    #[command(flatten)]
    which: Which,
}

impl CancelArgs {
    /// # Errors
    /// It was refused.
    pub fn run(&self) -> Result<Finished, Failure> {
        self.which.tell("cancel")
    }
}

impl PauseArgs {
    /// # Errors
    /// It was refused.
    pub fn run(&self) -> Result<Finished, Failure> {
        self.which.tell("pause")
    }
}

impl ContinueArgs {
    /// # Errors
    /// It was refused.
    pub fn run(&self) -> Result<Finished, Failure> {
        self.which.tell("continue")
    }
}

/// A rollout that there is.
#[derive(Debug, Args)]
struct Which {
    /// The rollout; the one in progress where none is named.
    id: Option<String>,
    /// Print the API's answer as it came.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

impl Which {
    fn tell(&self, what: &str) -> Result<Finished, Failure> {
        let api = self.connection.api()?;
        let id = match &self.id {
            Some(id) => checked(id)?,
            None => find(
                &api,
                |one| is_rollout(one) && is_open(one),
                "no rollout is in progress: see them with ghfleet rollouts, and name one",
            )?,
        };
        let answer = api.post(&format!("{PATH}/{id}/{what}"), &json!({}), None)?;
        if self.json {
            return Ok(Finished::done(answer.text + "\n"));
        }
        let note = answer.body["note"].as_str().map_or_else(|| "accepted".to_owned(), plain);
        let next = format!("next: ghfleet rollouts {id} --wait\n");
        Ok(Finished::done(wrapped("", &format!("{what}: {note}")) + &next))
    }
}

/// An id that can stand in a path.
pub(super) fn checked(id: &str) -> Result<String, Failure> {
    let fits = id.len() == 36 && id.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
    if fits {
        return Ok(id.to_ascii_lowercase());
    }
    Err(Failure::usage(format!(
        "{:?} is no id such as 12345678-1234-1234-1234-1234567890ab: see them with ghfleet rollouts",
        fleet_core::text::cut(id, 60)
    )))
}
