//! Which versions of a lineage this product wrote here: only those are ever pruned.
//!
//! A tree that was taken over holds versions, and keys, of somebody else's.

use std::io;
use std::path::{Path, PathBuf};

use crate::model::bundle::Number;
use crate::model::names::LineageName;
use crate::sys::atomic::{self, Attributes};
use crate::sys::bounded;
use crate::sys::dir::Dir;

const DIRECTORY: &str = "written";
const SIZE_AT_MOST: u64 = 1024 * 1024;

fn path(state: &Path, lineage: &LineageName) -> PathBuf {
    state.join(DIRECTORY).join(lineage.as_str())
}

/// The numbers written here. Without a record there are none, and then nothing is pruned; a disk that does not say is an
/// error, lest what it holds be written over and never be pruned.
pub fn numbers(state: &Path, lineage: &LineageName) -> io::Result<Vec<Number>> {
    match bounded::read_bounded(&path(state, lineage), SIZE_AT_MOST) {
        Ok(text) => Ok(serde_json::from_slice(&text).unwrap_or_default()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Remembers the numbers; durable when this returns. The caller holds the node's lock, so a temporary file here is
/// what a killed call left.
pub fn set(state: &Path, lineage: &LineageName, numbers: &[Number]) -> io::Result<()> {
    let directory = Dir::open(state)?.create_beneath(DIRECTORY, 0o700)?;
    atomic::remove_leftovers(&directory)?;
    let attributes = Attributes { mode: 0o600, owner: None };
    atomic::replace(&directory, lineage.as_str(), &serde_json::to_vec(numbers)?, &attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_cannot_be_read_is_not_taken_for_none() {
        let state = tempfile::tempdir().unwrap();
        let lineage: LineageName = "www.site.test".parse().unwrap();
        assert!(numbers(state.path(), &lineage).unwrap().is_empty());
        set(state.path(), &lineage, &[3.try_into().unwrap()]).unwrap();
        assert_eq!(numbers(state.path(), &lineage).unwrap().len(), 1);
        std::fs::remove_file(path(state.path(), &lineage)).unwrap();
        std::fs::create_dir(path(state.path(), &lineage)).unwrap();
        assert!(numbers(state.path(), &lineage).is_err());
    }
}
