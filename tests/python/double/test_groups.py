"""Auto Scaling through boto3: bounds, victims, boots, history."""

from aws import START, describe, ids, refused, start, states


def create(autoscaling, **more):
    autoscaling.create_auto_scaling_group(
        **{
            "AutoScalingGroupName": "fleet",
            "MinSize": 1,
            "MaxSize": 4,
            "LaunchTemplate": {"LaunchTemplateName": "worker", "Version": "3"},
            "AvailabilityZones": ["us-east-1a"],
            **more,
        }
    )


def test_a_group_launches_boots_and_serves(double, autoscaling):
    create(
        autoscaling,
        DesiredCapacity=2,
        Tags=[{"Key": "role", "Value": "worker", "PropagateAtLaunch": True}],
    )
    group = describe(autoscaling)
    assert (group["MinSize"], group["MaxSize"], group["DesiredCapacity"]) == (1, 4, 2)
    assert group["LaunchTemplate"]["Version"] == "3"
    assert (
        group["Tags"][0] | {"ResourceId": "fleet", "Key": "role", "PropagateAtLaunch": True}
        == group["Tags"][0]
    )
    assert states(autoscaling) == ["Pending", "Pending"]
    double.advance(29.9)
    assert states(autoscaling) == ["Pending", "Pending"]
    double.advance(0.1)
    assert states(autoscaling) == ["InService", "InService"]
    assert double.kinds() == ["Launching"] * 2 + ["InService"] * 2


def test_a_bad_group_is_refused_with_the_reason(autoscaling):
    assert "Max bound, 1" in refused(
        "ValidationError", create, autoscaling=autoscaling, MinSize=2, MaxSize=1
    )
    message = refused("ValidationError", create, autoscaling=autoscaling, DesiredCapacity=9)
    assert message == "Desired capacity:9 must be between the specified min size:1 and max size:4"
    message = refused("ValidationError", create, autoscaling=autoscaling, AvailabilityZones=[])
    assert message == "At least one Availability Zone or VPC Subnet is required."
    create(autoscaling)
    assert "already exists" in refused("AlreadyExists", create, autoscaling=autoscaling)


def test_what_is_not_modelled_is_refused_not_ignored(autoscaling):
    message = refused(
        "ValidationError", create, autoscaling=autoscaling, MaxInstanceLifetime=86_400
    )
    assert message == "The double does not model the parameter MaxInstanceLifetime"
    refused("InvalidAction", autoscaling.describe_warm_pool, AutoScalingGroupName="fleet")


def test_set_desired_capacity_keeps_to_the_bounds(double, autoscaling):
    double.group("fleet")
    set_desired = autoscaling.set_desired_capacity
    message = refused(
        "ValidationError", set_desired, AutoScalingGroupName="fleet", DesiredCapacity=9
    )
    assert (
        message == "New SetDesiredCapacity value 9 is above max value 4 for the AutoScalingGroup."
    )
    message = refused(
        "ValidationError", set_desired, AutoScalingGroupName="fleet", DesiredCapacity=0
    )
    assert (
        message == "New SetDesiredCapacity value 0 is below min value 1 for the AutoScalingGroup."
    )
    assert "not found" in refused(
        "ValidationError", set_desired, AutoScalingGroupName="ghost", DesiredCapacity=1
    )
    set_desired(AutoScalingGroupName="fleet", DesiredCapacity=3)
    assert (describe(autoscaling)["DesiredCapacity"], len(ids(autoscaling))) == (3, 3)
    again = {"AutoScalingGroupName": "fleet", "DesiredCapacity": 2, "HonorCooldown": True}
    refused("ScalingActivityInProgress", set_desired, **again)
    double.advance(300)
    set_desired(**again)


def test_scale_in_takes_the_oldest_unprotected(double, autoscaling):
    double.group("fleet", desired=1)
    autoscaling.set_desired_capacity(AutoScalingGroupName="fleet", DesiredCapacity=3)
    double.advance(60)
    oldest, middle, newest = ids(autoscaling)
    autoscaling.set_instance_protection(
        AutoScalingGroupName="fleet", InstanceIds=[oldest], ProtectedFromScaleIn=True
    )
    autoscaling.set_desired_capacity(AutoScalingGroupName="fleet", DesiredCapacity=1)
    double.advance(60)
    assert ids(autoscaling) == [oldest]
    assert describe(autoscaling)["Instances"][0]["ProtectedFromScaleIn"] is True
    gone = [t["instance"] for t in double.control("GET", "/events") if t["kind"] == "Terminated"]
    assert gone == [middle, newest]
    refused(
        "ValidationError",
        autoscaling.set_instance_protection,
        AutoScalingGroupName="fleet",
        InstanceIds=["i-0123456789abcdef0"],
        ProtectedFromScaleIn=True,
    )


