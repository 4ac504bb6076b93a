//! A binary that is told nonsense does not start, and says all of it at once.

use fleet_local::functions;
use std::process::{Command, Output};

fn run(settings: &[(&str, &str)]) -> Output {
    let mut command = Command::new(functions::binary("autoscale").expect("it is built"));
    command.env_clear();
    // Lambda's own; nothing listens at the Runtime API, which a valid configuration would find out.
    let lambda = [
        ("AWS_LAMBDA_FUNCTION_NAME", "autoscale"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "g"),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "s"),
        ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
    ];
    command.envs(lambda).envs(settings.iter().copied()).output().expect("the binary runs")
}

#[test]
fn everything_wrong_is_named_at_once() {
    let output = run(&[
        ("JOBS_PER_WORKER", "0"),
        ("AUTOSCALE_MIN", "7"),
        ("AUTOSCALE_MAX", "3"),
        ("AUTOSCALE_ASG_MIN", "1"),
        ("AUTOSCALE_BOOT_SECONDS", "soon"),
        ("DRY_RUN", "maybe"),
        ("PGBOSS_SCHEMA", "drop table"),
        ("DATABASE_URL", "mysql://app:hunter2@db/x?sslmode=disable"),
    ]);
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    for name in [
        "JOBS_PER_WORKER",
        "AUTOSCALE_MIN",
        "AUTOSCALE_MAX",
        "AUTOSCALE_ASG_MIN",
        "AUTOSCALE_BOOT_SECONDS",
        "DRY_RUN",
        "PGBOSS_SCHEMA",
        "DATABASE_URL",
        "AWS_ASG_NAME",
        "GH_ENVIRONMENT",
    ] {
        assert!(said.contains(name), "{name} is not named in: {said}");
    }
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn non_numbers_and_zero_jobs_are_never_defaulted() {
    let valid = [("AWS_ASG_NAME", "g"), ("GH_ENVIRONMENT", "test")];
    for jobs_per_worker in ["0", "-1", "1.5", "NaN", "many", " 1"] {
        let mut settings = valid.to_vec();
        settings.push(("JOBS_PER_WORKER", jobs_per_worker));
        assert_eq!(run(&settings).status.code(), Some(78), "{jobs_per_worker:?}");
    }
    // Empty counts as not set, as on hosts: the function gets as far as its runtime, which is away.
    let mut settings = valid.to_vec();
    settings.push(("JOBS_PER_WORKER", ""));
    assert_eq!(run(&settings).status.code(), Some(1));
}
