//! The merge at start, the refresh that rotates, and what a failure says; against moto and against
//! refusals.

use std::collections::BTreeMap;

use deploy_server::secrets::{DEPLOY_SECRET, DEPLOY_SECRET_PREVIOUS, Error, SOURCE, Secrets};

use crate::support::aws::{Fake, Moto, environment};
use crate::support::{free_port, strings, value};

fn process(env: BTreeMap<String, String>, more: &[(&str, &str)]) -> BTreeMap<String, String> {
    env.into_iter().chain(strings(more)).collect()
}

#[tokio::test]
async fn secrets_manager_lies_under_the_host_and_a_refresh_rotates() {
    let Some(moto) = Moto::start() else { return };
    let put = async |json: &str| moto.put_secret("ghosthands/staging", json).await;
    put(r#"{"A":"sm-1","B":"b","GH_DEPLOY_SECRET":"deploy-1","NODE_ENV":"production","GH_WORKER_ID":"shared"}"#).await;
    // As systemd starts the server: A came from the file that pull-secrets wrote, and is older than
    // the secret.
    let env = process(
        moto.env(),
        &[
            ("GH_ENVIRONMENT", "staging"),
            ("A", "sm-0"),
            (SOURCE, "A"),
            ("NODE_ENV", "test"),
            ("GH_WORKER_ID", "i-1"),
        ],
    );
    let (secrets, error) = Secrets::at_start(env).await;
    assert!(error.is_none(), "{error:?}");
    let now = secrets.environment();
    assert_eq!(value(&now, "A"), Some("sm-1"), "a copy must not shield itself from its rotation");
    assert_eq!(value(&now, "B"), Some("b"));
    assert_eq!(value(&now, "NODE_ENV"), Some("test"), "the host's own value wins");
    assert_eq!(value(&now, "GH_WORKER_ID"), Some("i-1"));
    assert_eq!(value(&now, DEPLOY_SECRET), Some("deploy-1"));
    assert_eq!(value(&now, DEPLOY_SECRET_PREVIOUS), None);

    let report = secrets.refresh().await.expect("a refresh");
    assert!(report.changed.is_empty() && report.added.is_empty() && report.removed.is_empty());
    assert_eq!(report.kept, ["GH_WORKER_ID", "NODE_ENV"]);

    put(r#"{"A":"sm-2","C":3,"GH_DEPLOY_SECRET":"deploy-2","NODE_ENV":"production"}"#).await;
    let report = secrets.refresh().await.expect("a refresh");
    assert_eq!(report.changed, ["A", DEPLOY_SECRET]);
    assert_eq!(report.added, ["C"]);
    assert_eq!(report.removed, ["B"]);
    assert_eq!(report.kept, ["NODE_ENV"]);
    let now = secrets.environment();
    assert_eq!(value(&now, "A"), Some("sm-2"));
    assert_eq!(value(&now, "B"), None);
    assert_eq!(value(&now, "C"), Some("3"));
    assert_eq!(value(&now, DEPLOY_SECRET), Some("deploy-2"));
    assert_eq!(value(&now, DEPLOY_SECRET_PREVIOUS), Some("deploy-1"), "callers change over");

    // A server that starts in the middle of the rotation lets both in too.
    let (restarted, _) =
        Secrets::at_start(process(moto.env(), &[("GH_ENVIRONMENT", "staging")])).await;
    assert_eq!(value(&restarted.environment(), DEPLOY_SECRET_PREVIOUS), Some("deploy-1"));

    let shown = format!("{secrets:?} {report:?} {}", serde_json::to_string(&report).expect("JSON"));
    for canary in ["sm-1", "sm-2", "deploy-1", "deploy-2", "canary"] {
        assert!(!shown.contains(canary), "{canary}");
    }
    put(r#"{"A":null}"#).await;
    let error = secrets.refresh().await.expect_err("not a value");
    assert!(!error.is_upstream());
    assert!(error.to_string().contains("key A"), "{error}");
    assert_eq!(
        value(&secrets.environment(), "A"),
        Some("sm-2"),
        "nothing is taken over from a bad document"
    );
    put(r#"{"A":"mended"}"#).await;
    let report = secrets.refresh().await.expect("that the version before was bad does not matter");
    assert_eq!(report.changed, ["A"]);
}

#[tokio::test]
async fn a_missing_secret_fails_the_refresh_and_not_the_start() {
    let Some(moto) = Moto::start() else { return };
    let env = process(moto.env(), &[("GH_ENVIRONMENT", "nowhere"), ("A", "copied"), (SOURCE, "A")]);
    let (secrets, error) = Secrets::at_start(env).await;
    let error = error.expect("no such secret");
    assert!(error.is_upstream());
    let text = error.to_string();
    assert!(
        text.contains("ghosthands/nowhere") && text.contains("ResourceNotFoundException"),
        "{text}"
    );
    assert_eq!(
        value(&secrets.environment(), "A"),
        Some("copied"),
        "the host works with what it has"
    );
    secrets.refresh().await.expect_err("the truth, and not success");
}

#[tokio::test]
async fn denied_and_unreachable_are_upstream_faults_without_secrets() {
    let denied = Fake::start(|_| {
        (
            400,
            r#"{"__type":"AccessDeniedException","Message":"no secretsmanager:GetSecretValue"}"#
                .to_owned(),
        )
    })
    .await;
    let listener = std::net::TcpListener::bind(("127.0.0.1", free_port())).expect("a port");
    let closed = format!("http://{}", listener.local_addr().expect("its address"));
    drop(listener);
    for (endpoint, says) in
        [(denied.endpoint.as_str(), "AccessDeniedException"), (&closed, "could not be reached")]
    {
        let env = process(environment(endpoint), &[("GH_ENVIRONMENT", "staging")]);
        let (secrets, error) = Secrets::at_start(env).await;
        let error = error.expect("a failure");
        assert!(error.is_upstream() && error.to_string().contains(says), "{error}");
        let error = secrets.refresh().await.expect_err("a failure");
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
}

#[tokio::test]
async fn the_worker_s_keys_are_not_the_host_s() {
    let Some(moto) = Moto::start() else { return };
    let json = r#"{"AWS_ACCESS_KEY_ID":"WORKER","AWS_SECRET_ACCESS_KEY":"w","A":"1"}"#;
    moto.put_secret("ghosthands/keys", json).await;
    let mut env = process(
        moto.env(),
        &[("GH_ENVIRONMENT", "keys"), (SOURCE, "A,AWS_ACCESS_KEY_ID,AWS_SECRET_ACCESS_KEY")],
    );
    let (secrets, error) = Secrets::at_start(env.clone()).await;
    // Its own keys were listed as copied, and there is no instance role here.
    assert!(error.is_some());
    assert!(!secrets.host_environment().contains_key("AWS_ACCESS_KEY_ID"));
    env.remove(SOURCE);
    let (secrets, error) = Secrets::at_start(env).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(secrets.host_environment()["AWS_ACCESS_KEY_ID"], "AKIDEXAMPLE");
    // What the secret says is for the containers, and steers nothing of the host.
    assert_eq!(value(&secrets.environment(), "A"), Some("1"));
    assert!(!secrets.host_environment().contains_key("A"));
}

#[tokio::test]
async fn a_silent_secrets_manager_holds_the_start_up_for_seconds_only() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", free_port())).expect("a port");
    let silent = format!("http://{}", listener.local_addr().expect("its address"));
    let env = process(environment(&silent), &[("GH_ENVIRONMENT", "staging"), ("A", "host")]);
    let started = std::time::Instant::now();
    let (secrets, error) = Secrets::at_start(env).await;
    assert!(error.expect("silence").is_upstream());
    assert!(started.elapsed().as_secs() < 60);
    assert_eq!(value(&secrets.environment(), "A"), Some("host"));
}

#[tokio::test]
async fn an_unknown_environment_is_our_fault_and_never_guessed() {
    let env = environment("http://127.0.0.1:9");
    let (_, error) = Secrets::at_start(env.clone()).await;
    assert!(matches!(error, Some(Error::Environment(_))), "{error:?}");
    let (_, error) = Secrets::at_start(process(env, &[("GH_ENVIRONMENT", "../production")])).await;
    assert!(matches!(error, Some(Error::Environment(_))), "{error:?}");
}