def test_terminate_names_the_victim(double, autoscaling):
    double.group("fleet", desired=3)
    first, second, third = ids(autoscaling)
    terminate = autoscaling.terminate_instance_in_auto_scaling_group
    activity = terminate(InstanceId=second, ShouldDecrementDesiredCapacity=True)["Activity"]
    assert activity["StatusCode"] == "InProgress"
    assert activity["Description"] == f"Terminating EC2 instance: {second}"
    assert "shrinking the capacity from 3 to 2" in activity["Cause"]
    assert describe(autoscaling)["DesiredCapacity"] == 2
    again = {"InstanceId": second, "ShouldDecrementDesiredCapacity": True}
    refused("ScalingActivityInProgress", terminate, **again)
    double.advance(10)
    assert ids(autoscaling) == [first, third]
    assert "No managed instance found" in refused("ValidationError", terminate, **again)

    terminate(InstanceId=first, ShouldDecrementDesiredCapacity=False)
    assert (describe(autoscaling)["DesiredCapacity"], len(ids(autoscaling))) == (2, 3)
    double.advance(60)
    terminate(InstanceId=third, ShouldDecrementDesiredCapacity=True)
    (last,) = [
        i["InstanceId"]
        for i in describe(autoscaling)["Instances"]
        if i["LifecycleState"] == "InService"
    ]
    message = refused(
        "ValidationError", terminate, InstanceId=last, ShouldDecrementDesiredCapacity=True
    )
    assert message.startswith("Currently, desiredSize equals minSize (1).")


def test_update_moves_the_desired_capacity_into_the_bounds(double, autoscaling):
    double.group("fleet", high=6, desired=5)
    autoscaling.update_auto_scaling_group(AutoScalingGroupName="fleet", MaxSize=2)
    assert describe(autoscaling)["DesiredCapacity"] == 2
    autoscaling.update_auto_scaling_group(
        AutoScalingGroupName="fleet", MinSize=0, DesiredCapacity=0
    )
    double.advance(60)
    assert states(autoscaling) == []


def test_an_instance_keeps_the_template_it_was_launched_from(double, autoscaling):
    create(autoscaling)
    newer = {"LaunchTemplateName": "worker", "Version": "$Latest"}
    autoscaling.update_auto_scaling_group(
        AutoScalingGroupName="fleet", LaunchTemplate=newer, DesiredCapacity=2
    )
    group = describe(autoscaling)
    assert group["LaunchTemplate"]["Version"] == "$Latest"
    assert [i["LaunchTemplate"]["Version"] for i in group["Instances"]] == ["3", "1"]


def test_delete_needs_force_while_instances_live(double, autoscaling):
    double.group("fleet")
    refused("ResourceInUse", autoscaling.delete_auto_scaling_group, AutoScalingGroupName="fleet")
    autoscaling.delete_auto_scaling_group(AutoScalingGroupName="fleet", ForceDelete=True)
    assert describe(autoscaling)["Status"] == "Delete in progress"
    double.advance(60)
    assert autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"] == []


def test_unhealthy_and_lost_machines_are_replaced(double, autoscaling):
    double.group("fleet", desired=2)
    sick, lost = ids(autoscaling)
    autoscaling.set_instance_health(InstanceId=sick, HealthStatus="Unhealthy")
    double.control("POST", f"/instances/{lost}/lose")
    double.advance(60)
    assert states(autoscaling) == ["InService", "InService"]
    assert not {sick, lost} & set(ids(autoscaling))
    causes = [
        a["Cause"]
        for a in autoscaling.describe_scaling_activities(AutoScalingGroupName="fleet")["Activities"]
    ]
    assert sum("health check" in cause for cause in causes) == 2


def test_suspended_processes_hold_still(double, autoscaling):
    double.group("fleet", desired=2)
    autoscaling.suspend_processes(
        AutoScalingGroupName="fleet", ScalingProcesses=["Terminate", "Launch"]
    )
    suspended = {p["ProcessName"] for p in describe(autoscaling)["SuspendedProcesses"]}
    assert suspended == {"Terminate", "Launch"}
    autoscaling.set_desired_capacity(AutoScalingGroupName="fleet", DesiredCapacity=1)
    double.advance(600)
    assert states(autoscaling) == ["InService", "InService"]
    autoscaling.resume_processes(AutoScalingGroupName="fleet")
    double.advance(60)
    assert states(autoscaling) == ["InService"]
    bad = {"AutoScalingGroupName": "fleet", "ScalingProcesses": ["Nap"]}
    refused("ValidationError", autoscaling.suspend_processes, **bad)


