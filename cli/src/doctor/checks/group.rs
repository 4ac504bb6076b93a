//! The group as it is set up: bounds, processes, launch template, hook.

use super::listed;
use crate::doctor::diagnosis::{Check, Diagnosis};
use crate::doctor::facts::Facts;
use fleet_clients::checkup::{CheckedGroup, Hook, LaunchTemplate};
use fleet_protocol::reading::Reading;

const AREA: &str = "group";
const TERMINATING: &str = "autoscaling:EC2_INSTANCE_TERMINATING";
/// What fleet.yaml sets, and the least that outlasts two lost passes of the drain function.
const HEARTBEAT_S: u32 = 300;
const HEARTBEAT_AT_LEAST_S: u32 = 180;

pub(super) fn findings(facts: &Facts) -> Vec<Diagnosis> {
    let Reading::Known(group) = &facts.aws.group else {
        let mut found = vec![exists(facts)];
        // Each of them is about a group that nobody saw.
        if !matches!(&facts.aws.group, Reading::Unknown(why) if is_missing(why)) {
            found.extend([unseen(facts, "processes"), unseen(facts, "launch template")]);
            found.push(unseen(facts, "drain hook"));
        }
        return found;
    };
    let mut found = vec![exists(facts), processes(group), template(facts, group)];
    found.extend(hook(facts, group));
    found
}

fn is_missing(why: &fleet_protocol::reading::Unknown) -> bool {
    why.cause == fleet_protocol::reading::UnknownCause::Missing
}

fn unseen(facts: &Facts, name: &'static str) -> Diagnosis {
    let check = Check::new(AREA, name, "DescribeAutoScalingGroups");
    match &facts.aws.group {
        Reading::Unknown(why) => check.not_checked(&why.detail),
        Reading::Known(_) => check.not_checked("it was not looked at"),
    }
}

fn exists(facts: &Facts) -> Diagnosis {
    let check = Check::new(AREA, "group", "DescribeAutoScalingGroups");
    match &facts.aws.group {
        Reading::Known(CheckedGroup { group, .. }) => check.ok(format!(
            "{}: {} desired, {} to {}, {} instances",
            group.name,
            group.desired,
            group.min,
            group.max,
            group.instances.len()
        )),
        Reading::Unknown(why) => check.unknown(
            why,
            "aws autoscaling describe-auto-scaling-groups --query \
             AutoScalingGroups[].AutoScalingGroupName",
        ),
    }
}

fn processes(checked: &CheckedGroup) -> Diagnosis {
    let check = Check::new(AREA, "processes", "SuspendedProcesses of the group");
    let suspended = &checked.group.suspended;
    if suspended.is_empty() {
        return check.ok("none is suspended");
    }
    let fix = format!(
        "aws autoscaling resume-processes --auto-scaling-group-name {}",
        checked.group.name
    );
    let finding = format!("somebody suspended {}", listed(suspended));
    let stops = |name: &String| ["Launch", "Terminate"].contains(&name.as_str());
    if suspended.iter().any(stops) {
        check.fault(format!("{finding}: the group does not follow its desired capacity"), fix)
    } else {
        check.warning(finding, fix)
    }
}

fn template(facts: &Facts, checked: &CheckedGroup) -> Diagnosis {
    let check = Check::new(AREA, "launch template", "DescribeLaunchTemplateVersions");
    let Some(named) = &checked.template else {
        return check.warning(
            "the group launches by a launch configuration, which AWS no longer develops",
            "aws cloudformation deploy --template-file fleet.yaml --stack-name ghosthands-workers",
        );
    };
    let show = format!(
        "aws ec2 describe-launch-template-versions --launch-template-id {} --versions {}",
        named.id,
        named.version.replace('$', "\\$")
    );
    match &facts.aws.template {
        Reading::Known(template) => judge_template(check, template, show),
        Reading::Unknown(why) => check.unknown(why, show),
    }
}

