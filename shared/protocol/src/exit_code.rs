//! The exit codes of the host binary.

/// How a command of the host binary ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    Done = 0,
    Failed = 1,
    RolledBack = 10,
    Down = 11,
    Refused = 12,
    Untouched = 13,
    Usage = 64,
    Unavailable = 69,
    StillBusy = 75,
}

impl ExitCode {
    pub const ALL: [ExitCode; 9] = [
        ExitCode::Done,
        ExitCode::Failed,
        ExitCode::RolledBack,
        ExitCode::Down,
        ExitCode::Refused,
        ExitCode::Untouched,
        ExitCode::Usage,
        ExitCode::Unavailable,
        ExitCode::StillBusy,
    ];

    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The meaning of a number that a process ended with; `None` for one that this version does not
    /// know, or that a shell or a signal made.
    #[must_use]
    pub fn read(code: i32) -> Option<ExitCode> {
        Self::ALL.into_iter().find(|known| i32::from(known.code()) == code)
    }

    /// What it means, as the command's help and the host's documentation say it.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            ExitCode::Done => "done, or already so",
            ExitCode::Failed => "failed, or `status` found the host degraded",
            ExitCode::RolledBack => "the deploy failed, the previous containers run again",
            ExitCode::Down => {
                "the deploy failed, and the previous containers could not be restored"
            }
            ExitCode::Refused => {
                "refused: something else is in progress, or the host is terminating"
            }
            ExitCode::Untouched => "the deploy failed before anything was touched",
            ExitCode::Usage => "wrong usage or configuration",
            ExitCode::Unavailable => {
                "the server does not answer within a minute, or the worker's state is unknown"
            }
            ExitCode::StillBusy => "not drained: a job still runs; ask again",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ExitCode;

    #[test]
    fn a_number_that_nobody_gave_has_no_meaning() {
        for code in ExitCode::ALL {
            assert_eq!(ExitCode::read(i32::from(code.code())), Some(code));
        }
        for code in [-1, 2, 126, 127, 137, 266] {
            assert_eq!(ExitCode::read(code), None, "{code}");
        }
    }
}
