use super::*;

type Env = BTreeMap<String, String>;

/// What Lambda and the template always set, and nothing more.
const LEAST: [(&str, &str); 5] = [
    ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"),
    ("AWS_ASG_NAME", "ghosthands-worker-asg"),
    ("AWS_REGION", "us-east-1"),
    ("AWS_SECRET_ACCESS_KEY", "hunter2-access-key"),
    ("GH_ENVIRONMENT", "staging"),
];

/// The least settings, and these.
pub(super) fn env(more: &[(&str, &str)]) -> Env {
    let all = LEAST.iter().chain(more);
    all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn config(more: &[(&str, &str)]) -> AutoscaleConfig {
    AutoscaleConfig::from_env(&env(more)).unwrap()
}

fn report(more: &[(&str, &str)]) -> String {
    AutoscaleConfig::from_env(&env(more)).unwrap_err().to_string()
}

/// The report's one line about the one setting that is wrong.
fn problem(name: &str, value: &str) -> String {
    let error = AutoscaleConfig::from_env(&env(&[(name, value)])).unwrap_err();
    assert_eq!(error.problems.len(), 1, "{error}");
    assert_eq!(error.problems[0].variable, name);
    error.problems[0].to_string()
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let config = config(&[]);
    assert!(!config.enabled && !config.dry_run);
    let policy = Policy {
        min: 1,
        max: 10,
        jobs_per_worker: NonZeroU32::MIN,
        wait_value: 6,
        boot_s: 95,
        hold_min_s: 30,
        idle_confirm_s: 20,
        ..Policy::default()
    };
    assert_eq!(config.policy, policy);
    assert_eq!(config.state_parameter, "/ghosthands/staging/autoscale/state");
    assert_eq!(config.database.secret_id, "ghosthands/staging/fleet");
    assert_eq!(config.secret_id, "ghosthands/staging/fleet");
    assert_eq!(
        (config.queue.schema.as_str(), config.queue.name.as_str()),
        ("pgboss", "gh_apply_job")
    );
    assert!(config.database.url.is_none() && config.database.ca_pem.is_none());
    assert!(config.tokens.is_none() && config.aws.session_token.is_none());
    assert_eq!(config.aws.endpoints, Endpoints::default());
}

#[test]
fn what_is_set_is_used() {
    let config = config(&[
        ("AUTOSCALE_ASG_ENABLED", "true"),
        ("AUTOSCALE_MIN", "0"),
        ("AUTOSCALE_MAX", "25"),
        ("AUTOSCALE_STATE_PARAMETER", "/elsewhere/state"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:4566"),
        ("AWS_ENDPOINT_URL_SSM", "https://ssm.internal"),
        ("AWS_SESSION_TOKEN", "hunter2-session"),
        ("DATABASE_DIRECT_URL", "tolerated: the migrations read it"),
        ("DATABASE_URL", "postgresql://fleet:hunter2@db.internal:6543/postgres"),
        ("DRY_RUN", "true"),
        ("FLEET_OPERATOR_TOKEN", "hunter2-hunter2-hunter2"),
        ("FLEET_READER_TOKEN", "hunter2-reader-hunter2"),
        ("FLEET_TICKER_TOKEN", "hunter2-ticker-hunter2"),
        ("JOBS_PER_WORKER", "3"),
        ("PGBOSS_QUEUE", "other.queue-1"),
        ("PGBOSS_SCHEMA", "pgboss_v10"),
        ("WAIT_VALUE", "0"),
    ]);
    assert!(config.enabled && config.dry_run);
    assert_eq!((config.policy.min, config.policy.max, config.policy.wait_value), (0, 25, 0));
    assert_eq!(config.policy.jobs_per_worker.get(), 3);
    assert_eq!(config.state_parameter, "/elsewhere/state");
    assert_eq!(config.queue.schema, "pgboss_v10");
    assert_eq!(config.queue.name, "other.queue-1");
    assert_eq!(config.aws.endpoints.all.as_deref(), Some("http://127.0.0.1:4566"));
    assert_eq!(config.aws.endpoints.ssm.as_deref(), Some("https://ssm.internal"));
    let tokens = [
        Token::new("operator", Scope::Operate, "hunter2-hunter2-hunter2"),
        Token::new("reader", Scope::Read, "hunter2-reader-hunter2"),
        Token::new("ticker", Scope::Tick, "hunter2-ticker-hunter2"),
    ];
    assert_eq!(config.tokens.unwrap(), tokens);
    assert_eq!(config.aws.session_token.unwrap().expose_secret(), "hunter2-session");
}

/// The bad inputs that the fleet's operators really produce, all in one start: one report names
/// every one of them.
#[test]
fn every_problem_is_reported_at_once_and_no_secret_is_shown() {
    let mut env = env(&[
        ("AUTOSCALE_ASG_ENABLED", "yes"),
        ("AUTOSCALE_ASG_MIN", "2"),
        ("AUTOSCALE_BOOT_SECONDS", "601"),
        ("AUTOSCALE_MAX", "3"),
        ("AUTOSCALE_MIN", "4"),
        ("AUTOSCALE_STATE_PARAMETER", "state"),
        ("AWS_ENDPOINT_URL", "localhost:4566"),
        ("DATABASE_CA", "/no/such/file.pem"),
        ("DATABASE_SECRET_ID", "has a space"),
        ("DATABASE_URL", "mysql://fleet:hunter2@db/postgres"),
        ("DRY_RUN", "1"),
        ("FLEET_OPERATOR_TOKEN", "hunter2"),
        ("GH_ENVIRONMENT", "Staging"),
        ("JOBS_PER_WORKER", "0"),
        ("PGBOSS_QUEUE", "a b"),
        ("PGBOSS_SCHEMA", "pg\"; drop"),
        ("RUST_LOG", "=loud="),
        ("WAIT_VALUE", "five"),
    ]);
    env.remove("AWS_ASG_NAME");
    env.remove("AWS_REGION");
    let report = AutoscaleConfig::from_env(&env).unwrap_err().to_string();
    assert!(!report.contains("hunter2"), "{report}");
    assert_eq!(report, include_str!("tests/report.txt").trim_end());
}

#[test]
fn numbers_are_whole_numbers_in_range_and_nothing_else() {
    for bad in [" 5", "5 ", "+5", "-1", "1.5", "1e1", "0x10", "five", "4294967296", "1001", "0"] {
        let line = problem("JOBS_PER_WORKER", bad);
        assert!(line.contains(&format!("{bad:?}")) && line.contains("from 1 to 1000"), "{line}");
    }
    assert!(problem("WAIT_VALUE", "101").contains("from 0 to 100"));
    assert!(problem("AUTOSCALE_BOOT_SECONDS", "0").contains("from 1 to 600"));
    assert!(problem("AUTOSCALE_HOLD_MIN_SECONDS", "3601").contains("from 0 to 3600"));
    assert!(problem("AUTOSCALE_IDLE_CONFIRM_SECONDS", "0").contains("from 1 to 600"));
    assert!(problem("AUTOSCALE_TICK_SECONDS", "25").contains("10, 20, 30 or 60"));
    assert!(problem("AUTOSCALE_FLOORS", "2 * * * *").contains("cannot be read"));
}

#[test]
fn min_above_max_is_refused_also_against_a_default() {
    assert!(problem("AUTOSCALE_MIN", "11").contains("above AUTOSCALE_MAX (10)"));
    assert!(
        report(&[("AUTOSCALE_MAX", "0")]).contains("AUTOSCALE_MIN is 1, above AUTOSCALE_MAX (0)")
    );
    assert_eq!(config(&[("AUTOSCALE_MIN", "0"), ("AUTOSCALE_MAX", "0")]).policy.max, 0);
}

#[test]
fn a_misspelled_name_is_an_error_that_knows_what_was_meant() {
    for (wrong, meant) in [
        ("AUTOSCALE_ASG_MIN", "AUTOSCALE_MIN"),
        ("AUTOSCALE_ASG_MAX", "AUTOSCALE_MAX"),
        ("AUTOSCALE_ENABLED", "AUTOSCALE_ASG_ENABLED"),
        ("AWS_ASG_NAMES", "AWS_ASG_NAME"),
        ("DATABASE_URI", "DATABASE_URL"),
        ("FLEET_OPERATOR_TOKENS", "FLEET_OPERATOR_TOKEN"),
        ("JOBS_PER_WORKERS", "JOBS_PER_WORKER"),
        ("PGBOSS_QUEUES", "PGBOSS_QUEUE"),
    ] {
        let line = problem(wrong, "secret-looking-value");
        assert!(line.contains(&format!("Did you mean {meant}?")), "{line}");
        assert!(!line.contains("secret-looking-value"), "{line}");
    }
    assert!(problem("FLEET_COLOUR", "red").ends_with("Remove it."));
}

#[test]
fn a_readers_token_alone_would_lock_the_operators_out() {
    let named = r#"{"alice": {"sha256": "hunter2", "scopes": ["operate"]}}"#;
    let line = problem("FLEET_TOKENS", named);
    assert!(line.contains("64 hexadecimal digits") && !line.contains("hunter2"), "{line}");
    for key in ["FLEET_READER_TOKEN", "FLEET_TICKER_TOKEN"] {
        let line = problem(key, "hunter2-hunter2-hunter2");
        assert!(line.contains("without FLEET_OPERATOR_TOKEN"), "{line}");
        assert!(!line.contains("hunter2"), "{line}");
    }
}

#[test]
fn names_that_belong_to_others_are_let_be() {
    let neighbours = [("AWS_LIFECYCLE_HOOK_NAME", "x"), ("GH_WORKER_ID", "x"), ("PATH", "/bin")];
    assert_eq!(config(&neighbours).hash(), config(&[]).hash());
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let unset = config(&[]);
    for name in ["AUTOSCALE_MIN", "DATABASE_URL", "PGBOSS_SCHEMA", "DRY_RUN", "DATABASE_CA"] {
        assert_eq!(config(&[(name, "")]).hash, unset.hash, "{name}");
        assert_eq!(config(&[(name, " ")]).hash, unset.hash, "{name}");
    }
    let config =
        config(&[("AWS_SESSION_TOKEN", ""), ("AWS_ENDPOINT_URL", ""), ("AWS_CA_BUNDLE", "")]);
    assert!(config.aws.session_token.is_none() && config.aws.endpoints.all.is_none());
    assert!(report(&[("AWS_REGION", "")]).contains("AWS_REGION is not set"));
    assert!(report(&[("AWS_ACCESS_KEY_ID", "")]).contains("AWS_ACCESS_KEY_ID is not set"));
}

#[test]
fn names_of_things_follow_the_rules_of_whoever_owns_them() {
    for (name, good, bad) in [
        ("AUTOSCALE_STATE_PARAMETER", "/a/b_c.d-e", "/aws/state"),
        ("AUTOSCALE_STATE_PARAMETER", "/state", "/a//b"),
        ("AWS_ASG_NAME", "my-group_1", "my group"),
        ("AWS_ENDPOINT_URL_AUTO_SCALING", "http://127.0.0.1:1", "http://host:port"),
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "https://host/path", "https:///path"),
        ("DATABASE_SECRET_ID", "arn:aws:secretsmanager:us-east-1:1:secret:x-AbC", "a;b"),
        ("GH_ENVIRONMENT", "prod-2", "prod_2"),
        ("PGBOSS_QUEUE", "a/b.c-d_e", "a b"),
        ("PGBOSS_SCHEMA", "_boss", "9boss"),
    ] {
        config(&[(name, good)]);
        problem(name, bad);
    }
}

#[test]
fn an_address_that_got_into_the_wrong_variable_is_not_shown() {
    let address = "postgresql://fleet:hunter2@db.internal/postgres";
    for name in ["DATABASE_CA", "DATABASE_SECRET_ID", "AWS_ASG_NAME", "DRY_RUN", "WAIT_VALUE"] {
        assert!(!problem(name, address).contains("hunter2"));
    }
}

#[test]
fn a_database_address_is_taken_apart_before_anything_starts() {
    let report =
        report(&[("DATABASE_URL", "postgres://fleet:hunter2@db:0/postgres?sslmode=disable")]);
    assert!(report.contains("2 errors") && !report.contains("hunter2"), "{report}");
    assert!(report.contains("DATABASE_URL has a port"), "{report}");
    assert!(report.contains("DATABASE_URL sets sslmode"), "{report}");
}

#[test]
fn certificates_come_as_text_or_as_a_file_and_are_looked_at() {
    let pem = include_str!("../../roots/amazon-root-ca-3.pem");
    assert_eq!(config(&[("DATABASE_CA", pem)]).database.ca_pem.as_deref(), Some(pem));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/roots/amazon-root-ca-3.pem");
    assert_eq!(config(&[("AWS_CA_BUNDLE", path)]).aws.ca_bundle_pem.as_deref(), Some(pem));
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    assert!(problem("DATABASE_CA", manifest).contains("no certificate"));
    let broken = "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n";
    assert!(problem("DATABASE_CA", broken).contains("a broken certificate"));
}

#[test]
fn debug_shows_no_secret() {
    let config = config(&[
        ("AWS_SESSION_TOKEN", "hunter2-session"),
        ("DATABASE_URL", "postgresql://fleet:hunter2@db.internal/postgres"),
        ("FLEET_OPERATOR_TOKEN", "hunter2-hunter2-hunter2"),
    ]);
    let debug = format!("{config:?}");
    assert!(!debug.contains("hunter2"), "{debug}");
}

#[test]
fn the_hash_changes_with_every_setting_and_with_no_secret() {
    let base = config(&[]).hash().to_owned();
    assert_eq!(base.len(), 12);
    assert!(base.bytes().all(|byte| byte.is_ascii_hexdigit()));
    for (name, value) in [
        ("AUTOSCALE_ASG_ENABLED", "true"),
        ("AUTOSCALE_BOOT_SECONDS", "96"),
        ("AUTOSCALE_FLOORS", "2 * * * * * UTC"),
        ("AUTOSCALE_HOLD_MIN_SECONDS", "61"),
        ("AUTOSCALE_MAX_IN_PERCENT", "99"),
        ("AUTOSCALE_NO_SCALE_IN", "* * * * * UTC"),
        ("AUTOSCALE_TICK_SECONDS", "30"),
        ("DRAIN_HOOK", "another"),
        ("DRAIN_JOB_LIMIT_SECONDS", "99"),
        ("WAIT_TARGET_SECONDS", "99"),
        ("AUTOSCALE_IDLE_CONFIRM_SECONDS", "21"),
        ("AUTOSCALE_MAX", "11"),
        ("AUTOSCALE_MIN", "2"),
        ("AWS_ASG_NAME", "another"),
        ("DRY_RUN", "true"),
        ("JOBS_PER_WORKER", "2"),
        ("PGBOSS_QUEUE", "another"),
        ("PGBOSS_SCHEMA", "another"),
        ("WAIT_VALUE", "7"),
    ] {
        assert_ne!(config(&[(name, value)]).hash(), base, "{name}");
    }
    // A default that is spelled out is the same setting.
    assert_eq!(config(&[("AUTOSCALE_MAX", "10")]).hash(), base);
    // Lambda gives every environment credentials of its own.
    let rotated = [("AWS_ACCESS_KEY_ID", "AKIAOTHER"), ("AWS_SECRET_ACCESS_KEY", "other")];
    assert_eq!(config(&rotated).hash(), base);
    let url = |password: &str| {
        config(&[("DATABASE_URL", &format!("postgresql://fleet:{password}@db/postgres"))])
            .hash()
            .to_owned()
    };
    assert_eq!(url("one"), url("two"));
    assert_ne!(url("one"), base, "whether the environment holds the address is a setting");
}

#[test]
fn every_variable_is_documented() {
    let page = include_str!("../../../../docs/CONFIGURATION.md");
    for name in NAMES {
        assert!(page.contains(&format!("`{name}`")), "{name} is missing in docs/CONFIGURATION.md");
    }
}
