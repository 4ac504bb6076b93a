//! What an engine knows, behind one lock that is never held across a wait.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::container::{Record, Status};
use crate::image::{Registry, Store};
use crate::run::{Happening, Observer};

pub(crate) struct Shared {
    state: Mutex<State>,
    pub(crate) registry: Registry,
    observer: Option<Observer>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) containers: Vec<Record>,
    pub(crate) images: Store,
    /// The machine goes down: nothing is started any more.
    pub(crate) closing: bool,
}

impl Shared {
    pub(crate) fn new(registry: Registry, observer: Option<Observer>) -> Self {
        Self { state: Mutex::default(), registry, observer }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the embedder; not while the lock is held, for the embedder may ask back.
    pub(crate) fn tell(&self, id: &str, happening: Happening) {
        let Some(observer) = &self.observer else { return };
        let container = self.lock().by_id(id).map(|record| record.view());
        if let Some(container) = container {
            observer(&container, happening);
        }
    }
}

impl State {
    pub(crate) fn by_id(&mut self, id: &str) -> Option<&mut Record> {
        self.containers.iter_mut().find(|record| record.id == id)
    }

    /// By id, name, or the beginning of an id, in this order; one that two ids begin with is
    /// nobody's.
    pub(crate) fn find(&self, wanted: &str) -> Option<&Record> {
        let name = wanted.strip_prefix('/').unwrap_or(wanted);
        let all = &self.containers;
        all.iter()
            .find(|record| record.id == wanted)
            .or_else(|| all.iter().find(|record| record.name == name))
            .or_else(|| {
                let mut begin = all.iter().filter(|record| record.id.starts_with(wanted));
                begin.next().filter(|_| !wanted.is_empty() && begin.next().is_none())
            })
    }

    /// Ids of the containers that are up.
    pub(crate) fn up(&self) -> Vec<String> {
        let up = self.containers.iter().filter(|record| record.status.is_up());
        up.map(|record| record.id.clone()).collect()
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.containers.iter().filter_map(|record| record.pid).collect()
    }

    /// Nothing is started again by itself from here on.
    pub(crate) fn close(&mut self) {
        self.closing = true;
        for record in &mut self.containers {
            record.stopped = true;
            if record.status == Status::Restarting {
                record.turn += 1;
                record.set_status(Status::Exited);
            }
        }
    }
}
