//! The registry token: from AWS by a signed request, with keys or the instance role, kept until it
//! ages.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use deploy_server::clock::now_ms;
use deploy_server::ecr::{Error, Registry, Settings};
use secrecy::ExposeSecret as _;

use crate::support::aws::{Fake, Moto, Seen, environment};
use crate::support::free_port;

const ECR_TARGET: &str = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken";
const REGISTRY: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";

fn token(password: &str, valid_ms: i64) -> (u16, String) {
    let token = STANDARD.encode(format!("AWS:{password}"));
    let expires = (now_ms() + valid_ms) / 1000;
    let data = serde_json::json!({ "authorizationToken": token, "expiresAt": expires, "proxyEndpoint": "https://elsewhere" });
    (200, serde_json::json!({ "authorizationData": [data] }).to_string())
}

fn registry(endpoint: &str) -> Registry {
    let mut env = environment(endpoint);
    env.insert("ECR_REGISTRY".to_owned(), REGISTRY.to_owned());
    Registry::new(Settings::from_env(&env).expect("settings"))
}

#[tokio::test]
async fn a_token_is_asked_for_once_and_kept() {
    let aws = Fake::start(|_| token("geheim", 12 * 3_600_000)).await;
    let registry = registry(&aws.endpoint);
    for _ in 0..3 {
        let credential = registry.credential().await.expect("a token").expect("a credential");
        assert_eq!(credential.username, "AWS");
        assert_eq!(credential.password.expose_secret(), "geheim");
        assert_eq!(credential.server, REGISTRY, "never what the answer says");
        assert!(!format!("{credential:?} {registry:?}").contains("geheim"));
    }
    let seen = aws.seen();
    assert_eq!(seen.len(), 1);
    let headers = &seen[0].headers;
    assert_eq!(seen[0].method, "POST");
    assert_eq!(headers["x-amz-target"], ECR_TARGET);
    let signature = &headers["authorization"];
    assert!(signature.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"), "{signature}");
    assert!(
        signature.contains("/eu-west-1/ecr/aws4_request"),
        "the registry's region: {signature}"
    );
    assert!(
        signature.contains("SignedHeaders=content-type;host;x-amz-date;x-amz-target"),
        "{signature}"
    );
    registry.forget();
    registry.credential().await.expect("another token");
    assert_eq!(aws.seen().len(), 2);
}

#[tokio::test]
async fn a_token_in_its_last_half_hour_is_renewed() {
    let aws = Fake::start(|_| token("short", 29 * 60_000)).await;
    let registry = registry(&aws.endpoint);
    registry.credential().await.expect("a token");
    registry.credential().await.expect("a token");
    assert_eq!(aws.seen().len(), 2);
}

#[tokio::test]
async fn a_refusal_says_why_and_no_secret() {
    let denied = r#"{"__type":"com.amazonaws#AccessDeniedException","message":"not authorized to perform ecr:GetAuthorizationToken"}"#;
    let aws = Fake::start(move |_| (400, denied.to_owned())).await;
    let error = registry(&aws.endpoint).credential().await.expect_err("denied").to_string();
    assert!(error.contains("AccessDeniedException: not authorized"), "{error}");
    assert!(!error.contains("canary"), "{error}");
    for answer in ["", "<html>", "{}", r#"{"authorizationData":[{"authorizationToken":"!"}]}"#] {
        let aws = Fake::start(move |_| (200, answer.to_owned())).await;
        registry(&aws.endpoint).credential().await.expect_err(answer);
    }
}

#[tokio::test]
async fn nobody_there_is_an_error_in_time() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", free_port())).expect("a port");
    let silent = format!("http://{}", listener.local_addr().expect("its address"));
    let started = std::time::Instant::now();
    let error = registry(&silent).credential().await.expect_err("silence");
    assert!(matches!(error, Error::Aws(_)), "{error}");
    assert!(started.elapsed().as_secs() < 60);
}

/// What the metadata service says of a role, and ECR behind it.
fn instance(seen: &Seen) -> (u16, String) {
    let role = "/latest/meta-data/iam/security-credentials/";
    let has_token =
        seen.headers.get("x-aws-ec2-metadata-token").is_some_and(|token| token == "imds-token");
    match (seen.method.as_str(), seen.path.as_str()) {
        ("PUT", "/latest/api/token") if seen.headers.contains_key("x-aws-ec2-metadata-token-ttl-seconds") => {
            (200, "imds-token".to_owned())
        }
        ("GET", _) if !has_token => (401, String::new()),
        ("GET", path) if path == role => (200, "gh-worker\n".to_owned()),
        ("GET", path) if path == format!("{role}gh-worker") => (
            200,
            r#"{"Code":"Success","AccessKeyId":"ASIAROLE","SecretAccessKey":"role-canary","Token":"session-token","Expiration":"2099-01-01T00:00:00Z"}"#.to_owned(),
        ),
        ("POST", "/") => token("by-role", 12 * 3_600_000),
        _ => (404, String::new()),
    }
}

#[tokio::test]
async fn without_keys_the_instance_role_signs() {
    let aws = Fake::start(instance).await;
    let mut env = environment(&aws.endpoint);
    env.remove("AWS_ACCESS_KEY_ID");
    env.remove("AWS_SECRET_ACCESS_KEY");
    env.remove("AWS_EC2_METADATA_DISABLED");
    env.insert("AWS_EC2_METADATA_SERVICE_ENDPOINT".to_owned(), aws.endpoint.clone());
    env.insert("ECR_REGISTRY".to_owned(), REGISTRY.to_owned());
    let registry = Registry::new(Settings::from_env(&env).expect("settings"));
    let credential = registry.credential().await.expect("a token").expect("a credential");
    assert_eq!(credential.password.expose_secret(), "by-role");
    let seen = aws.seen();
    let signed = &seen.last().expect("the call to ECR").headers;
    assert!(signed["authorization"].contains("Credential=ASIAROLE/"));
    assert_eq!(signed["x-amz-security-token"], "session-token");
    assert!(
        seen.iter()
            .filter(|seen| seen.method == "GET")
            .all(|seen| seen.headers.contains_key("x-aws-ec2-metadata-token"))
    );
}

#[tokio::test]
async fn an_error_page_is_no_role_and_no_instance() {
    let aws = Fake::start(|seen| match seen.method.as_str() {
        "PUT" => (200, "imds-token".to_owned()),
        _ => (200, "<html>captive portal</html>".to_owned()),
    })
    .await;
    let mut env = environment(&aws.endpoint);
    env.remove("AWS_ACCESS_KEY_ID");
    env.remove("AWS_SECRET_ACCESS_KEY");
    env.remove("AWS_EC2_METADATA_DISABLED");
    env.insert("AWS_EC2_METADATA_SERVICE_ENDPOINT".to_owned(), aws.endpoint.clone());
    let host = deploy_server::aws::Aws::from_env(&env).expect("settings");
    host.imds().identity().await.expect_err("not an instance id");
    env.insert("ECR_REGISTRY".to_owned(), REGISTRY.to_owned());
    let registry = Registry::new(Settings::from_env(&env).expect("settings"));
    registry.credential().await.expect_err("no role");
}

#[tokio::test]
async fn moto_gives_a_token_too() {
    let Some(moto) = Moto::start() else { return };
    let credential =
        registry(&moto.endpoint).credential().await.expect("a token").expect("a credential");
    assert_eq!(credential.username, "AWS");
    assert!(credential.password.expose_secret().contains("auth-token"));
}
