//! Everything that was read, source by source. What was not read says why.

use crate::finish::Failure;
use fleet_clients::checkup::{
    Activity, Alarm, CheckedGroup, Concurrency, Hook, HostDocument, Identity, LaunchTemplate,
    Subscriber,
};
use fleet_clients::queue::QueueView;
use fleet_protocol::ids::InstanceId;
use fleet_protocol::lifecycle::LifecycleState;
use fleet_protocol::reading::{Reading, Unknown, UnknownCause};
use fleet_protocol::time::UnixMs;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What the findings are made of, and of nothing else.
#[derive(Debug)]
pub(super) struct Facts {
    /// This machine's clock.
    pub(super) now: UnixMs,
    pub(super) names: Names,
    /// The fleet's status, or what came in its place.
    pub(super) api: Result<Value, Failure>,
    pub(super) aws: AwsFacts,
    pub(super) database: DatabaseFacts,
}

/// What things are called.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// Neither is known where no API told and no argument did.
    pub(super) group: Option<String>,
    pub(super) environment: Option<String>,
    pub(super) hook: String,
    pub(super) document: String,
    pub(super) fleet_secret: Option<String>,
    pub(super) host_secret: Option<String>,
}

/// Who we are for AWS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    Known(Identity),
    /// There are no credentials, and why.
    Absent(String),
    /// AWS does not accept them.
    Refused(String),
    /// It did not say.
    Unknown(String),
}

#[derive(Debug)]
pub(super) struct AwsFacts {
    pub(super) region: Option<String>,
    pub(super) caller: Caller,
    pub(super) group: Reading<CheckedGroup>,
    pub(super) template: Reading<LaunchTemplate>,
    pub(super) hooks: Reading<Vec<Hook>>,
    pub(super) activities: Reading<Vec<Activity>>,
    /// Instances with an SSM agent, and whether it is online.
    pub(super) agents: Reading<BTreeMap<InstanceId, bool>>,
    pub(super) document: Reading<HostDocument>,
    pub(super) survey: Reading<HostDocument>,
    /// The text of the stable pointer's parameter.
    pub(super) stable: Reading<Option<String>>,
    /// Names of keys; values are dropped where they are read.
    pub(super) fleet_keys: Reading<BTreeSet<String>>,
    pub(super) host_keys: Reading<BTreeSet<String>>,
    pub(super) alarms: Reading<Vec<Alarm>>,
    /// Of each topic that an alarm tells.
    pub(super) subscribers: BTreeMap<String, Reading<Vec<Subscriber>>>,
    pub(super) concurrency: Reading<Concurrency>,
}

impl AwsFacts {
    /// Nothing was asked.
    pub(super) fn none(region: Option<String>, caller: Caller, why: &str) -> AwsFacts {
        AwsFacts {
            region,
            caller,
            group: not_asked(why),
            template: not_asked(why),
            hooks: not_asked(why),
            activities: not_asked(why),
            agents: not_asked(why),
            document: not_asked(why),
            survey: not_asked(why),
            stable: not_asked(why),
            fleet_keys: not_asked(why),
            host_keys: not_asked(why),
            alarms: not_asked(why),
            subscribers: BTreeMap::new(),
            concurrency: not_asked(why),
        }
    }

    /// AWS's clock less this machine's, in seconds.
    pub(super) fn ahead_s(&self, now: UnixMs) -> Option<i64> {
        let Caller::Known(Identity { at: Some(at), .. }) = &self.caller else { return None };
        Some(at.since(now) / 1000)
    }
}

#[derive(Debug)]
pub(super) struct DatabaseFacts {
    /// Where its address is from.
    pub(super) from: String,
    /// Whether it lets us in.
    pub(super) probe: Result<(), ProbeFailure>,
    pub(super) view: Reading<QueueView>,
}

/// Why a database cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ProbeFailure {
    /// Something answered there, or the address itself cannot be used: asking from elsewhere would
    /// not help.
    pub(super) answered: bool,
    pub(super) why: Unknown,
}

pub(super) fn not_asked<T>(why: &str) -> Reading<T> {
    Reading::Unknown(Unknown { cause: UnknownCause::NotAsked, detail: why.to_owned() })
}

/// An instance, by whoever tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Machine {
    pub(super) id: String,
    pub(super) lifecycle: LifecycleState,
    pub(super) healthy: bool,
}

/// How long an instance may take from its launch to its worker's first word.
const BOOT_S: i64 = 300;

impl Facts {
    /// The status, where the API told one.
    pub(super) fn status(&self) -> Option<&Value> {
        self.api.as_ref().ok()
    }

    /// The part of the status at this pointer, or why there is none.
    pub(super) fn told(&self, at: &str) -> Result<&Value, String> {
        let status = self
            .api
            .as_ref()
            .map_err(|failure| format!("the API told no status: {}", failure.message))?;
        let value = status.pointer(at).filter(|value| !value.is_null());
        value
            .ok_or_else(|| format!("the API's status does not tell {}", at.trim_start_matches('/')))
    }

    /// The group's instances by AWS, or else by the API; why they are unknown.
    pub(super) fn machines(&self) -> Result<Vec<Machine>, String> {
        if let Reading::Known(CheckedGroup { group, .. }) = &self.aws.group {
            let machine = |instance: &fleet_core::scaling::Instance| Machine {
                id: instance.id.to_string(),
                lifecycle: instance.lifecycle.clone(),
                healthy: instance.healthy,
            };
            return Ok(group.instances.iter().map(machine).collect());
        }
        let listed = self.told("/instances")?.as_array().map(Vec::as_slice).unwrap_or_default();
        let machine = |instance: &Value| {
            Some(Machine {
                id: instance["instance_id"].as_str()?.to_owned(),
                lifecycle: instance["lifecycle"].as_str()?.into(),
                healthy: instance["healthy"] != false,
            })
        };
        Ok(listed.iter().filter_map(machine).collect())
    }

    /// AWS's clock, or else this machine's.
    pub(super) fn aws_now(&self) -> UnixMs {
        let ahead_s = self.aws.ahead_s(self.now).unwrap_or(0);
        UnixMs(self.now.0 + ahead_s * 1000)
    }

    /// Seconds since the newest activity of this instance that begins with these words; `None` for
    /// an older one than all that were read.
    pub(super) fn age_s(&self, begins: &str, instance: &str) -> Option<i64> {
        let activities = self.aws.activities.known()?;
        let of = |activity: &&Activity| {
            activity.description.starts_with(begins) && activity.description.contains(instance)
        };
        let found = activities.iter().find(of)?;
        Some(self.aws_now().since(found.started) / 1000)
    }

    /// Whether an instance is so young that its agent and its worker may still be silent.
    pub(super) fn boots(&self, instance: &str) -> bool {
        self.age_s("Launching", instance).is_some_and(|age| age < BOOT_S)
    }
}
