//! Images nobody needs.
//!
//! They are removed one at a time and without force, never by `prune`: a prune knows no keep-set,
//! and its age is the day an image was built, so it takes the image of yesterday's rollback if that
//! was built a week ago.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;

use super::{IMAGE_AGE_MS, KeepSet, Options, Target};
use crate::docker::{Engine, Error, escape};

pub(super) const DANGLING: &str = "dangling_images";
pub(super) const UNUSED: &str = "unused_images";

/// The engine adds up every layer and volume for it, which takes minutes on a slow or large disk.
/// It gives figures and nothing else, so it is not waited for longer than this.
const USAGE_DEADLINE: Duration = Duration::from_secs(5);
const UNTAGGED: &str = "<none>";

/// What the engine keeps, by its cheap lists: what is decided from.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    images: Vec<Image>,
    pub(super) containers: Vec<Container>,
    pub(super) volumes: Vec<super::volumes::Volume>,
    /// What it takes on the disk, where the engine says that quickly.
    pub(super) usage: Option<Usage>,
}

/// `GET /system/df`: sizes, for the report.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Usage {
    #[serde(deserialize_with = "or_default")]
    layers_size: u64,
    #[serde(deserialize_with = "or_default")]
    images: Vec<Image>,
    #[serde(deserialize_with = "or_default")]
    pub(super) volumes: Vec<super::volumes::Volume>,
    #[serde(deserialize_with = "or_default")]
    pub(super) build_cache: Vec<super::volumes::CacheRecord>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Image {
    id: String,
    #[serde(deserialize_with = "or_default")]
    repo_tags: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    repo_digests: Vec<String>,
    /// Seconds since 1970, of the build.
    created: i64,
    size: i64,
    shared_size: i64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Container {
    #[serde(deserialize_with = "or_default")]
    names: Vec<String>,
    #[serde(rename = "ImageID")]
    image_id: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) mounts: Vec<Mount>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Mount {
    pub(super) name: String,
}

/// The engine writes `null` for empty lists.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Lists what the engine keeps.
pub(super) async fn inventory(engine: &Engine) -> Result<Inventory, Error> {
    let (usage, images, containers, volumes) = tokio::join!(
        usage(engine),
        engine.get("/images/json"),
        engine.get("/containers/json?all=true"),
        super::volumes::list(engine),
    );
    let mut images: Vec<Image> = images?;
    // Only the report of its disk usage counts what images share.
    let counted = usage.as_ref().map(|usage| usage.images.as_slice()).unwrap_or_default();
    for image in &mut images {
        let same = counted.iter().find(|counted| counted.id == image.id);
        image.shared_size = same.map_or(-1, |counted| counted.shared_size);
    }
    Ok(Inventory { images, containers: containers?, volumes: volumes?, usage })
}

/// What the engine's disk usage is; `None` where it does not say so within five seconds.
async fn usage(engine: &Engine) -> Option<Usage> {
    let call = "GET /system/df";
    let asked = async {
        let answer = engine.call("GET", "/system/df", None, USAGE_DEADLINE).await?;
        let body = answer.expect_success(call)?;
        serde_json::from_slice(&body)
            .map_err(|source| Error::Shape { call: call.to_owned(), source })
    };
    match asked.await {
        Ok(usage) => Some(usage),
        Err(error) => {
            tracing::info!(error = %error, "the Docker Engine does not say what images take; the cleanup goes on and reports an unknown amount");
            None
        }
    }
}

/// Which images go, and which stay although they look unneeded.
#[derive(Debug, Default)]
struct ImagePlan {
    dangling: Vec<Image>,
    unused: Vec<Image>,
    kept_dangling: Vec<(Image, String)>,
    kept_unused: Vec<(Image, String)>,
}

/// `tagged_ms` is when an image got its name on this host, where the engine knows it.
fn plan(
    images: &[Image],
    containers: &[Container],
    keep: &KeepSet,
    tagged_ms: &BTreeMap<String, i64>,
    now_ms: i64,
) -> ImagePlan {
    let mut plan = ImagePlan::default();
    let users: BTreeMap<&str, &str> = containers
        .iter()
        .map(|container| (container.image_id.as_str(), container.name()))
        .collect();
    for image in images {
        let (go, kept) = if image.is_dangling() {
            (&mut plan.dangling, &mut plan.kept_dangling)
        } else {
            (&mut plan.unused, &mut plan.kept_unused)
        };
        let arrived_ms = image.arrived_ms(tagged_ms);
        let reason = if let Some(why) = keep.reason(image.names()) {
            Some(format!("in the keep-set: {why}"))
        } else if let Some(user) = users.get(image.id.as_str()) {
            Some(format!("container {user} uses it"))
        } else if !image.is_dangling() && now_ms.saturating_sub(arrived_ms) <= IMAGE_AGE_MS {
            Some("younger than 72 h".to_owned())
        } else {
            None
        };
        match reason {
            Some(reason) => kept.push((image.clone(), reason)),
            None => go.push(image.clone()),
        }
    }
    plan
}

impl Image {
    fn tags(&self) -> impl Iterator<Item = &str> {
        self.repo_tags.iter().map(String::as_str).filter(|tag| !tag.contains(UNTAGGED))
    }

    fn digests(&self) -> impl Iterator<Item = &str> {
        self.repo_digests.iter().map(String::as_str).filter(|digest| !digest.contains(UNTAGGED))
    }

    fn is_dangling(&self) -> bool {
        self.tags().next().is_none()
    }

    /// Every name the image answers to.
    fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.id.as_str()).chain(self.tags()).chain(self.digests())
    }

    /// The name for people.
    fn label(&self) -> String {
        let short = self.id.strip_prefix("sha256:").unwrap_or(&self.id);
        let short = short.get(..12).unwrap_or(short);
        self.tags().next().map_or_else(|| short.to_owned(), |tag| format!("{tag} ({short})"))
    }

    fn arrived_ms(&self, tagged_ms: &BTreeMap<String, i64>) -> i64 {
        let built = self.created.saturating_mul(1000);
        tagged_ms.get(&self.id).map_or(built, |tagged| built.max(*tagged))
    }

    /// Bytes no other image shares; `None` where the engine did not count them.
    fn own_bytes(&self) -> Option<u64> {
        let shared = u64::try_from(self.shared_size).ok()?;
        u64::try_from(self.size).ok().map(|size| size.saturating_sub(shared))
    }
}

