//! Containers: list, inspect, create, start, stop, rename, remove.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ContainerDetail, ContainerSummary, Engine, Error, SHORT, decode, escape};

/// How much longer than a container's own grace the engine may take to say that it stopped.
const STOP_MARGIN: Duration = Duration::from_secs(15);

impl Engine {
    /// Containers of the host; only running ones unless `all`.
    ///
    /// # Errors
    /// When the engine cannot be asked.
    pub async fn list_containers(&self, all: bool) -> Result<Vec<ContainerSummary>, Error> {
        self.get(if all { "/containers/json?all=true" } else { "/containers/json" }).await
    }

    /// One container by id or exact name; `None` when there is none.
    ///
    /// # Errors
    /// When the engine cannot be asked.
    pub async fn inspect_container(&self, id: &str) -> Result<Option<ContainerDetail>, Error> {
        match self.get(&format!("/containers/{}/json", escape(id))).await {
            Ok(detail) => Ok(Some(detail)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates a container and returns its id.
    ///
    /// # Errors
    /// 404 when the image is missing, 409 when the name is taken.
    pub async fn create_container(
        &self,
        name: &str,
        spec: &(impl Serialize + Sync),
    ) -> Result<String, Error> {
        #[derive(Deserialize)]
        struct Created {
            #[serde(rename = "Id")]
            id: String,
        }
        let path = format!("/containers/create?name={}", escape(name));
        // Creating may copy an image's volumes, and a loaded disk makes it slow.
        let body = self.post(&path, Some(spec), Duration::from_secs(60)).await?;
        Ok(decode::<Created>("POST /containers/create", &body)?.id)
    }

    /// Starts a container; one that runs already is a success.
    ///
    /// # Errors
    /// When the engine refuses, for example because the command does not exist in the image.
    pub async fn start_container(&self, id: &str) -> Result<(), Error> {
        let path = format!("/containers/{}/start", escape(id));
        self.post(&path, NOTHING, Duration::from_secs(60)).await.map(drop)
    }

    /// SIGTERM, and SIGKILL after `grace`; returns when the container is down. One that is down or
    /// gone is a success.
    ///
    /// # Errors
    /// When the engine cannot stop it.
    pub async fn stop_container(&self, id: &str, grace: Duration) -> Result<(), Error> {
        // The engine counts whole seconds, and 0 is no grace at all.
        let seconds = grace.as_millis().div_ceil(1000);
        let path = format!("/containers/{}/stop?t={seconds}", escape(id));
        match self.post(&path, NOTHING, grace + STOP_MARGIN).await {
            Err(error) if error.is_not_found() => Ok(()),
            result => result.map(drop),
        }
    }

    /// Gives a container another name.
    ///
    /// # Errors
    /// 409 when the name is taken.
    pub async fn rename_container(&self, id: &str, name: &str) -> Result<(), Error> {
        let path = format!("/containers/{}/rename?name={}", escape(id), escape(name));
        self.post(&path, NOTHING, SHORT).await.map(drop)
    }

    /// Sets the restart policy of a container (`no`, `unless-stopped`).
    ///
    /// # Errors
    /// When the engine refuses.
    pub async fn set_restart_policy(&self, id: &str, policy: &str) -> Result<(), Error> {
        let body = serde_json::json!({ "RestartPolicy": { "Name": policy } });
        let path = format!("/containers/{}/update", escape(id));
        self.post(&path, Some(&body), SHORT).await.map(drop)
    }

    /// Removes a container and its anonymous volumes, killing it if it runs; one that is gone is a
    /// success.
    ///
    /// # Errors
    /// When the engine cannot remove it.
    pub async fn remove_container(&self, id: &str) -> Result<(), Error> {
        let path = format!("/containers/{}?force=true&v=true", escape(id));
        self.delete(&path, Duration::from_secs(60)).await.map(drop)
    }

    /// The last `lines` of what a container printed, oldest first.
    ///
    /// # Errors
    /// When the engine cannot be asked.
    pub async fn last_log_lines(&self, id: &str, lines: usize) -> Result<Vec<String>, Error> {
        let path = format!("/containers/{}/logs?stdout=true&stderr=true&tail={lines}", escape(id));
        let answer = self.call("GET", &path, None, SHORT).await?;
        let body = answer.expect_success("GET /containers/{id}/logs")?;
        let text = super::demultiplex(&body);
        let all: Vec<String> = String::from_utf8_lossy(&text).lines().map(str::to_owned).collect();
        Ok(all[all.len().saturating_sub(lines)..].to_vec())
    }
}

/// A POST without a body still needs a type for it.
const NOTHING: Option<&()> = None;
