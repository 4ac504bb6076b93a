//! The calls of the comparison, and what is written down of each answer: the status, the engine's
//! words, and the fields that a deploy-server reads.

use std::path::Path;
use std::time::{Duration, Instant};

use deploy_server::docker::{Answer, Engine, SHORT, UnixHttp, escape};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);
const NAMES: [&str; 2] = ["conformance-a", "conformance-b"];

struct Story<'a> {
    engine: &'a Engine,
    repository: &'a str,
    /// Whether refusals are compared to the letter. Another release of Docker has other words for
    /// the same.
    words: bool,
    lines: Vec<String>,
}

/// What a deploy-server sends, for a container that runs `script`.
pub(crate) fn body(image: &str, script: &str) -> Value {
    json!({
        "Image": image,
        "Cmd": ["sh", "-c", script],
        "Entrypoint": [""],
        "Env": ["COLOUR=blue"],
        "Labels": { "gh.service": "worker" },
        "StopTimeout": 1,
        "HostConfig": { "NetworkMode": "host", "RestartPolicy": { "Name": "no" } },
    })
}

pub(crate) async fn until<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "it does not happen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) async fn tell(
    engine: &Engine,
    socket: &Path,
    repository: &str,
    words: bool,
) -> Vec<String> {
    for name in NAMES {
        engine.remove_container(name).await.unwrap();
    }
    let mut story = Story { engine, repository, words, lines: Vec::new() };
    story.images().await;
    story.versions(socket).await;
    story.creating().await;
    story.running().await;
    story.ending().await;
    story.restarting().await;
    story.refusing().await;
    story.removing().await;
    story.lines
}

