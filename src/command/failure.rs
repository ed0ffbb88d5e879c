//! How a command fails: an exit code, a cause with its chain, printed in one place.

use std::fmt::Write as _;
use std::io::Write as _;

use crate::model::config::ConfigError;
use crate::model::exit_code::ExitCode;

/// Why a command ended without doing its work.
#[derive(Debug)]
pub struct Failure {
    /// What a script sees.
    pub code: ExitCode,
    /// What a person reads.
    pub error: anyhow::Error,
}

impl Failure {
    /// The input is not fit; no node was changed.
    pub fn refused(error: impl Into<anyhow::Error>) -> Failure {
        Failure { code: ExitCode::Refused, error: error.into() }
    }

    /// The command line, its environment or the configuration is wrong.
    pub fn usage(error: impl Into<anyhow::Error>) -> Failure {
        Failure { code: ExitCode::Usage, error: error.into() }
    }

    /// What is printed: the error and its causes.
    pub fn text(&self) -> String {
        let mut text = self.error.to_string();
        for cause in self.error.chain().skip(1) {
            _ = write!(text, ": {cause}");
        }
        text
    }

    /// Prints it to standard error and to the log.
    pub fn report(&self) {
        let text = format!("certcast: {}", self.text());
        tracing::error!("{text}");
        // Nobody may be reading; that is no reason to fail in another way.
        _ = writeln!(std::io::stderr(), "{text}");
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        Failure::usage(error)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure { code: ExitCode::Failed, error }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure { code: ExitCode::Failed, error: error.into() }
    }
}
