//! How a command ends: with a text and an exit code. The codes are the host binary's, so that a
//! number means the same on both sides.

use fleet_protocol::exit_code::ExitCode as Code;

/// What is left to print, and the code to end with.
#[derive(Debug)]
pub struct Finished {
    pub text: String,
    pub code: Code,
}

impl Finished {
    pub fn done(text: impl Into<String>) -> Finished {
        Finished { text: text.into(), code: Code::Done }
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
