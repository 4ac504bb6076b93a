//! The little of EC2 that a fleet asks for: which of its machines run, and what they are launched
//! from.

use jiff::Timestamp;

use crate::asg::{AutoScaling, Group, Instance, LifecycleState};
use crate::error::ApiError;
use crate::wire::form::Form;
use crate::wire::xml::Xml;

pub(super) const VERSION: &str = "2016-11-15";
pub(super) const NAMESPACE: &str = "http://ec2.amazonaws.com/doc/2016-11-15/";

/// Runs one action. `None` when there is no such action here.
pub(super) fn call(
    action: &str,
    form: &mut Form,
    asg: &mut AutoScaling,
    has_template: impl Fn(&str) -> bool,
) -> Option<Result<Xml, ApiError>> {
    match action {
        "DescribeInstances" => Some(describe_instances(form, asg)),
        "DescribeLaunchTemplateVersions" => Some(describe_template(form, asg, has_template)),
        _ => None,
    }
}

/// One version of a launch template that a group names. Each has one, and what fleet.yaml writes
/// into it.
fn describe_template(
    form: &mut Form,
    asg: &AutoScaling,
    has_template: impl Fn(&str) -> bool,
) -> Result<Xml, ApiError> {
    let id = form.required("LaunchTemplateId")?;
    let versions: Vec<String> =
        form.numbered("LaunchTemplateVersion").into_iter().filter_map(|mut v| v.text("")).collect();
    form.finish()?;
    let template = asg.groups().values().map(|group| &group.template).find(|it| it.id == id);
    let Some(template) = template.filter(|_| has_template(&id)) else {
        return Err(ApiError::new(
            "InvalidLaunchTemplateId.NotFound",
            format!("The specified launch template, with template ID {id}, does not exist."),
        ));
    };
    if let Some(other) =
        versions.iter().find(|version| !["$Default", "$Latest", "1"].contains(&version.as_str()))
    {
        return Err(ApiError::new(
            "InvalidLaunchTemplateId.VersionNotFound",
            format!("Could not find the specified version {other} for the launch template {id}."),
        ));
    }
    let mut x = Xml::default();
    x.items("launchTemplateVersionSet", [template], |x, template| {
        x.text("launchTemplateId", &template.id)
            .text("launchTemplateName", &template.name)
            .text("versionNumber", 1)
            .text("defaultVersion", true)
            .node("launchTemplateData", |x| {
                x.text("imageId", "ami-0a1b2c3d4e5f60718")
                    .text("instanceType", "t3.large")
                    .node("iamInstanceProfile", |x| {
                        x.text("arn", "arn:aws:iam::123456789012:instance-profile/worker");
                    })
                    .node("metadataOptions", |x| {
                        x.text("httpTokens", "required").text("instanceMetadataTags", "enabled");
                    });
            });
    });
    Ok(x)
}

/// Code and name of an instance's state.
type State = (u8, &'static str);

const PENDING: State = (0, "pending");
const RUNNING: State = (16, "running");
const SHUTTING_DOWN: State = (32, "shutting-down");
const TERMINATED: State = (48, "terminated");

/// EC2 knows of a machine that died before its group does.
fn state(group: &Group, instance: &Instance, now: Timestamp) -> State {
    match (instance.lost_at, instance.state) {
        (Some(at), _) if now >= at + group.shutdown => TERMINATED,
        (Some(_), _) | (None, LifecycleState::Terminating | LifecycleState::TerminatingProceed) => {
            SHUTTING_DOWN
        }
        (None, LifecycleState::Pending) => PENDING,
        (None, _) => RUNNING,
    }
}

fn describe_instances(form: &mut Form, asg: &AutoScaling) -> Result<Xml, ApiError> {
    let invalid = |message: String| ApiError::new("InvalidParameterValue", message);
    let ids: Vec<String> =
        form.numbered("InstanceId").into_iter().filter_map(|mut id| id.text("")).collect();
    let mut filters = Vec::new();
    for mut filter in form.numbered("Filter") {
        let name = filter.required("Name")?;
        let values: Vec<String> =
            filter.numbered("Value").into_iter().filter_map(|mut v| v.text("")).collect();
        filter.finish()?;
        if !["instance-id", "instance-state-name"].contains(&name.as_str()) {
            return Err(invalid(format!("The filter '{name}' is invalid")));
        }
        filters.push((name, values));
    }
    let size = match form.number("MaxResults")? {
        None => 1000,
        Some(n) if (5..=1000).contains(&n) => usize::try_from(n).unwrap_or(1000),
        Some(n) => {
            return Err(invalid(format!("MaxResults must be between 5 and 1000, not {n}")));
        }
    };
    let from = match form.text("NextToken").filter(|t| !t.is_empty()) {
        None => 0,
        Some(token) => token
            .parse::<usize>()
            .map_err(|_| ApiError::new("InvalidNextToken", format!("{token} is no token")))?,
    };
    form.finish()?;
    let now = asg.now();
    let living = asg.groups().values().flat_map(|group| {
        group.instances.iter().map(move |i| (i.id.as_str(), state(group, i, now)))
    });
    let departed = asg.departed().keys().map(|id| (id.as_str(), TERMINATED));
    let all: Vec<(&str, State)> = living.chain(departed).collect();
    if let Some(id) = ids.iter().find(|id| !all.iter().any(|(known, _)| known == id)) {
        return Err(ApiError::new(
            "InvalidInstanceID.NotFound",
            format!("The instance ID '{id}' does not exist"),
        ));
    }
    let found: Vec<(&str, State)> = all
        .into_iter()
        .filter(|(id, _)| ids.is_empty() || ids.iter().any(|wanted| wanted == id))
        .filter(|(id, (_, state))| {
            filters.iter().all(|(name, values)| {
                let value = if name == "instance-id" { id } else { state };
                values.iter().any(|wanted| wanted == value)
            })
        })
        .collect();
    let next = (found.len() > from.saturating_add(size)).then(|| from + size);
    let mut x = Xml::default();
    x.items("reservationSet", found.into_iter().skip(from).take(size), |x, (id, (code, name))| {
        x.text("reservationId", id.replacen("i-", "r-", 1)).items("instancesSet", [id], |x, id| {
            x.text("instanceId", id).node("instanceState", |x| {
                x.text("code", code).text("name", name);
            });
        });
    })
    .maybe("nextToken", next);
    Ok(x)
}
