//! AWS, with the operator's credentials. Every call reads.

use crate::doctor::facts::{AwsFacts, Caller, Names, not_asked};
use fleet_clients::aws::{Aws, AwsError, AwsErrorKind};
use fleet_clients::checkup::{
    Alarm, CheckedGroup, Checkup, LaunchTemplate, Subscriber, TemplateRef,
};
use fleet_clients::config::AwsConfig;
use fleet_clients::parameters::Parameters;
use fleet_clients::rollouts::Rollouts;
use fleet_clients::secrets::{SecretFields, Secrets, Stage};
use fleet_protocol::ids::{GroupName, InstanceId};
use fleet_protocol::reading::{Reading, Unknown};
use fleet_protocol::{document, stable};
use std::collections::{BTreeMap, BTreeSet};

const NO_GROUP: &str = "no group is known: the API told none, so name it with --group";
const NO_ENVIRONMENT: &str =
    "no environment is known: the API told none, so name it with --environment";
/// Topics that are looked at; a stack has one.
const TOPICS: usize = 5;

/// Everything that AWS tells, and the fleet's secret for whoever needs the database's address.
pub(super) async fn read(config: &AwsConfig, names: &Names) -> (AwsFacts, Option<SecretFields>) {
    let aws = Aws::new(config);
    let checkup = Checkup::new(&aws, config);
    let region = Some(config.region.clone());
    let caller = match checkup.identity().await {
        Ok(identity) => Caller::Known(identity),
        Err(AwsError { kind: AwsErrorKind::Denied, detail, .. }) => Caller::Refused(detail),
        Err(error) => Caller::Unknown(error.detail),
    };
    let refused = match &caller {
        Caller::Refused(_) => Some("AWS does not accept the credentials"),
        Caller::Unknown(_) => Some("AWS did not say who the credentials are"),
        Caller::Known(_) | Caller::Absent(_) => None,
    };
    if let Some(why) = refused {
        return (AwsFacts::none(region, caller, why), None);
    }
    let group_name = names.group.as_deref().map(GroupName::new);
    let group_name = group_name.as_ref();
    let (of_group, agents, documents, stable, fleet, hosts, alarms, concurrency) = tokio::join!(
        of_group(&checkup, group_name),
        agents(&aws, names, group_name),
        async {
            let survey = document::survey(&names.document);
            tokio::join!(checkup.document(&names.document), checkup.document(&survey))
        },
        stable(&aws, names.environment.as_deref()),
        secret(&aws, names.fleet_secret.as_deref()),
        secret(&aws, names.host_secret.as_deref()),
        alarms(&checkup, names.environment.as_deref()),
        checkup.concurrency(),
    );
    let OfGroup { group, template, hooks, activities } = of_group;
    let (alarms, subscribers) = alarms;
    let facts = AwsFacts {
        region,
        caller,
        group,
        template,
        hooks,
        activities,
        agents,
        document: documents.0,
        survey: documents.1,
        stable,
        fleet_keys: keys(&fleet),
        host_keys: keys(&hosts),
        alarms,
        subscribers,
        concurrency: reading(concurrency),
    };
    let fields = if let Reading::Known(fields) = fleet { Some(fields) } else { None };
    (facts, fields)
}

/// What the group itself tells.
struct OfGroup {
    group: Reading<CheckedGroup>,
    template: Reading<LaunchTemplate>,
    hooks: Reading<Vec<fleet_clients::checkup::Hook>>,
    activities: Reading<Vec<fleet_clients::checkup::Activity>>,
}

async fn of_group(checkup: &Checkup, name: Option<&GroupName>) -> OfGroup {
    let Some(name) = name else {
        return OfGroup {
            group: not_asked(NO_GROUP),
            template: not_asked(NO_GROUP),
            hooks: not_asked(NO_GROUP),
            activities: not_asked(NO_GROUP),
        };
    };
    let group_and_template = async {
        let group = checkup.group(name).await;
        let named = group.known().and_then(|group| group.template.as_ref());
        let template = match named {
            Some(TemplateRef { id, version }) => {
                reading(checkup.launch_template(id, version).await)
            }
            None => not_asked("the group tells no launch template"),
        };
        (group, template)
    };
    let ((group, template), hooks, activities) =
        tokio::join!(group_and_template, checkup.hooks(name), checkup.activities(name));
    OfGroup { group, template, hooks, activities }
}

async fn agents(
    aws: &Aws,
    names: &Names,
    group: Option<&GroupName>,
) -> Reading<BTreeMap<InstanceId, bool>> {
    let Some(group) = group else { return not_asked(NO_GROUP) };
    let environment = names.environment.as_deref().unwrap_or_default();
    Rollouts::new(aws, environment, group.clone(), names.document.clone()).managed().await
}

async fn stable(aws: &Aws, environment: Option<&str>) -> Reading<Option<String>> {
    match environment {
        Some(environment) => Parameters::new(aws).get(&stable::parameter(environment)).await,
        None => not_asked(NO_ENVIRONMENT),
    }
}

async fn secret(aws: &Aws, id: Option<&str>) -> Reading<SecretFields> {
    let Some(id) = id else { return not_asked(NO_ENVIRONMENT) };
    match Secrets::new(aws, id).fetch(Stage::Current).await {
        Ok(fields) => Reading::Known(fields),
        Err(error) => Reading::Unknown(error.into()),
    }
}

/// The names, without their values.
fn keys(of: &Reading<SecretFields>) -> Reading<BTreeSet<String>> {
    match of {
        Reading::Known(fields) => Reading::Known(fields.keys().map(str::to_owned).collect()),
        Reading::Unknown(unknown) => Reading::Unknown(unknown.clone()),
    }
}

async fn alarms(
    checkup: &Checkup,
    environment: Option<&str>,
) -> (Reading<Vec<Alarm>>, BTreeMap<String, Reading<Vec<Subscriber>>>) {
    let Some(environment) = environment else {
        return (not_asked(NO_ENVIRONMENT), BTreeMap::new());
    };
    let alarms = match checkup.alarms(&format!("ghosthands-{environment}-")).await {
        Ok(alarms) => alarms,
        Err(error) => return (Reading::Unknown(error.into()), BTreeMap::new()),
    };
    let topics: BTreeSet<&String> =
        alarms.iter().flat_map(|alarm| &alarm.tells).filter(|arn| arn.contains(":sns:")).collect();
    let mut subscribers = BTreeMap::new();
    for topic in topics.into_iter().take(TOPICS) {
        subscribers.insert(topic.clone(), reading(checkup.subscribers(topic).await));
    }
    (Reading::Known(alarms), subscribers)
}

fn reading<T>(answer: Result<T, AwsError>) -> Reading<T> {
    answer.map_or_else(|error| Reading::Unknown(Unknown::from(error)), Reading::Known)
}
