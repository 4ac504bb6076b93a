//! The double's time: the machine's own, or one that only tests move.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

/// Where the time comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockMode {
    /// The machine's clock.
    Real,
    /// Stands still at this time until [`crate::Double::advance`] moves it.
    Manual(Timestamp),
}

/// A refused [`crate::Double::advance`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClockError {
    /// The clock is the machine's.
    #[error("only a manual clock can be advanced: start the double with a manual clock")]
    Real,
    /// The step leads past the last representable time.
    #[error("the step leads past the end of time")]
    Range,
}

#[derive(Debug)]
pub(crate) struct Clock {
    manual: Option<Mutex<Timestamp>>,
}

impl Clock {
    pub(crate) fn new(mode: ClockMode) -> Self {
        let manual = match mode {
            ClockMode::Real => None,
            ClockMode::Manual(at) => Some(Mutex::new(at)),
        };
        Self { manual }
    }

    pub(crate) fn now(&self) -> Timestamp {
        match &self.manual {
            None => Timestamp::now(),
            Some(at) => *at.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    pub(crate) fn is_manual(&self) -> bool {
        self.manual.is_some()
    }

    /// Moves a manual clock forward; the machine's clock and the past are left alone.
    pub(crate) fn set(&self, to: Timestamp) {
        if let Some(at) = &self.manual {
            let mut at = at.lock().unwrap_or_else(PoisonError::into_inner);
            *at = to.max(*at);
        }
    }
}
