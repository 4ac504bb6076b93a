//! The stable pointer, the record of the rollout in progress and the wish to cancel it, each one
//! parameter.

use super::{Rollouts, done};
use crate::aws::{AwsError, AwsErrorKind, explain};
use aws_sdk_ssm::types::{Parameter, ParameterType};
use fleet_core::rollout::{CallResult, LockResult, Record, Stable, StoredState};
use fleet_protocol::ids::CommandId;
use fleet_protocol::reading::{Reading, Unknown, UnknownCause};
use serde::de::DeserializeOwned;

impl Rollouts {
    /// All of them, by one call.
    pub async fn stored(&self) -> Reading<StoredState> {
        let names = [&self.record, &self.stable, &self.cancelled].map(Clone::clone);
        let answer = self.client.get_parameters().set_names(Some(names.into())).send().await;
        let parameters = match answer {
            Ok(answer) => answer.parameters.unwrap_or_default(),
            Err(error) => return Reading::Unknown(explain("GetParameters", error).into()),
        };
        let named =
            |name: &str| parameters.iter().find(|found| found.name.as_deref() == Some(name));
        let record = named(&self.record);
        let version = record.map_or(0, |record| record.version);
        let cancelled = named(&self.cancelled).and_then(|found| found.value.as_deref());
        let cancelled = cancelled.map(CommandId::new);
        match (parse(&self.record, record), parse(&self.stable, named(&self.stable))) {
            (Ok(record), Ok(stable)) => {
                Reading::Known(StoredState { record, version, stable, cancelled })
            }
            (Err(unknown), _) | (_, Err(unknown)) => Reading::Unknown(unknown),
        }
    }

    /// Creates the record, which is the lock: SSM lets one creator through.
    pub async fn reserve(&self, record: &Record) -> LockResult {
        let answer = self
            .client
            .put_parameter()
            .name(&self.record)
            .value(record.write())
            .r#type(ParameterType::String)
            .overwrite(false)
            .send()
            .await;
        match answer {
            Ok(_) => LockResult::Acquired,
            Err(error) => match explain("PutParameter", error) {
                AwsError { kind: AwsErrorKind::AlreadyExists, .. } => LockResult::Held,
                error => LockResult::Failed { detail: error.detail },
            },
        }
    }

    /// Writes the record. Where somebody else wrote it since it had this `version`, that is a
    /// failure, and the next pass looks anew.
    pub async fn write(&self, record: &Record, version: i64) -> CallResult {
        done(match self.put(&self.record, record.write()).await {
            Ok(written) if written == version + 1 => Ok(()),
            Ok(written) => Err(AwsError::new(
                AwsErrorKind::Contention,
                format!(
                    "somebody else wrote {} meanwhile: version {written} after {version}",
                    self.record
                ),
            )),
            Err(error) => Err(error),
        })
    }

    /// Deletes the record: the next rollout may begin.
    pub async fn close(&self) -> CallResult {
        let answer = self.client.delete_parameter().name(&self.record).send().await;
        match answer.map_err(|error| explain("DeleteParameter", error)) {
            Err(AwsError { kind: AwsErrorKind::Missing, .. }) | Ok(_) => CallResult::Done,
            Err(error) => CallResult::Failed { detail: error.detail },
        }
    }

    /// Writes the stable pointer.
    pub async fn write_stable(&self, stable: &Stable) -> CallResult {
        done(self.put(&self.stable, stable.write()).await.map(drop))
    }

    /// Writes down which rollout is to be taken back.
    pub async fn request_cancel(&self, id: &CommandId) -> CallResult {
        done(self.put(&self.cancelled, id.to_string()).await.map(drop))
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

fn parse<T: DeserializeOwned>(name: &str, found: Option<&Parameter>) -> Result<Option<T>, Unknown> {
    let Some(text) = found.and_then(|found| found.value.as_deref()) else { return Ok(None) };
    serde_json::from_str(text).map(Some).map_err(|error| Unknown {
        cause: UnknownCause::Unreadable,
        detail: format!(
            "the parameter {name} cannot be read: {error}; put it right, or delete it to begin anew"
        ),
    })
}
