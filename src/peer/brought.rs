//! Which leafs of a lineage were brought here: a service may go on showing one whose files are long pruned.

use std::io;
use std::path::Path;

use crate::model::certificate::Leaf;
use crate::model::digest::Digest;
use crate::model::names::LineageName;
use crate::peer::memo::{self, Kind};

/// Whoever shows an older one is so far behind that its certificate has expired.
const REMEMBERED: usize = 16;

/// The leafs, the latest last. Without a record, or with a damaged one, there are none; a disk that does not say is an error.
pub fn leafs(state: &Path, lineage: &LineageName) -> io::Result<Vec<Digest>> {
    let text = memo::read(state, Kind::Brought, lineage.as_str())?;
    Ok(text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default())
}

/// Whether these certificates are led by a leaf that was brought here.
pub fn is_led_by_one(state: &Path, lineage: &LineageName, pem: Option<&str>) -> io::Result<bool> {
    let Some(leaf) = pem.and_then(|pem| Leaf::read(pem).ok()) else { return Ok(false) };
    Ok(leafs(state, lineage)?.contains(&leaf.digest))
}

/// Remembers leafs beside those known; durable when this returns. The caller holds the node's lock.
pub fn note(state: &Path, lineage: &LineageName, new: impl IntoIterator<Item = Digest>) -> io::Result<()> {
    let known = leafs(state, lineage)?;
    let mut leafs = known.clone();
    for leaf in new {
        leafs.retain(|known| *known != leaf);
        leafs.push(leaf);
    }
    if leafs == known {
        return Ok(());
    }
    leafs.drain(..leafs.len().saturating_sub(REMEMBERED));
    memo::keep(state, Kind::Brought, lineage.as_str(), &serde_json::to_vec(&leafs)?)
}

/// Forgets a leaf that did not stay. The caller holds the node's lock.
pub fn forget(state: &Path, lineage: &LineageName, leaf: Digest) -> io::Result<()> {
    let mut known = leafs(state, lineage)?;
    known.retain(|other| *other != leaf);
    if known.is_empty() {
        return memo::remove(state, Kind::Brought, lineage.as_str());
    }
    memo::keep(state, Kind::Brought, lineage.as_str(), &serde_json::to_vec(&known)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_leafs_are_known_each_once_and_a_record_that_cannot_be_read_is_not_taken_for_none() {
        let state = tempfile::tempdir().unwrap();
        let lineage: LineageName = "www.site.test".parse().unwrap();
        let leaf = |number: usize| Digest::of(&number.to_be_bytes());
        assert!(leafs(state.path(), &lineage).unwrap().is_empty());
        for number in 1..=REMEMBERED {
            note(state.path(), &lineage, [leaf(number - 1), leaf(number)]).unwrap();
        }
        let mut latest: Vec<_> = (1..=REMEMBERED).map(leaf).collect();
        assert_eq!(leafs(state.path(), &lineage).unwrap(), latest);
        note(state.path(), &lineage, [leaf(1)]).unwrap();
        latest.rotate_left(1);
        assert_eq!(leafs(state.path(), &lineage).unwrap(), latest, "an old one that is back is the latest");
        let record = state.path().join(Kind::Brought.directory()).join(lineage.as_str());
        std::fs::remove_file(&record).unwrap();
        std::fs::create_dir(&record).unwrap();
        assert!(leafs(state.path(), &lineage).is_err());
    }
}