impl Container {
    pub(super) fn name(&self) -> &str {
        self.names.first().map_or("without a name", |name| name.trim_start_matches('/'))
    }
}

/// Plans and removes both kinds of images.
pub(super) async fn clean(
    engine: &Engine,
    seen: &Inventory,
    options: &Options,
    keep: &KeepSet,
) -> Vec<Target> {
    let tagged_ms = match tag_times(engine, &seen.images, options.now_ms).await {
        Ok(times) => times,
        Err(error) => {
            return [DANGLING, UNUSED]
                .map(|target| Target::failed(target, error.to_string()))
                .to_vec();
        }
    };
    let plan = plan(&seen.images, &seen.containers, keep, &tagged_ms, options.now_ms);
    let mut size = seen.usage.as_ref().map(|usage| usage.layers_size);
    let mut targets = Vec::new();
    for (name, go, kept) in
        [(DANGLING, plan.dangling, plan.kept_dangling), (UNUSED, plan.unused, plan.kept_unused)]
    {
        let mut target = Target::new(name);
        for (image, reason) in kept {
            target.keep(image.label(), reason);
        }
        if options.dry_run {
            go.iter().for_each(|image| target.add(image.own_bytes()));
        } else {
            remove(engine, &go, &mut target, &mut size).await;
        }
        targets.push(target);
    }
    targets
}

/// When the engine last gave each old image a name. Young ones need no question.
async fn tag_times(
    engine: &Engine,
    images: &[Image],
    now_ms: i64,
) -> Result<BTreeMap<String, i64>, Error> {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    struct Detail {
        metadata: Metadata,
    }
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    struct Metadata {
        last_tag_time: Option<String>,
    }
    let mut times = BTreeMap::new();
    let is_old =
        |image: &&Image| now_ms.saturating_sub(image.created.saturating_mul(1000)) > IMAGE_AGE_MS;
    for image in images.iter().filter(is_old) {
        let path = format!("/images/{}/json", escape(&image.id));
        let detail = match engine.get::<Detail>(&path).await {
            Err(error) if error.is_not_found() => continue,
            detail => detail?,
        };
        // An image that was never named here has the year 1.
        let tagged =
            detail.metadata.last_tag_time.and_then(|time| time.parse::<jiff::Timestamp>().ok());
        if let Some(tagged) = tagged {
            times.insert(image.id.clone(), tagged.as_millisecond());
        }
    }
    Ok(times)
}

/// Removes images and counts the bytes the engine's layers shrank by; `size` is their size before
/// and after, where it is known.
async fn remove(engine: &Engine, images: &[Image], target: &mut Target, size: &mut Option<u64>) {
    for image in images {
        match remove_names(engine, image).await {
            Ok(()) => target.add(0),
            // A container began to use it, or another image is built on it.
            Err(error) if error.status() == Some(409) => {
                target.keep(image.label(), error.to_string())
            }
            Err(error) => target.fail(format!("{}: {error}", image.label())),
        }
    }
    if target.count == 0 {
        return;
    }
    let after = match size {
        Some(_) => usage(engine).await.map(|usage| usage.layers_size),
        None => None,
    };
    target.freed_bytes = size.zip(after).map(|(before, after)| before.saturating_sub(after));
    *size = after;
}

/// Takes away every name, then the image, which is mostly gone with its last name.
async fn remove_names(engine: &Engine, image: &Image) -> Result<(), Error> {
    let tags: BTreeSet<&str> = image.tags().collect();
    for name in tags.into_iter().chain(std::iter::once(image.id.as_str())) {
        engine.remove_image(name).await?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "images_tests.rs"]
mod tests;
