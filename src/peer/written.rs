//! Which versions of a lineage this product wrote here: only those are ever pruned.
//!
//! A tree that was taken over holds versions, and keys, of somebody else's.

use std::io;
use std::path::Path;

use crate::model::bundle::Number;
use crate::model::names::LineageName;
use crate::peer::memo::{self, Kind};

/// The numbers written here. Without a record there are none, and then nothing is pruned; a disk that does not say is an
/// error, lest what it holds be written over and never be pruned.
pub fn numbers(state: &Path, lineage: &LineageName) -> io::Result<Vec<Number>> {
    let text = memo::read(state, Kind::Written, lineage.as_str())?;
    Ok(text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default())
}

/// Remembers the numbers; durable when this returns. The caller holds the node's lock.
pub fn set(state: &Path, lineage: &LineageName, numbers: &[Number]) -> io::Result<()> {
    memo::keep(state, Kind::Written, lineage.as_str(), &serde_json::to_vec(numbers)?)
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
        let record = state.path().join(Kind::Written.directory()).join(lineage.as_str());
        std::fs::remove_file(&record).unwrap();
        std::fs::create_dir(&record).unwrap();
        assert!(numbers(state.path(), &lineage).is_err());
    }
}