/// docs/HOST.md: the host reads its environment from the instance's tags, its secret and its image
/// by the instance profile, and guards the metadata by asking for tokens.
fn judge_template(check: Check, template: &LaunchTemplate, show: String) -> Diagnosis {
    let LaunchTemplate { name, version, image, instance_type, .. } = template;
    let what = format!("{name} version {version}");
    if template.profile.is_empty() {
        return check.fault(
            format!("{what} has no instance profile: hosts reach neither SSM nor their secret"),
            show,
        );
    }
    let mut lacks = Vec::new();
    if template.metadata_tags != "enabled" {
        lacks.push("InstanceMetadataTags is not enabled, so hosts cannot read their environment");
    }
    if template.http_tokens != "required" {
        lacks.push("HttpTokens is not required, so instance metadata is given without a token");
    }
    if lacks.is_empty() {
        return check.ok(format!("{what}: {instance_type} of {image}"));
    }
    check.warning(format!("{what}: {}", lacks.join("; ")), show)
}

fn hook(facts: &Facts, checked: &CheckedGroup) -> Vec<Diagnosis> {
    let check = || Check::new(AREA, "drain hook", "DescribeLifecycleHooks");
    let (group, name) = (&checked.group.name, &facts.names.hook);
    let put = format!(
        "aws autoscaling put-lifecycle-hook --auto-scaling-group-name {group} \
         --lifecycle-hook-name {name} --heartbeat-timeout {HEARTBEAT_S} --default-result ABANDON \
         --lifecycle-transition {TERMINATING}"
    );
    let hooks = match &facts.aws.hooks {
        Reading::Known(hooks) => hooks,
        Reading::Unknown(why) => return vec![check().unknown(why, put)],
    };
    let mut found = vec![match hooks.iter().find(|hook| &hook.name == name) {
        Some(hook) => judge_hook(check(), hook, put),
        None => {
            let others: Vec<&str> = hooks.iter().map(|hook| hook.name.as_str()).collect();
            let others = match others.is_empty() {
                true => "none at all".to_owned(),
                false => listed(&others),
            };
            let finding = format!(
                "the group has no hook {name} ({others}): instances end without waiting for jobs"
            );
            check().fault(finding, put)
        }
    }];
    let retention = Check::new(AREA, "retention", "InstanceLifecyclePolicy of the group");
    found.push(if checked.retains {
        retention.ok("an instance whose hook ran out is kept")
    } else {
        let finding = "an instance whose hook ran out is ended, with its job";
        let fix = format!(
            "aws autoscaling update-auto-scaling-group --auto-scaling-group-name {group} \
             --instance-lifecycle-policy RetentionTriggers={{TerminateHookAbandon=retain}}"
        );
        retention.fault(finding, fix)
    });
    let strange: Vec<&str> = hooks
        .iter()
        .filter(|hook| hook.transition == TERMINATING && &hook.name != name)
        .map(|hook| hook.name.as_str())
        .collect();
    if !strange.is_empty() {
        let finding = format!(
            "leaving instances wait for {} too, which nobody of this fleet completes",
            listed(&strange)
        );
        let fix = format!(
            "aws autoscaling delete-lifecycle-hook --auto-scaling-group-name {group} \
             --lifecycle-hook-name {}",
            strange[0]
        );
        found.push(Check::new(AREA, "other hooks", "DescribeLifecycleHooks").warning(finding, fix));
    }
    found
}

fn judge_hook(check: Check, hook: &Hook, put: String) -> Diagnosis {
    let Hook { name, transition, heartbeat_s, default_result } = hook;
    if transition != TERMINATING {
        return check.fault(
            format!("{name} is a hook of {transition}, so nothing holds a leaving instance"),
            put,
        );
    }
    if default_result != "ABANDON" {
        return check.fault(
            format!(
                "{name} ends in {default_result}: an instance goes with its job when it runs out"
            ),
            put,
        );
    }
    if *heartbeat_s < HEARTBEAT_AT_LEAST_S {
        return check.fault(
            format!(
                "{name} runs out after {heartbeat_s} s; {HEARTBEAT_AT_LEAST_S} s are needed to \
                 outlast lost passes of the drain function"
            ),
            put,
        );
    }
    if *heartbeat_s != HEARTBEAT_S {
        let finding = format!("{name} runs out after {heartbeat_s} s, not {HEARTBEAT_S} s");
        return check.warning(finding, put);
    }
    check.ok(format!("{name}: {heartbeat_s} s, {default_result}"))
}
