//! The stable pointer, the records of rollouts, the wishes to cancel and to pause one, and how its
//! jobs end, each one parameter.
//!
//! SSM has no compare-and-swap. A write learns its version, and so whether somebody else wrote
//! since this one read; then what was overwritten and stands is put back, and the write counts as
//! failed.

use super::{Rollouts, done};
use crate::aws::{AwsError, AwsErrorKind, explain};
use aws_sdk_ssm::types::{Parameter, ParameterType};
use fleet_core::rollout::{
    CallResult, LockResult, Outcomes, Record, Slot, Stable, StoredState, overwritten, slot,
};
use fleet_protocol::ids::CommandId;
use fleet_protocol::reading::{Reading, Unknown, UnknownCause};
use fleet_protocol::time::UnixMs;
use serde::de::DeserializeOwned;
use std::iter;

/// What a wish says where there is none: a parameter is never deleted, because SSM asks for 30 s
/// between that and creating it again.
const NONE: &str = "none";

/// Begins the wish that a rollout goes on.
const CONTINUE: &str = "continue";

/// How many of the versions in between are looked at, the newest ones.
const LOOKED_AT: i64 = 8;

impl Rollouts {
    /// All of them, by one call.
    pub async fn stored(&self) -> Reading<StoredState> {
        let [even, odd] = &self.records;
        let names = [even, odd, &self.stable, &self.cancelled, &self.paused, &self.outcomes];
        let names = names.map(Clone::clone);
        let answer = self.client.get_parameters().set_names(Some(names.into())).send().await;
        let parameters = match answer {
            Ok(answer) => answer.parameters.unwrap_or_default(),
            Err(error) => return Reading::Unknown(explain("GetParameters", error).into()),
        };
        match self.read(&parameters) {
            Ok(stored) => Reading::Known(stored),
            Err(unknown) => Reading::Unknown(unknown),
        }
    }

    fn read(&self, parameters: &[Parameter]) -> Result<StoredState, Unknown> {
        let named =
            |name: &str| parameters.iter().find(|found| found.name.as_deref() == Some(name));
        let wish = |name: &str| {
            let text = named(name).and_then(|found| found.value.as_deref());
            text.filter(|text| *text != NONE).map(CommandId::new)
        };
        let record = |name: &str| {
            let found = named(name);
            let version = found.map_or(0, |found| found.version);
            Ok::<_, Unknown>(Slot { record: parse(name, found)?, version })
        };
        let [even, odd] = &self.records;
        let stable = named(&self.stable);
        Ok(StoredState {
            slots: [record(even)?, record(odd)?],
            stable: parse(&self.stable, stable)?,
            stable_version: stable.map_or(0, |found| found.version),
            cancelled: wish(&self.cancelled),
            paused: wish(&self.paused).filter(|wish| continued(wish).is_none()),
            continued: wish(&self.paused).and_then(|wish| continued(&wish)),
            // Counted anew within a minute: an unreadable one is as good as none.
            outcomes: parse(&self.outcomes, named(&self.outcomes)).ok().flatten(),
        })
    }

    /// Writes a new rollout's record, which is the lock: of several at once the first one has it.
    pub async fn create(&self, record: &Record, version: i64) -> LockResult {
        match self.put_record(record, version).await {
            Ok(()) => LockResult::Acquired,
            Err(error) if error.kind == AwsErrorKind::Contention => LockResult::Held,
            Err(error) => LockResult::Failed { detail: error.detail },
        }
    }

    /// Writes the record. Where somebody else who had the lock wrote it since it had this
    /// `version`, that is a failure, and the next pass looks anew.
    pub async fn write(&self, record: &Record, version: i64) -> CallResult {
        done(self.put_record(record, version).await)
    }

    async fn put_record(&self, record: &Record, version: i64) -> Result<(), AwsError> {
        let name = &self.records[slot(record.number)];
        let put_back = |since: &[Option<String>]| {
            let read = |text: &Option<String>| serde_json::from_str(text.as_ref()?).ok();
            overwritten(record, &since.iter().map(read).collect::<Vec<_>>())
        };
        self.put_after(name, record.write(), version, put_back).await
    }

