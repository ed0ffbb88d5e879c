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

impl ExitCode {
    /// That of a run over so many, of which so many went well; `unfit` when something was not fit to be tried.
    ///
    /// What a script may conclude: 3 says that something is in line, 4 that nothing was tried at all.
    pub fn of(all: usize, well: usize, unfit: bool) -> Self {
        match (all, well) {
            (0, _) if unfit => ExitCode::Refused,
            _ if all == well && !unfit => ExitCode::Done,
            (_, 0) => ExitCode::Failed,
            _ => ExitCode::Partly,
        }
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        std::process::ExitCode::from(code as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::ExitCode::{self, Done, Failed, Partly, Refused};

    #[test]
    fn partly_needs_one_in_line_and_refused_means_that_nothing_was_tried() {
        for (all, well, fit, unfit) in
            [(0, 0, Done, Refused), (1, 1, Done, Partly), (2, 1, Partly, Partly), (2, 0, Failed, Failed)]
        {
            assert_eq!(
                (ExitCode::of(all, well, false), ExitCode::of(all, well, true)),
                (fit, unfit),
                "{well} of {all}"
            );
        }
    }
}
