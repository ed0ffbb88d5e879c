//! Says which path an error of the system is about.

use crate::model::escape::escaped;
use std::io;
use std::path::Path;

/// The same error with what was tried and where in its message; the kind stays.
pub(super) fn at_path(tried: &str, path: &Path, error: impl Into<io::Error>) -> io::Error {
    let error = error.into();
    io::Error::new(error.kind(), format!("cannot {tried} {}: {error}", shown(path)))
}

/// A path as a message shows it.
pub(super) fn shown(path: &Path) -> String {
    escaped(&path.to_string_lossy())
}