    /// Writes the stable pointer; what somebody else wrote since stands.
    pub async fn write_stable(&self, stable: &Stable, version: i64) -> CallResult {
        let newest = |since: &[Option<String>]| since.len().checked_sub(1);
        done(self.put_after(&self.stable, stable.write(), version, newest).await)
    }

    /// Writes down which rollout is to be taken back.
    pub async fn request_cancel(&self, id: &CommandId) -> CallResult {
        done(self.put(&self.cancelled, id.to_string()).await.map(drop))
    }

    /// Writes down which rollout sends no new order.
    pub async fn request_pause(&self, id: &CommandId) -> CallResult {
        done(self.put(&self.paused, id.to_string()).await.map(drop))
    }

    /// Writes down which rollout a person let go on, and when, in the place of a pause.
    pub async fn request_continue(&self, id: &CommandId, at: UnixMs) -> CallResult {
        done(self.put(&self.paused, format!("{CONTINUE} {id} {}", at.0)).await.map(drop))
    }

    /// Writes down how the jobs of a rollout end.
    pub async fn write_outcomes(&self, outcomes: &Outcomes) -> CallResult {
        let text = serde_json::to_string(outcomes).expect("numbers are plain data");
        done(self.put(&self.outcomes, text).await.map(drop))
    }

    /// Writes a parameter that has this `version`. Where others wrote it meanwhile, `put_back` says
    /// which text stands instead, if any: of what had been read, and of theirs, oldest first.
    ///
    /// # Errors
    /// Where another one stands, which is put back.
    async fn put_after(
        &self,
        name: &str,
        text: String,
        version: i64,
        put_back: impl Fn(&[Option<String>]) -> Option<usize>,
    ) -> Result<(), AwsError> {
        let written = self.put(name, text).await?;
        if written == version + 1 {
            return Ok(());
        }
        let mut since = Vec::new();
        for version in iter::once(version).chain((version + 1).max(written - LOOKED_AT)..written) {
            // The first version is 1.
            let found = match version {
                0 => None,
                _ => self.get(format!("{name}:{version}")).await?,
            };
            since.push(found.and_then(|found| found.value));
        }
        let Some(stands) = put_back(&since) else { return Ok(()) };
        // What somebody wrote since this write stays.
        let now = self.get(name.to_owned()).await?;
        if now.is_some_and(|now| now.version == written)
            && let Some(theirs) = since.swap_remove(stands)
        {
            self.put(name, theirs).await?;
        }
        let detail =
            format!("somebody else wrote {name} meanwhile: version {written} after {version}");
        Err(AwsError::new(AwsErrorKind::Contention, detail))
    }

    async fn get(&self, name: String) -> Result<Option<Parameter>, AwsError> {
        let answer = self.client.get_parameter().name(name).send().await;
        let answer = answer.map_err(|error| explain("GetParameter", error))?;
        Ok(answer.parameter)
    }

    async fn put(&self, name: &str, text: String) -> Result<i64, AwsError> {
        let answer = self
            .client
            .put_parameter()
            .name(name)
            .value(text)
            .r#type(ParameterType::String)
            .overwrite(true)
            .send()
            .await;
        answer.map(|answer| answer.version).map_err(|error| explain("PutParameter", error))
    }
}

/// What [`Rollouts::request_continue`] wrote. Of a pause, which is an id alone, nothing is left.
fn continued(wish: &CommandId) -> Option<(CommandId, UnixMs)> {
    let (id, at) = wish.as_str().strip_prefix(CONTINUE)?.trim_start().split_once(' ')?;
    Some((CommandId::new(id), UnixMs(at.parse().ok()?)))
}

fn parse<T: DeserializeOwned>(name: &str, found: Option<&Parameter>) -> Result<Option<T>, Unknown> {
    let Some(text) = found.and_then(|found| found.value.as_deref()) else { return Ok(None) };
    serde_json::from_str(text).map(Some).map_err(|error| Unknown {
        cause: UnknownCause::Unreadable,
        detail: format!(
            "the parameter {name} cannot be read: {error}; put it right, or delete it to begin anew"
        ),
    })
}
