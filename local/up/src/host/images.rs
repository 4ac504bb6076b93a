//! The versions that a local fleet can roll out, good ones and broken ones, as images.

use std::time::Duration;

use process_engine::{Image, Pull, Registry};

use crate::worker::Contract;
use crate::{Error, paths};

/// Where hosts pull from. Names like Amazon's would make them ask for a token.
pub(super) const REGISTRY: &str = "registry.local";
pub(super) const REPOSITORY: &str = "ghosthands";
/// The programs of every image, by the names that a host's settings call them.
pub(super) const API: &str = "api";
pub(super) const LIGHT_WORKER: &str = "light-worker";
pub(super) const QUEUE_WORKER: &str = "queue-worker";

/// One version of the API and the worker.
#[derive(Debug, Clone, PartialEq)]
pub struct Version {
    /// The image's tag. A tag without a version is a pull that fails.
    pub tag: String,
    /// Which worker it holds.
    pub contract: Contract,
    pub api: Behaviour,
    pub worker: Behaviour,
    /// The registry breaks off its pull in these words.
    pub broken_pull: Option<String>,
}

/// What a version's service does once it is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Behaviour {
    #[default]
    Works,
    /// It ends at once, every time.
    Crashes,
    /// It runs, and says 500 whenever it is asked.
    NeverHealthy,
    /// It works for so long, and then ends; started again, it does the same.
    DiesAfter(Duration),
}

impl Version {
    /// A version that works, with a worker that keeps the full contract.
    #[must_use]
    pub fn new(tag: &str) -> Self {
        Self {
            tag: tag.to_owned(),
            contract: Contract::Full,
            api: Behaviour::Works,
            worker: Behaviour::Works,
            broken_pull: None,
        }
    }

    /// With the old worker.
    #[must_use]
    pub fn old(tag: &str) -> Self {
        Self { contract: Contract::Old, ..Self::new(tag) }
    }

    /// Its image.
    ///
    /// # Errors
    /// A stand-in is not built or Node is missing.
    pub fn image(&self) -> Result<Image, Error> {
        let standin = paths::built("fleet-standin", "fleet-local")?;
        let contract = match self.contract {
            Contract::Old => "old",
            Contract::Full => "full",
        };
        let mut api = vec!["api".to_owned()];
        api.extend(self.api.arguments());
        let mut light = ["worker", "--contract", contract].map(str::to_owned).to_vec();
        light.extend(self.worker.arguments());
        let mut image = Image::new(format!("{REGISTRY}/{REPOSITORY}"), &self.tag)
            .program(API, &standin, api)
            .program(LIGHT_WORKER, &standin, light.clone())
            .env("IMAGE_TAG", &self.tag);
        image = match self.worker {
            // Only hosts that are asked for real jobs need Node.
            Behaviour::Works => match paths::node_tool("node") {
                Ok(node) => {
                    let script = paths::repository().join("local/worker/worker.mjs");
                    let script = script.display().to_string();
                    image.program(QUEUE_WORKER, node, [&script, "--contract", contract])
                }
                Err(_) => image,
            },
            // A broken version is broken whatever its jobs would have been.
            _ => image.program(QUEUE_WORKER, &standin, light),
        };
        if let Some(words) = &self.broken_pull {
            image.pull = Pull::Breaks(words.clone());
        }
        Ok(image)
    }
}

impl Behaviour {
    fn arguments(self) -> Vec<String> {
        let fault = match self {
            Self::Works => return Vec::new(),
            Self::Crashes => "crash".to_owned(),
            Self::NeverHealthy => "sick".to_owned(),
            Self::DiesAfter(life) => format!("dies={}", life.as_secs_f64()),
        };
        vec!["--fault".to_owned(), fault]
    }
}

/// A registry that offers these versions. More can be pushed at any time:
/// `images.push(version.image()?)`.
///
/// # Errors
/// As [`Version::image`].
pub fn registry(versions: &[Version]) -> Result<Registry, Error> {
    let registry = Registry::new();
    for version in versions {
        registry.push(version.image()?);
    }
    Ok(registry)
}