impl Story<'_> {
    fn note(&mut self, what: &str, seen: impl std::fmt::Display) {
        self.lines.push(format!("{what}: {seen}"));
    }

    /// The status and, for a refusal, the words, with ids taken out.
    async fn call(&mut self, what: &str, method: &'static str, path: &str, body: Option<Value>) {
        let body = body.map(|body| body.to_string().into());
        let answer = self.engine.call(method, path, body, PATIENCE).await.unwrap();
        self.note_answer(what, &answer);
    }

    fn note_answer(&mut self, what: &str, answer: &Answer) {
        if answer.status < 400 || !self.words {
            return self.note(what, answer.status);
        }
        self.note(what, format!("{} {}", answer.status, without_ids(&answer.message())));
    }

    fn image(&self) -> String {
        format!("{}:good", self.repository)
    }

    async fn create(&self, name: &str, script: &str) -> String {
        self.engine.create_container(name, &body(&self.image(), script)).await.unwrap()
    }

    /// Everything that a deploy-server reads of a container.
    async fn state(&mut self, what: &str, id: &str) {
        let detail = self.engine.inspect_container(id).await.unwrap().unwrap();
        let list = self.engine.list_containers(true).await.unwrap();
        let summary = list.iter().find(|row| row.id == detail.id).unwrap();
        let listed = self.engine.list_containers(false).await.unwrap();
        let state = &detail.state;
        let seen = json!({
            "name": [detail.name(), summary.name()],
            "status": [state.status, summary.state],
            "running": [state.running, state.restarting, detail.is_running()],
            "listed": listed.iter().any(|row| row.id == detail.id),
            "process": std::path::Path::new(&format!("/proc/{}/exe", state.pid)).exists(),
            "exit": [state.exit_code, i64::from(state.oom_killed), i64::from(!state.error.is_empty())],
            "started": state.started_at.starts_with("0001-01-01T00:00:00Z"),
            "restarts": detail.restart_count,
            "image": [&detail.config.image, &summary.image],
            "image id": detail.image == summary.image_id && detail.image.starts_with("sha256:"),
            "labels": [detail.label("gh.service"), summary.labels.get("gh.service").map(String::as_str)],
            "policy": detail.host_config.restart_policy.name,
        });
        self.note(what, seen);
    }

    async fn images(&mut self) {
        let repository = self.repository.to_owned();
        self.call("an image that is not here", "GET", &image_path(&self.image(), "/json"), None)
            .await;
        let missing = self.engine.pull_image(&repository, "missing", None).await.unwrap_err();
        let missing = missing.to_string();
        let words = format!("manifest for {repository}:missing not found: manifest unknown");
        self.note("pull what is not there", missing.contains(&words));
        if self.words {
            self.note("in these words", missing);
        }
        let (image, _) = self.engine.pull_image(&repository, "good", None).await.unwrap();
        self.note("pull", image.repo_tags.is_some_and(|tags| tags == [self.image()]));
        let digest = format!("{repository}@sha256:");
        let digests = image.repo_digests.unwrap_or_default();
        self.note("digest", digests.iter().any(|known| known.starts_with(&digest)));
        let digest = digests[0].split_once('@').unwrap().1.to_owned();
        for tag in ["good", &digest] {
            let (again, _) = self.engine.pull_image(&repository, tag, None).await.unwrap();
            self.note("pull again", again.id == image.id);
        }
        for name in [image.id.clone(), self.image(), format!("{repository}@{digest}")] {
            let found = self.engine.inspect_image(&name).await.unwrap();
            self.note("found", found.is_some_and(|found| found.id == image.id));
        }
        let list = self.engine.list_images().await.unwrap();
        let row = list.iter().find(|row| row.id == image.id).unwrap();
        self.note("in the list", format!("{:?} {}", row.repo_tags, row.containers));
    }

    async fn versions(&mut self, socket: &Path) {
        let http = UnixHttp::new(socket);
        let version = self.engine.version().await.unwrap();
        self.note("its version", version.api_version.split_once('.').is_some());
        let answer = http.call("GET", "/v9.99/containers/json", &[], None, SHORT).await.unwrap();
        let words = answer.message();
        let words = words.split('.').take(2).collect::<Vec<_>>().join(".");
        self.note("a later version", format!("{} {words}", answer.status));
        for path in ["/_ping", "/v1.41/_ping", "/v1.41/nonsense"] {
            let answer = http.call("GET", path, &[], None, SHORT).await.unwrap();
            self.note_answer(path, &answer);
        }
    }

    async fn creating(&mut self) {
        let missing = body(&format!("{}:missing", self.repository), "true");
        let path = format!("/containers/create?name={}", NAMES[0]);
        self.call("create of no image", "POST", &path, Some(missing)).await;
        let bad = body(&self.image(), "true");
        self.call("a bad name", "POST", "/containers/create?name=_", Some(bad)).await;
        let mut odd = body(&self.image(), "true");
        odd["HostConfig"]["RestartPolicy"] = json!({ "Name": "sometimes" });
        self.call("a bad policy", "POST", &path, Some(odd)).await;
        let id = self.create(NAMES[0], "true").await;
        self.note("an id", id.len() == 64);
        self.state("created", &id).await;
        let again = body(&self.image(), "true");
        self.call("a name that is taken", "POST", &path, Some(again)).await;
        self.engine.remove_container(&id).await.unwrap();
    }

    async fn running(&mut self) {
        let script = "trap 'exit 5' TERM; echo $COLOUR; while :; do sleep 0.05; done";
        let id = self.create(NAMES[0], script).await;
        let at = |verb: &str| format!("/containers/{id}/{verb}");
        self.call("stop of what never ran", "POST", &at("stop?t=1"), None).await;
        self.call("start", "POST", &at("start"), None).await;
        self.call("start again", "POST", &at("start"), None).await;
        self.state("running", &id).await;
        until(async || {
            (!self.engine.last_log_lines(&id, 9).await.unwrap().is_empty()).then_some(())
        })
        .await;
        self.call("its own name", "POST", &at(&format!("rename?name={}", NAMES[0])), None).await;
        let other = self.create(NAMES[1], "true").await;
        self.call("a taken name", "POST", &at(&format!("rename?name={}", NAMES[1])), None).await;
        self.engine.remove_container(&other).await.unwrap();
        self.call("rename", "POST", &at(&format!("rename?name={}", NAMES[1])), None).await;
        self.call("the old name", "GET", &format!("/containers/{}/json", NAMES[0]), None).await;
        self.state("by the new name", NAMES[1]).await;
        self.state("by a part of the id", &id[..20]).await;
        let odd = json!({ "RestartPolicy": { "Name": "sometimes" } });
        self.call("no policy", "POST", &at("update"), Some(odd)).await;
        self.engine.set_restart_policy(&id, "unless-stopped").await.unwrap();
        self.state("with a policy", &id).await;
        self.call("stop", "POST", &at("stop?t=20"), None).await;
        self.call("stop again", "POST", &at("stop"), None).await;
        self.state("stopped", &id).await;
        self.call("restart", "POST", &at("restart?t=20"), None).await;
        self.state("restarted", &id).await;
        self.call("kill", "POST", &at("kill"), None).await;
        until(async || self.is_down(&id).await).await;
        self.call("kill again", "POST", &at("kill"), None).await;
        self.state("killed, and not restarted", &id).await;
        self.engine.remove_container(&id).await.unwrap();
    }

    async fn ending(&mut self) {
        let script = "echo one; sleep 0.3; echo two >&2; sleep 0.3; echo three; exit 3";
        let id = self.create(NAMES[0], script).await;
        self.engine.start_container(&id).await.unwrap();
        let path = format!("/containers/{id}/wait");
        let answer = self.engine.call("POST", &path, None, PATIENCE).await.unwrap();
        let code: Value = serde_json::from_slice(&answer.body).unwrap();
        self.note("wait", &code["StatusCode"]);
        self.state("ended", &id).await;
        let lines = self.engine.last_log_lines(&id, 2).await.unwrap();
        self.note("the last lines", format!("{lines:?}"));
        for query in ["stderr=true", "stdout=true&tail=1", "stdout=1&stderr=1&tail=all", ""] {
            let path = format!("/containers/{id}/logs?{query}");
            let answer = self.engine.call("GET", &path, None, SHORT).await.unwrap();
            let shown = String::from_utf8_lossy(&answer.body).into_owned();
            self.note(query, format!("{} {shown:?}", answer.status));
        }
        self.engine.remove_container(&id).await.unwrap();

        let deaf = "trap '' TERM; echo deaf; while :; do sleep 0.05; done";
        let id = self.create(NAMES[0], deaf).await;
        self.engine.start_container(&id).await.unwrap();
        until(async || self.engine.last_log_lines(&id, 1).await.unwrap().pop()).await;
        let began = Instant::now();
        self.engine.stop_container(&id, Duration::from_secs(1)).await.unwrap();
        let waited = began.elapsed();
        self.note("the grace is given", waited >= Duration::from_millis(900));
        self.state("deaf to SIGTERM", &id).await;
        self.engine.remove_container(&id).await.unwrap();
    }

    async fn restarting(&mut self) {
        let mut body = body(&self.image(), "exit 4");
        body["HostConfig"]["RestartPolicy"] =
            json!({ "Name": "on-failure", "MaximumRetryCount": 2 });
        let id = self.engine.create_container(NAMES[0], &body).await.unwrap();
        self.engine.start_container(&id).await.unwrap();
        until(async || self.is_down(&id).await).await;
        self.state("after two restarts", &id).await;
        self.engine.remove_container(&id).await.unwrap();

        body["HostConfig"]["RestartPolicy"] = json!({ "Name": "unless-stopped" });
        let id = self.engine.create_container(NAMES[0], &body).await.unwrap();
        self.engine.start_container(&id).await.unwrap();
        let between = until(async || {
            let detail = self.engine.inspect_container(&id).await.unwrap().unwrap();
            (detail.restart_count >= 3 && detail.state.restarting).then_some(detail)
        })
        .await;
        let state = &between.state;
        self.note(
            "between two runs",
            format!("{} {} {}", state.status, state.running, between.is_running()),
        );
        self.call("start in between", "POST", &format!("/containers/{id}/start"), None).await;
        self.call("stop in between", "POST", &format!("/containers/{id}/stop"), None).await;
        let detail = self.engine.inspect_container(&id).await.unwrap().unwrap();
        self.note("then", format!("{} {}", detail.state.status, detail.state.running));
        tokio::time::sleep(Duration::from_secs(2)).await;
        let later = self.engine.inspect_container(&id).await.unwrap().unwrap();
        self.note("it stays so", later.restart_count == detail.restart_count);
        self.engine.remove_container(&id).await.unwrap();
    }

    async fn refusing(&mut self) {
        let mut body = body(&self.image(), "true");
        body["Cmd"] = json!(["no-such-program"]);
        let id = self.engine.create_container(NAMES[0], &body).await.unwrap();
        let path = format!("/containers/{id}/start");
        let answer = self.engine.call("POST", &path, None, PATIENCE).await.unwrap();
        let found = "exec: \"no-such-program\": executable file not found in $PATH";
        let says = answer.message().contains(found);
        self.note("a program that is not there", format!("{} {says}", answer.status));
        self.state("not started", &id).await;
        self.engine.remove_container(&id).await.unwrap();
        for (method, verb) in [
            ("GET", "/json"),
            ("POST", "/start"),
            ("POST", "/stop"),
            ("POST", "/kill"),
            ("POST", "/wait"),
            ("POST", "/restart"),
            ("POST", "/rename?name=other"),
            ("GET", "/logs?stdout=1"),
            ("DELETE", ""),
        ] {
            self.call("nobody", method, &format!("/containers/nobody{verb}"), None).await;
        }
        let policy = json!({ "RestartPolicy": { "Name": "no" } });
        self.call("nobody", "POST", "/containers/nobody/update", Some(policy)).await;
    }

    async fn removing(&mut self) {
        let id = self.create(NAMES[0], "while :; do sleep 0.05; done").await;
        let image = image_path(&self.image(), "");
        self.call("an image in use", "DELETE", &image, None).await;
        self.engine.start_container(&id).await.unwrap();
        self.call("an image at work", "DELETE", &image, None).await;
        self.call("what runs", "DELETE", &format!("/containers/{id}"), None).await;
        self.call("by force", "DELETE", &format!("/containers/{id}?force=true&v=true"), None).await;
        self.call("once more", "DELETE", &format!("/containers/{}", NAMES[0]), None).await;
        let usage = self.engine.call("GET", "/system/df", None, PATIENCE).await.unwrap();
        let usage: Value = serde_json::from_slice(&usage.body).unwrap();
        let row = usage["Images"].as_array().unwrap().iter().find(|row| {
            row["RepoTags"].as_array().is_some_and(|tags| tags.contains(&json!(self.image())))
        });
        self.note("on the disk", &row.unwrap()["Containers"]);
        let id = self.engine.inspect_image(&self.image()).await.unwrap().unwrap().id;
        self.call("the image", "DELETE", &image, None).await;
        self.call("the image again", "DELETE", &image, None).await;
        self.note("its id", self.engine.inspect_image(&id).await.unwrap().is_none());
    }

    async fn is_down(&self, id: &str) -> Option<()> {
        let detail = self.engine.inspect_container(id).await.unwrap().unwrap();
        (!detail.state.running).then_some(())
    }
}

fn image_path(reference: &str, end: &str) -> String {
    format!("/images/{}{end}", escape(reference))
}

/// Every run of twelve or more hexadecimal digits is another one tomorrow.
fn without_ids(text: &str) -> String {
    let mut out = String::new();
    let mut digits = String::new();
    for c in text.chars().chain(std::iter::once('\n')) {
        if c.is_ascii_hexdigit() {
            digits.push(c);
            continue;
        }
        out.push_str(if digits.len() >= 12 { "<id>" } else { &digits });
        digits.clear();
        out.push(c);
    }
    out.trim_end().to_owned()
}
