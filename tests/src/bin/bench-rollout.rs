//! What a rollout costs: the time to the 202, ten idle hosts at canary, and the calls of a poll.
//!
//! Against the AWS double; the hosts of the second figure are real deploy-servers with stand-in
//! containers. `cargo run -p fleet-tests --bin bench-rollout`
#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

use aws_double::{
    CommandOutput, CommandRun, Double, DoubleConfig, GroupSpec, HttpApi, LifecycleState,
};
use fleet_local::host::{Host, HostOptions, Timing, Version, registry};
use fleet_local::template::Template;
use serde_json::{Value, json};
use std::error::Error;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

const GROUP: &str = "bench";
const TOKEN: &str = "an-operators-token-for-figures";
const ROLLOUTS: u32 = 40;
const HOSTS: u32 = 10;
const SCRIPTED: u32 = 50;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

struct Stage {
    double: Double,
    api: HttpApi,
}

impl Stage {
    async fn start(hosts: u32) -> Result<Stage> {
        let double = Double::start(DoubleConfig::default()).await?;
        double.put_secret(
            "ghosthands/bench",
            &json!({ "FLEET_OPERATOR_TOKEN": TOKEN }).to_string(),
        )?;
        let stable = json!({ "image_tag": "v1", "deployment_id": "-", "at": "-" });
        double.put_parameter("/ghosthands/bench/stable", &stable.to_string())?;
        let template = Template::read(GROUP)?;
        double.create_document("GhostHands-Host", &template.host_document())?;
        double.set_runner(|run: CommandRun| {
            let tag = run.parameters["ImageTag"][0].clone();
            let line = json!({ "v": 1, "instanceId": run.instance, "action": "deploy", "result": "deployed", "imageTag": tag });
            std::future::ready(CommandOutput::exit(0).stdout(line.to_string()))
        });
        double.create_group(GroupSpec::new(GROUP, 0, 100).desired(hosts).boot(Duration::ZERO))?;
        let settings = [("GH_ENVIRONMENT", "bench"), ("AWS_ASG_NAME", GROUP)];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
        template.start("deploy", &double, settings).await?;
        double.schedule("deploy", "rate(1 second)", "deploy")?;
        let api = double.http_api(template.routes("deploy"), 0).await?;
        let stage = Stage { double, api };
        while stage.in_service().len() < hosts as usize {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(stage)
    }

    fn in_service(&self) -> Vec<String> {
        let group = self.double.group(GROUP).into_iter().flat_map(|group| group.instances);
        group.filter(|i| i.state == LifecycleState::InService).map(|i| i.id).collect()
    }

    /// A request by curl: its answer, and the seconds that curl measured.
    fn request(&self, method: &str, path: &str, key: &str, body: &str) -> Result<(Value, f64)> {
        let output = Command::new("curl")
            .args(["-sS", "-X", method, "-w", "\n%{time_total}", "--data-binary", body])
            .args([
                "-H",
                "Content-Type: application/json",
                "-H",
                &format!("Idempotency-Key: {key}"),
            ])
            .args(["-H", &format!("Authorization: Bearer {TOKEN}")])
            .arg(format!("{}/api/v1/admin/deployments{path}", self.api.endpoint()))
            .output()?;
        let text = String::from_utf8(output.stdout)?;
        let (body, seconds) = text.rsplit_once('\n').ok_or("no answer")?;
        Ok((serde_json::from_str(body)?, seconds.parse()?))
    }

    async fn deploy(&self, key: &str, tag: &str) -> Result<(String, f64, Duration)> {
        let began = Instant::now();
        let body = json!({ "image_tag": tag }).to_string();
        let (accepted, seconds) = self.request("POST", "", key, &body)?;
        let id = accepted["id"].as_str().ok_or_else(|| accepted.to_string())?.to_owned();
        while self.double.parameter("/ghosthands/bench/rollout").is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let took = began.elapsed();
        let (view, _) = self.request("GET", &format!("/{id}"), "-", "")?;
        if view["state"] != "succeeded" {
            return Err(view.to_string().into());
        }
        Ok((id, seconds, took))
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    println!("| figure | value |\n|---|---:|");
    let stage = Stage::start(SCRIPTED).await?;
    let mut times = Vec::new();
    let mut last = String::new();
    for number in 0..ROLLOUTS {
        let (id, seconds, _) = stage.deploy(&format!("k{number}"), &format!("v{number}")).await?;
        times.push(seconds * 1000.0);
        last = id;
    }
    times.sort_by(f64::total_cmp);
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    println!(
        "| `POST /deployments` to 202, {SCRIPTED} hosts, p50 / p95 / max of {ROLLOUTS} | {:.0} / {:.0} / {:.0} ms |",
        at(50),
        at(95),
        at(100)
    );
    for (what, path) in [
        ("one deployment of 50 hosts", format!("/{last}")),
        ("the list of 20", "?limit=20".to_owned()),
    ] {
        // The schedule's own calls are left out by the function that makes none while nothing rolls
        // but GetParameters.
        stage.double.clear_calls();
        let (view, seconds) = stage.request("GET", &path, "-", "")?;
        let calls =
            stage.double.calls().iter().filter(|call| call.action != "GetSecretValue").count();
        println!(
            "| poll of {what}: AWS calls, time, bytes | {calls}, {:.0} ms, {} |",
            seconds * 1000.0,
            view.to_string().len()
        );
    }
    drop(stage);

    let stage = Stage::start(HOSTS).await?;
    let images = registry(&[Version::new("v1"), Version::new("v2")])?;
    let boots: Vec<_> = stage
        .in_service()
        .into_iter()
        .map(|id| {
            let images = images.clone();
            tokio::task::spawn_blocking(move || {
                // As shipped: a new container proves itself for ten seconds.
                let timing = Timing { healthy: Duration::from_secs(10), ..Timing::default() };
                let options = HostOptions {
                    image_tag: Some("v1".to_owned()),
                    timing,
                    ..HostOptions::new(&id, images)
                };
                Host::start(options).map(Arc::new)
            })
        })
        .collect();
    let mut hosts = Vec::new();
    for boot in boots {
        let host = boot.await??;
        stage.double.set_runner_of(host.instance_id(), host.runner());
        hosts.push(host);
    }
    let (_, _, took) = stage.deploy("real", "v2").await?;
    println!(
        "| {HOSTS} idle hosts at canary, real deploy-servers, from the request to the moved pointer | {:.1} s |",
        took.as_secs_f64()
    );
    tokio::task::spawn_blocking(move || drop(hosts)).await?;
    Ok(())
}
