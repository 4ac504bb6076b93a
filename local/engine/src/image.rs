//! Images: what a registry offers, and what an engine has pulled.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

/// One version of a program, as its image would hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// `registry/repository`, without a tag.
    pub repository: String,
    /// Its tag.
    pub tag: String,
    /// Its file system, so to speak: the name by which a container's command calls a program, and
    /// the program of this machine with its first arguments.
    pub programs: BTreeMap<String, (PathBuf, Vec<String>)>,
    /// `CMD`: what runs when a container names no command.
    pub command: Vec<String>,
    /// `ENV`
    pub environment: BTreeMap<String, String>,
    /// Bytes, as lists show it.
    pub size: u64,
    /// How a pull of it goes.
    pub pull: Pull,
}

/// How a pull goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Pull {
    #[default]
    Works,
    /// It fails in the middle of the stream, behind the 200, in these words.
    Breaks(String),
}

impl Image {
    /// An image without any program.
    #[must_use]
    pub fn new(repository: impl Into<String>, tag: impl Into<String>) -> Self {
        Self {
            repository: repository.into(),
            tag: tag.into(),
            programs: BTreeMap::new(),
            command: Vec::new(),
            environment: BTreeMap::new(),
            size: 0,
            pull: Pull::Works,
        }
    }

    /// Puts a program into it.
    #[must_use]
    pub fn program<I, A>(mut self, name: &str, file: impl Into<PathBuf>, arguments: I) -> Self
    where
        I: IntoIterator<Item = A>,
        A: Into<String>,
    {
        let arguments = arguments.into_iter().map(Into::into).collect();
        self.programs.insert(name.to_owned(), (file.into(), arguments));
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    /// `sha256:…`: the same content has the same digest, whatever it is called.
    #[must_use]
    pub fn digest(&self) -> String {
        let content = format!("{:?}{:?}{:?}", self.programs, self.command, self.environment);
        let digest = Sha256::digest(content.as_bytes());
        let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{digits}")
    }

    /// `repository:tag`
    #[must_use]
    pub fn reference(&self) -> String {
        format!("{}:{}", self.repository, self.tag)
    }
}

/// What engines pull from. Clones are the same registry.
#[derive(Debug, Clone, Default)]
pub struct Registry(Arc<Mutex<BTreeMap<String, Arc<Image>>>>);

impl Registry {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Offers an image; one of the same name is replaced, which moves the tag.
    pub fn push(&self, image: Image) {
        self.lock().insert(image.reference(), Arc::new(image));
    }

    /// Offers it no longer. Engines that have pulled it keep it.
    pub fn remove(&self, repository: &str, tag: &str) {
        self.lock().remove(&format!("{repository}:{tag}"));
    }

    /// By `repository:tag` or `repository@sha256:…`.
    pub(crate) fn find(&self, repository: &str, tag: &str) -> Option<Arc<Image>> {
        let images = self.lock();
        if tag.starts_with("sha256:") {
            let same =
                |image: &&Arc<Image>| image.repository == repository && image.digest() == tag;
            return images.values().find(same).cloned();
        }
        images.get(&format!("{repository}:{tag}")).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<Image>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An image on the engine.
#[derive(Debug)]
pub(crate) struct Local {
    /// `sha256:…`
    pub(crate) id: String,
    pub(crate) image: Arc<Image>,
    /// `repository:tag`, all that mean it now.
    pub(crate) tags: Vec<String>,
    pub(crate) created: Timestamp,
    pub(crate) tagged: Timestamp,
}

/// What an engine has pulled.
#[derive(Debug, Default)]
pub(crate) struct Store(pub(crate) Vec<Local>);

impl Store {
    /// Takes an image in under its tag, or under none when it was asked for by digest.
    pub(crate) fn add(&mut self, image: &Arc<Image>, by_digest: bool) {
        let (id, reference, now) = (image.digest(), image.reference(), Timestamp::now());
        if !by_digest {
            for local in &mut self.0 {
                local.tags.retain(|tag| *tag != reference);
            }
        }
        let place = self.0.iter().position(|local| local.id == id).unwrap_or_else(|| {
            let image = Arc::clone(image);
            self.0.push(Local { id, image, tags: Vec::new(), created: now, tagged: now });
            self.0.len() - 1
        });
        if !by_digest {
            self.0[place].tags.push(reference);
            self.0[place].tagged = now;
        }
    }

    /// By id (or its beginning), `repository:tag`, or `repository@sha256:…`.
    pub(crate) fn find(&self, reference: &str) -> Option<&Local> {
        self.position(reference).map(|place| &self.0[place])
    }

    pub(crate) fn position(&self, reference: &str) -> Option<usize> {
        let digest = reference.split_once('@').map_or(reference, |(_, digest)| digest);
        let named = |local: &Local| local.tags.iter().any(|tag| tag == reference);
        let exact = |local: &Local| local.id == digest;
        let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
        let short = |local: &Local| {
            hex.len() >= 4 && local.id.strip_prefix("sha256:").is_some_and(|id| id.starts_with(hex))
        };
        let images = &self.0;
        images
            .iter()
            .position(named)
            .or_else(|| images.iter().position(exact))
            .or_else(|| images.iter().position(short))
    }
}
