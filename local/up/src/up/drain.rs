//! The end of an instance: its host drains the worker and only then lets the group go on.
//!
//! On a site the drain function does this through SSM; here the host does it itself.

use std::time::{Duration, Instant};

use aws_double::Double;
use aws_sdk_autoscaling::Client;
use aws_sdk_autoscaling::config::{BehaviorVersion, Credentials, Region};
use fleet_local::{Error, http};

/// The hook of the group, as a site names it.
pub(crate) const HOOK: &str = "ghosthands-drain-hook";
/// The hook's time without a heartbeat: the seed's.
pub(crate) const HEARTBEAT_SECONDS: u32 = 300;
const HEARTBEAT_EVERY: Duration = Duration::from_secs(60);
const READ_EVERY: Duration = Duration::from_millis(200);

/// A client of the double, made as anybody would make one of AWS.
pub(crate) fn auto_scaling(double: &Double) -> Client {
    let config = aws_sdk_autoscaling::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "local"))
        .endpoint_url(double.endpoint())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Client::from_conf(config)
}

/// Tells the worker at `port` to take no more jobs, waits until it says that it takes none and
/// has none, and completes the lifecycle action. Returns how long that took. Without a port no
/// worker ever started, so there is nothing to wait for.
///
/// A reading that fails is no reading: the wait goes on until the hook's own end.
pub(crate) async fn drain(
    client: &Client,
    group: &str,
    instance: &str,
    port: Option<u16>,
) -> Result<Duration, Error> {
    let start = Instant::now();
    if let Some(port) = port {
        until_drained(client, group, instance, port).await?;
    }
    client
        .complete_lifecycle_action()
        .auto_scaling_group_name(group)
        .lifecycle_hook_name(HOOK)
        .instance_id(instance)
        .lifecycle_action_result("CONTINUE")
        .send()
        .await
        .map_err(|error| failed("CompleteLifecycleAction", &error))?;
    Ok(start.elapsed())
}

async fn until_drained(
    client: &Client,
    group: &str,
    instance: &str,
    port: u16,
) -> Result<(), Error> {
    let mut heartbeat = Instant::now();
    let mut told = false;
    loop {
        told = told || matches!(http::call(port, "POST", "/worker/drain", "").await, Ok((200, _)));
        if told && is_drained(port).await {
            return Ok(());
        }
        if heartbeat.elapsed() > HEARTBEAT_EVERY {
            beat(client, group, instance).await?;
            heartbeat = Instant::now();
        }
        tokio::time::sleep(READ_EVERY).await;
    }
}

async fn is_drained(port: u16) -> bool {
    match http::call(port, "GET", "/worker/status", "").await {
        Ok((200, status)) => status["active_jobs"] == 0 && status["accepting"] == false,
        Ok(_) | Err(_) => false,
    }
}

async fn beat(client: &Client, group: &str, instance: &str) -> Result<(), Error> {
    client
        .record_lifecycle_action_heartbeat()
        .auto_scaling_group_name(group)
        .lifecycle_hook_name(HOOK)
        .instance_id(instance)
        .send()
        .await
        .map_err(|error| failed("RecordLifecycleActionHeartbeat", &error))?;
    Ok(())
}

fn failed(call: &str, error: &(impl std::error::Error + 'static)) -> Error {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    Error::Failed(format!("{call}: {text}"))
}
