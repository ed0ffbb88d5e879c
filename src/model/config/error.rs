//! Why there is no configuration.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::diagnostic::Diagnostic;
use crate::model::escape::escaped;
use crate::model::exposure::Exposure;
use crate::model::names::NameError;

/// Why a configuration could not be used. `Display` names the file and the remedy.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// No such file.
    #[error("{}: there is no such file; docs/operations.md shows one, --config names another", shown(.0))]
    Missing(PathBuf),
    /// This user may not read it.
    #[error("{}: permission denied; run certcast as root or as the user the file belongs to", shown(.0))]
    Forbidden(PathBuf),
    /// A directory, a FIFO, a device.
    #[error("{}: this is {what}, not a regular file; name the configuration file itself", shown(.path))]
    NotAFile {
        /// What was named.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// Others could change what root goes by.
    #[error("{}: {exposure}, {why}; run: {}", shown(.path), escaped(&exposure.remedy(.path)))]
    Exposed {
        /// The file or directory.
        path: PathBuf,
        /// How.
        exposure: Exposure,
        /// What they could do then.
        why: &'static str,
    },
    /// Nobody writes such a configuration by hand.
    #[error("{}: the file is larger than 1 MiB; this is not a configuration of certcast", shown(.0))]
    TooLarge(PathBuf),
    /// TOML is UTF-8.
    #[error("{}:{line}: the file is not UTF-8 text; save it as UTF-8", shown(.path))]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The line with the first bad byte, counted from 1.
        line: usize,
    },
    /// The file system failed.
    #[error("{}: the file cannot be read", shown(.path))]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// No name is configured and the system's does not serve.
    #[error("{}: this system's host name cannot name the node; set name in [node]", shown(.path))]
    HostName {
        /// The file.
        path: PathBuf,
        /// What is wrong with the host name.
        source: NameError,
    },
    /// Something in it is wrong, at a known place.
    #[error("{0}")]
    Wrong(Box<Diagnostic>),
}

fn shown(path: &Path) -> String {
    escaped(&path.to_string_lossy())
}
