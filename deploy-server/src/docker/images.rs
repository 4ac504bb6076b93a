//! Images: pull, inspect, list, remove.

use std::time::Duration;

use http_body_util::BodyExt as _;
use secrecy::{ExposeSecret as _, SecretString};

use super::{Engine, Error, ImageDetail, ImageSummary, PullError, PullStream, SHORT, escape};

/// A pull that makes no sound for this long is stuck.
const STALL: Duration = Duration::from_secs(60);
/// A 1.5 GB image at 3 MB/s still fits.
const LONGEST_PULL: Duration = Duration::from_secs(600);

impl Engine {
    /// Pulls `repository` at `tag` (a tag or a `sha256:` digest) and proves that the image is here.
    /// Returns it with the digest that the tag meant in this pull: one image may have several.
    ///
    /// # Errors
    /// A refusal, a failure inside the stream, silence for a minute, ten minutes in all, or an
    /// image that is not here after all.
    pub async fn pull_image(
        &self,
        repository: &str,
        tag: &str,
        credential: Option<&SecretString>,
    ) -> Result<(ImageDetail, Option<String>), Error> {
        let whole = tokio::time::timeout(LONGEST_PULL, self.pull(repository, tag, credential));
        let digest = whole.await.map_err(|_| PullError::TooSlow(LONGEST_PULL.as_secs()))??;
        let separator = if tag.starts_with("sha256:") { '@' } else { ':' };
        let reference = format!("{repository}{separator}{tag}");
        match self.inspect_image(&reference).await? {
            Some(image) => Ok((image, digest)),
            None => Err(PullError::Missing(reference).into()),
        }
    }

    async fn pull(
        &self,
        repository: &str,
        tag: &str,
        credential: Option<&SecretString>,
    ) -> Result<Option<String>, Error> {
        let path = format!(
            "{}/images/create?fromImage={}&tag={}",
            self.prefix().await?,
            escape(repository),
            escape(tag)
        );
        let headers: Vec<(&'static str, &str)> =
            credential.iter().map(|value| ("x-registry-auth", value.expose_secret())).collect();
        let opening = tokio::time::timeout(STALL, self.http.open("POST", &path, &headers, None));
        let response = opening.await.map_err(|_| PullError::Stalled(STALL.as_secs()))??;
        let status = response.status().as_u16();
        let mut body = response.into_body();
        if status != 200 {
            let whole = tokio::time::timeout(SHORT, body.collect()).await;
            let bytes = whole.ok().and_then(Result::ok).map(|body| body.to_bytes());
            let answer = super::Answer { status, body: bytes.unwrap_or_default() };
            return answer.expect_success("POST /images/create").map(|_| None);
        }
        let mut stream = PullStream::default();
        loop {
            let next = tokio::time::timeout(STALL, body.frame());
            match next.await.map_err(|_| PullError::Stalled(STALL.as_secs()))? {
                None => break,
                Some(Err(source)) => {
                    return Err(Error::Broken { call: "POST /images/create".to_owned(), source });
                }
                Some(Ok(frame)) => {
                    if let Some(bytes) = frame.data_ref() {
                        stream.feed(bytes)?;
                    }
                }
            }
        }
        Ok(stream.finish()?)
    }

    /// One image by id or reference; `None` when it is not on this host.
    ///
    /// # Errors
    /// When the engine cannot be asked.
    pub async fn inspect_image(&self, reference: &str) -> Result<Option<ImageDetail>, Error> {
        match self.get(&format!("/images/{}/json", escape(reference))).await {
            Ok(detail) => Ok(Some(detail)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every image of the host, without intermediate layers.
    ///
    /// # Errors
    /// When the engine cannot be asked.
    pub async fn list_images(&self) -> Result<Vec<ImageSummary>, Error> {
        self.get("/images/json").await
    }

    /// Removes an image by id or reference, without force: one that a container uses stays (409).
    ///
    /// # Errors
    /// 409 when in use; an image that is gone already is a success.
    pub async fn remove_image(&self, reference: &str) -> Result<(), Error> {
        let path = format!("/images/{}", escape(reference));
        self.delete(&path, Duration::from_secs(120)).await.map(drop)
    }
}
