//! How a command ends: with a text and an exit code. The codes are the host binary's, so that a
//! number means the same on both sides.

use fleet_protocol::exit_code::ExitCode as Code;

/// The code of a command that found nothing but warnings. No host's command ends so.
const WARNINGS: u8 = 14;

/// How a command ends that did what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As a command of the host binary.
    Shared(Code),
    /// `doctor` warns of something, and nothing is broken.
    Warnings,
}

impl Ending {
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Ending::Shared(code) => code.code(),
            Ending::Warnings => WARNINGS,
        }
    }
}

impl From<Code> for Ending {
    fn from(code: Code) -> Ending {
        Ending::Shared(code)
    }
}

/// What is left to print, and how to end.
#[derive(Debug)]
pub struct Finished {
    pub text: String,
    pub ending: Ending,
}

impl Finished {
    pub fn done(text: impl Into<String>) -> Finished {
        Finished::with(text, Code::Done)
    }

    pub fn with(text: impl Into<String>, ending: impl Into<Ending>) -> Finished {
        Finished { text: text.into(), ending: ending.into() }
    }
}

/// Why a command did not do what was asked, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub code: Code,
    pub message: String,
}

impl Failure {
    /// The arguments, the environment or the configuration file have to be corrected.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure { code: Code::Usage, message: message.into() }
    }

    /// Nobody answered, or with nothing that can be used.
    pub fn unavailable(message: impl Into<String>) -> Failure {
        Failure { code: Code::Unavailable, message: message.into() }
    }

    /// The API answered, and will not do it.
    pub fn refused(message: impl Into<String>) -> Failure {
        Failure { code: Code::Refused, message: message.into() }
    }

    pub fn failed(message: impl Into<String>) -> Failure {
        Failure { code: Code::Failed, message: message.into() }
    }
}
