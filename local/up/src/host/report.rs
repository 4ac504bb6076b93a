//! What a host's workers print, as events.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use process_engine::{Container, Happening, Observer};

use super::options::Report;
use crate::worker::Event;

/// Reads the lines of the worker's containers. A job that a container takes along to its end is
/// reported as interrupted.
pub(super) fn observer(report: Report) -> Observer {
    let running: Mutex<BTreeMap<String, String>> = Mutex::default();
    Arc::new(move |container: &Container, happening| {
        if container.labels.get("gh.service").map(String::as_str) != Some("worker") {
            return;
        }
        let event = {
            let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
            match happening {
                Happening::Started { .. } => None,
                Happening::Ended { .. } => {
                    running.remove(&container.id).map(|job| Event::Interrupted { job })
                }
                Happening::Line(line) => {
                    let event = serde_json::from_str(&line).ok();
                    match &event {
                        Some(Event::Claimed { job, .. }) => {
                            running.insert(container.id.clone(), job.clone());
                        }
                        Some(Event::Finished { .. } | Event::Interrupted { .. }) => {
                            running.remove(&container.id);
                        }
                        _ => {}
                    }
                    event
                }
            }
        };
        if let Some(event) = event {
            report(event);
        }
    })
}