def test_tags_filter_groups(double, autoscaling):
    for name in ("one", "two"):
        double.group(name)
    tag = {
        "ResourceId": "one",
        "ResourceType": "auto-scaling-group",
        "Key": "ghosthands:floor",
        "Value": "2@x",
    }
    autoscaling.create_or_update_tags(Tags=[tag | {"PropagateAtLaunch": False}])
    by_tag = autoscaling.describe_auto_scaling_groups(
        Filters=[{"Name": "tag:ghosthands:floor", "Values": ["2@x"]}]
    )
    assert [group["AutoScalingGroupName"] for group in by_tag["AutoScalingGroups"]] == ["one"]
    by_key = autoscaling.describe_tags(Filters=[{"Name": "auto-scaling-group", "Values": ["one"]}])[
        "Tags"
    ]
    assert [(tag["Key"], tag["Value"]) for tag in by_key] == [("ghosthands:floor", "2@x")]
    autoscaling.delete_tags(Tags=[tag])
    assert autoscaling.describe_tags()["Tags"] == []
    refused(
        "ValidationError",
        autoscaling.describe_tags,
        Filters=[{"Name": "colour", "Values": ["red"]}],
    )


def test_listings_come_in_pages(double, autoscaling):
    names = [f"group-{n}" for n in range(5)]
    for name in names:
        double.group(name, desired=2)
    pages = autoscaling.get_paginator("describe_auto_scaling_groups").paginate(
        PaginationConfig={"PageSize": 2}
    )
    sizes = [
        [group["AutoScalingGroupName"] for group in page["AutoScalingGroups"]] for page in pages
    ]
    assert sizes == [names[:2], names[2:4], names[4:]]
    instances = autoscaling.get_paginator("describe_auto_scaling_instances")
    listed = [
        i
        for page in instances.paginate(PaginationConfig={"PageSize": 3})
        for i in page["AutoScalingInstances"]
    ]
    assert len({i["InstanceId"] for i in listed}) == len(listed) == 10
    refused("InvalidNextToken", autoscaling.describe_auto_scaling_groups, NextToken="nonsense")
    refused("ValidationError", autoscaling.describe_auto_scaling_groups, MaxRecords=101)


def test_describe_instances_omits_strangers(double, autoscaling):
    double.group("fleet")
    known = ids(autoscaling)
    answer = autoscaling.describe_auto_scaling_instances(
        InstanceIds=[*known, "i-0123456789abcdef0"]
    )
    (instance,) = answer["AutoScalingInstances"]
    assert (instance["InstanceId"], instance["HealthStatus"]) == (known[0], "HEALTHY")


def test_activities_tell_what_happened_and_why(double, autoscaling):
    double.group("fleet")
    autoscaling.set_desired_capacity(AutoScalingGroupName="fleet", DesiredCapacity=2)
    newest, first = autoscaling.describe_scaling_activities(AutoScalingGroupName="fleet")[
        "Activities"
    ]
    assert (newest["StatusCode"], first["StatusCode"]) == ("PreInService", "Successful")
    assert (
        "a user request explicitly set group desired capacity "
        "changing the desired capacity from 1 to 2" in newest["Cause"]
    )
    assert "an instance was started in response to a difference" in newest["Cause"]
    assert first["EndTime"] > first["StartTime"]
    assert "EndTime" not in newest


def test_an_instance_refresh_is_recorded(double, autoscaling):
    double.group("fleet")
    describe_all = autoscaling.describe_instance_refreshes
    assert describe_all(AutoScalingGroupName="fleet")["InstanceRefreshes"] == []
    started = autoscaling.start_instance_refresh(AutoScalingGroupName="fleet")["InstanceRefreshId"]
    refused(
        "InstanceRefreshInProgress",
        autoscaling.start_instance_refresh,
        AutoScalingGroupName="fleet",
    )
    (refresh,) = describe_all(AutoScalingGroupName="fleet")["InstanceRefreshes"]
    assert (refresh["InstanceRefreshId"], refresh["Status"]) == (started, "InProgress")
    assert (
        autoscaling.cancel_instance_refresh(AutoScalingGroupName="fleet")["InstanceRefreshId"]
        == started
    )
    (refresh,) = describe_all(AutoScalingGroupName="fleet", InstanceRefreshIds=[started])[
        "InstanceRefreshes"
    ]
    assert refresh["Status"] == "Cancelled" and "EndTime" in refresh
    refused(
        "ActiveInstanceRefreshNotFound",
        autoscaling.cancel_instance_refresh,
        AutoScalingGroupName="fleet",
    )


def test_the_same_seed_gives_the_same_fleet(tmp_path):
    runs = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        program, double = start(folder, "--clock", START, "--seed", "42")
        double.group("fleet", desired=3)
        runs.append(ids(double.client("autoscaling")))
        program.stop()
    assert runs[0] == runs[1] and len(set(runs[0])) == 3
