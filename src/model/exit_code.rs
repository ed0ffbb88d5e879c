//! The exit codes, all of them.

/// How a command ended, for scripts and monitoring. certbot ignores its hooks' codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum ExitCode {
    /// Everything asked for is done.
    Done = 0,
    /// It failed: no node is in line.
    Failed = 1,
    /// The command line or the configuration is wrong; nothing was tried.
    Usage = 2,
    /// Done on some nodes; the rest is pending and will be done by `certcast resync`.
    Partly = 3,
    /// The input is not fit to be sent; no node was changed.
    Refused = 4,
    /// A node could not be brought back by itself and needs a person.
    Stuck = 5,
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        std::process::ExitCode::from(code as u8)
    }
}
