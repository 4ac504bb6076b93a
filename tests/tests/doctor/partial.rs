//! Sources that are down or say no: what they would have told is not checked, and the others are.

use crate::world::*;

const NOBODY: &str = "http://127.0.0.1:9";

#[tokio::test(flavor = "multi_thread")]
async fn without_the_api_aws_and_the_database_are_checked_all_the_same() {
    let world = World::start().await;
    let names = ["--group", GROUP, "--environment", "test"];
    let found = world.doctor_with(&names, &[("GHFLEET_URL", NOBODY)]).await;
    assert_eq!(found.code, 69, "{:#?}", found.troubles());
    found.is("not_checked", "access", "API", "refuses the connection", "");
    for (area, check) in [("group", "drain hook"), ("database", "rights"), ("jobs", "oldest wait")]
    {
        assert_eq!(found.of(area, check).0, "ok", "{area}/{check}");
    }
    let found = world.doctor_with(&[], &[("GHFLEET_URL", NOBODY)]).await;
    found.is("not_checked", "group", "group", "name it with --group", "");
    let found = world.doctor_with(&names, &[("GHFLEET_TOKEN", "nobody-s-token-for-tests")]).await;
    assert_eq!(found.code, 1);
    found.names("access", "API", "does not accept GHFLEET_TOKEN (401)", "ghfleet status");
    assert_eq!(found.of("group", "group").0, "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_aws_what_the_api_tells_is_checked_all_the_same() {
    let world = World::start().await;
    let none = [("AWS_ACCESS_KEY_ID", "")];
    let found = world.doctor_with(&[], &none).await;
    assert_eq!(found.code, 69, "{:#?}", found.troubles());
    found.is("not_checked", "access", "AWS credentials", "there are no AWS credentials", "");
    for (area, check) in [("workers", "heartbeats"), ("versions", "hosts"), ("scaling", "ticks")] {
        assert_eq!(found.of(area, check).0, "ok", "{area}/{check}");
    }
    // The address of the database is in a secret that nobody could read.
    found.is("not_checked", "database", "connection", "set GHFLEET_DATABASE_URL", "");
    let own = [none[0], ("GHFLEET_DATABASE_URL", world.url.as_str())];
    let found = world.doctor_with(&[], &own).await;
    assert_eq!(found.of("database", "rights").0, "ok");

    let found = world.doctor_with(&[], &[("AWS_ENDPOINT_URL", NOBODY)]).await;
    found.is("not_checked", "access", "AWS credentials", "did not reach AWS", "");
    world.refuse("GetCallerIdentity", 403, "ExpiredToken");
    let found = world.doctor().await;
    assert_eq!(found.code, 1);
    found.names("access", "AWS credentials", "ExpiredToken", "aws sso login");
    found.is("not_checked", "group", "drain hook", "does not accept the credentials", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_the_operator_may_not_make_is_not_checked_and_says_what_to_allow() {
    let world = World::start().await;
    world.refuse("DescribeAlarms", 403, "AccessDenied");
    world.refuse("GetDocument", 400, "AccessDeniedException");
    let found = world.doctor().await;
    assert_eq!(found.code, 69, "{:#?}", found.troubles());
    let fix = "--policy-document file://docs/policies/doctor.json";
    found.is("not_checked", "alarms", "alarms", "AccessDenied", fix);
    found.is("not_checked", "hosts", "SSM document", "AccessDenied", fix);
    assert_eq!(found.of("hosts", "SSM agents").0, "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_database_what_the_control_plane_misses_is_named() {
    let mut world = World::start().await;
    world.pooler.kill().expect("it ends");
    let found = world.doctor().await;
    assert_eq!(found.code, 1, "the control plane cannot work so");
    found.names("access", "control plane", "it cannot read queue", "autoscale-blind.md");
    found.is("not_checked", "database", "connection", "connection refused", "");
    found.is("not_checked", "jobs", "oldest wait", "does not tell queue", "");
    assert_eq!(found.of("group", "drain hook").0, "ok");
}
