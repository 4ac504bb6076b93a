//! A scenario in one word, to live it again.

use super::{Fault, Kill, Scenario};

/// A scenario and where its function dies.
#[derive(Clone, Debug)]
pub(crate) struct Replay {
    pub(crate) scenario: Scenario,
    pub(crate) kill: Option<Kill>,
}

impl std::fmt::Display for Replay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Scenario { seed, faults, retain, watcher, .. } = &self.scenario;
        let faults: Vec<String> = faults.iter().map(|fault| format!("{fault:?}")).collect();
        write!(f, "{seed}:{}", faults.join(","))?;
        if *watcher {
            write!(f, ":watcher")?;
        }
        if !retain {
            write!(f, ":classic")?;
        }
        match self.kill {
            Some(Kill { call, after: false }) => write!(f, ":before={call}"),
            Some(Kill { call, after: true }) => write!(f, ":after={call}"),
            None => Ok(()),
        }
    }
}

impl Replay {
    /// Reads the word.
    ///
    /// # Errors
    /// Which part of it is wrong, and what it may be.
    pub(crate) fn read(word: &str) -> Result<Replay, String> {
        let mut parts = word.split(':');
        let seed = parts.next().unwrap_or_default();
        let seed =
            seed.parse().map_err(|_| format!("{seed:?} is no seed: write seed:Fault,Fault"))?;
        let names = parts.next().unwrap_or_default().split(',').filter(|name| !name.is_empty());
        let faults: Result<Vec<Fault>, String> = names.map(fault).collect();
        let mut replay = Replay { scenario: Scenario::new(seed, &faults?), kill: None };
        for part in parts {
            match part.split_once('=') {
                None if part == "watcher" => replay.scenario.watcher = true,
                None if part == "classic" => replay.scenario.retain = false,
                Some((when @ ("before" | "after"), call)) => {
                    let call =
                        call.parse().map_err(|_| format!("{call:?} is no number of a call"))?;
                    replay.kill = Some(Kill { call, after: when == "after" });
                }
                _ => {
                    return Err(format!("{part:?} is none of watcher, classic, before=N, after=N"));
                }
            }
        }
        Ok(replay)
    }
}

fn fault(name: &str) -> Result<Fault, String> {
    let known = Fault::ALL.iter().copied().find(|fault| format!("{fault:?}") == name);
    known.ok_or_else(|| format!("{name:?} is none of {:?}", Fault::ALL))
}
