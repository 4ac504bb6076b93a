//! Anonymous volumes and the build cache.

use std::time::Duration;

use serde::Deserialize;

use super::images::{Container, Inventory, or_default};
use super::{IMAGE_AGE_MS, Options, Target};
use crate::docker::{Engine, Error, escape};

pub(super) const VOLUMES: &str = "volumes";
pub(super) const CACHE: &str = "build_cache";

/// What newer engines put on volumes nobody named.
const ANONYMOUS: &str = "com.docker.volume.anonymous";

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Volume {
    name: String,
    #[serde(deserialize_with = "or_default")]
    labels: std::collections::BTreeMap<String, String>,
    usage_data: Option<VolumeUsage>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct VolumeUsage {
    /// Containers that mount it; -1 where the engine does not know.
    ref_count: i64,
    /// Bytes; -1 where the engine does not know.
    size: i64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct CacheRecord {
    in_use: bool,
    size: i64,
    created_at: Option<String>,
    last_used_at: Option<String>,
}

/// Which volumes go; the others with the reason why not.
#[derive(Debug, Default)]
struct VolumePlan {
    go: Vec<Volume>,
    kept: Vec<(String, String)>,
}

fn plan(volumes: &[Volume], containers: &[Container]) -> VolumePlan {
    let mut plan = VolumePlan::default();
    for volume in volumes {
        let user = containers
            .iter()
            .find(|container| container.mounts.iter().any(|mount| mount.name == volume.name));
        let references = volume.usage_data.as_ref().map_or(0, |usage| usage.ref_count);
        let reason = match user {
            Some(user) => format!("container {} uses it", user.name()),
            None if !volume.is_anonymous() => "it has a name of its own".to_owned(),
            None if references > 0 => "a container uses it".to_owned(),
            // Removing goes without force, so the engine has the last word on whether it is used.
            None => {
                plan.go.push(volume.clone());
                continue;
            }
        };
        plan.kept.push((volume.name.clone(), reason));
    }
    plan
}

impl Volume {
    /// A volume nobody named has 64 hexadecimal digits for a name; older engines say it no other
    /// way.
    fn is_anonymous(&self) -> bool {
        let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        self.labels.contains_key(ANONYMOUS) || (self.name.len() == 64 && self.name.bytes().all(hex))
    }

    /// `None` where the engine does not know.
    fn bytes(&self) -> Option<u64> {
        self.usage_data.as_ref().and_then(|usage| u64::try_from(usage.size).ok())
    }
}

/// The volumes by the engine's cheap list, which says nothing about their size and use.
pub(super) async fn list(engine: &Engine) -> Result<Vec<Volume>, Error> {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    struct Listed {
        #[serde(deserialize_with = "or_default")]
        volumes: Vec<Volume>,
    }
    engine.get::<Listed>("/volumes").await.map(|listed| listed.volumes)
}

/// Removes anonymous volumes that no container uses.
pub(super) async fn clean(engine: &Engine, seen: &Inventory, options: &Options) -> Target {
    let mut target = Target::new(VOLUMES);
    let counted = seen.usage.as_ref().map(|usage| usage.volumes.as_slice()).unwrap_or_default();
    let bytes = |name: &str| counted.iter().find(|volume| volume.name == name)?.bytes();
    let plan = plan(&seen.volumes, &seen.containers);
    for (name, reason) in plan.kept {
        target.keep(name, reason);
    }
    for volume in &plan.go {
        if options.dry_run {
            target.add(bytes(&volume.name));
            continue;
        }
        // Without force the engine itself refuses a volume that a container has taken meanwhile.
        let path = format!("/volumes/{}", escape(&volume.name));
        match engine.delete(&path, Duration::from_secs(60)).await {
            Ok(_) => target.add(bytes(&volume.name)),
            Err(error) if error.status() == Some(409) => {
                target.keep(&volume.name, error.to_string())
            }
            Err(error) => target.fail(format!("{}: {error}", volume.name)),
        }
    }
    target
}

/// Removes build cache that was not used for 72 hours, by the engine's own rule.
pub(super) async fn clean_build_cache(
    engine: &Engine,
    seen: &Inventory,
    options: &Options,
) -> Target {
    let mut target = Target::new(CACHE);
    if options.dry_run {
        let Some(usage) = &seen.usage else {
            let reason =
                "what the build cache holds is unknown: the engine does not say so in time";
            return Target::skipped(CACHE, reason);
        };
        for record in usage.build_cache.iter().filter(|record| record.is_old(options.now_ms)) {
            target.add(u64::try_from(record.size).ok());
        }
        return target;
    }
    match prune(engine).await {
        Ok(pruned) => {
            target.count = pruned.caches_deleted.len() as u64;
            target.freed_bytes = Some(pruned.space_reclaimed);
        }
        Err(error) => target.fail(error.to_string()),
    }
    target
}

impl CacheRecord {
    fn is_old(&self, now_ms: i64) -> bool {
        let used = self.last_used_at.as_ref().or(self.created_at.as_ref());
        let used = used.and_then(|time| time.parse::<jiff::Timestamp>().ok());
        !self.in_use
            && used.is_some_and(|used| now_ms.saturating_sub(used.as_millisecond()) > IMAGE_AGE_MS)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Pruned {
    #[serde(deserialize_with = "or_default")]
    caches_deleted: Vec<String>,
    space_reclaimed: u64,
}

async fn prune(engine: &Engine) -> Result<Pruned, Error> {
    let call = "POST /build/prune";
    let path = format!("/build/prune?filters={}", escape(r#"{"until":["72h"]}"#));
    let body = engine.post(&path, None::<&()>, Duration::from_secs(120)).await?;
    serde_json::from_slice(&body).map_err(|source| Error::Shape { call: call.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::super::images::Mount;
    use super::*;

    fn volume(name: &str, ref_count: i64) -> Volume {
        Volume {
            name: name.to_owned(),
            labels: Default::default(),
            usage_data: Some(VolumeUsage { ref_count, size: 7 }),
        }
    }

    #[test]
    fn only_unused_anonymous_volumes_go() {
        let hex = |c: char| std::iter::repeat_n(c, 64).collect::<String>();
        let labelled =
            Volume { labels: [(ANONYMOUS.to_owned(), String::new())].into(), ..volume("x", 0) };
        let mut mounted = Container::default();
        mounted.mounts = vec![Mount { name: hex('e') }];
        let unknown = Volume { usage_data: None, ..volume(&hex('d'), 0) };
        let volumes = [
            volume(&hex('a'), 0),
            volume(&hex('b'), 1),
            volume("data", 0),
            volume("data-in-use", 2),
            volume(&hex('A'), 0),
            labelled,
            unknown,
            volume(&hex('e'), 0),
        ];
        let plan = plan(&volumes, &[mounted]);
        let names: Vec<_> = plan.go.iter().map(|volume| volume.name.clone()).collect();
        assert_eq!(names, [hex('a'), "x".to_owned(), hex('d')]);
        assert_eq!(plan.kept.len(), 5);
        let reason =
            |name: &str| plan.kept.iter().find(|kept| kept.0 == name).map(|kept| kept.1.as_str());
        assert_eq!(reason("data"), Some("it has a name of its own"));
        assert_eq!(reason(&hex('e')), Some("container without a name uses it"));
    }

    #[test]
    fn cache_age_counts_from_its_last_use() {
        let now_ms = 1_800_000_000_000;
        let at = |hours: i64| {
            Some(
                jiff::Timestamp::from_millisecond(now_ms - hours * super::super::HOUR_MS)
                    .expect("a time")
                    .to_string(),
            )
        };
        let record = |created, used, in_use| CacheRecord {
            in_use,
            size: 1,
            created_at: at(created),
            last_used_at: used,
        };
        assert!(record(100, at(73), false).is_old(now_ms));
        assert!(record(100, None, false).is_old(now_ms));
        assert!(!record(100, at(71), false).is_old(now_ms));
        assert!(!record(100, at(73), true).is_old(now_ms));
        assert!(!CacheRecord::default().is_old(now_ms));
    }
}
