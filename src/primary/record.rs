//! What became of each lineage on each node, last time: since when it is out of line, and what it acknowledged.
//!
//! Only a memory for messages and a hint for what travels first. Correctness comes from comparing digests.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::digest::Digest;
use crate::model::names::{LineageName, NodeName};
use crate::model::outcome::Outcome;
use crate::sys::atomic::{self, Attributes};
use crate::sys::bounded;
use crate::sys::dir::Dir;

/// More than any outcome that was received has.
const SIZE_AT_MOST: u64 = 2 * 1024 * 1024;

/// The last outcome of one lineage on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// How it ended.
    pub outcome: Outcome,
    /// The bundle that the node acknowledged last, if any.
    pub has: Option<Digest>,
    /// Since when the node is out of line; none when it is in line.
    pub pending_since: Option<Timestamp>,
    /// Whether something was wrong with the node itself the last time that it was not held back by another one.
    #[serde(default)]
    pub is_doubtful: bool,
    /// When it ended so, the last time: when the file was written or touched.
    #[serde(skip)]
    pub at: Timestamp,
}

fn path(state: &Path, node: &NodeName, lineage: &LineageName) -> PathBuf {
    state.join("records").join(node.as_str()).join(lineage.as_str())
}

/// What is remembered. A damaged record is none.
pub fn read(state: &Path, node: &NodeName, lineage: &LineageName) -> Option<Record> {
    let path = path(state, node, lineage);
    let record: Record = serde_json::from_slice(&bounded::read_bounded(&path, SIZE_AT_MOST).ok()?).ok()?;
    let at = std::fs::metadata(&path).and_then(|metadata| metadata.modified()).ok()?;
    Some(Record { at: Timestamp::try_from(at).ok()?, ..record })
}

/// All lineages of which something is remembered for a node.
pub fn lineages(state: &Path, node: &NodeName) -> Vec<LineageName> {
    let entries = std::fs::read_dir(state.join("records").join(node.as_str())).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    names.sort();
    names
}

/// Forgets a lineage on a node.
pub fn forget(state: &Path, node: &NodeName, lineage: &LineageName) -> io::Result<()> {
    std::fs::remove_file(path(state, node, lineage))
}

/// Remembers an outcome; returns since when the node is out of line. The caller holds the lock of deliveries, so a temporary
/// file here is what a killed run left.
pub fn note(
    state: &Path,
    node: &NodeName,
    lineage: &LineageName,
    offered: Digest,
    outcome: &Outcome,
    is_held_back: bool,
) -> io::Result<Option<Timestamp>> {
    let before = read(state, node, lineage);
    let now = Timestamp::now();
    let (has, pending_since) = if outcome.is_in_sync() {
        (Some(offered), None)
    } else {
        let since = before.as_ref().and_then(|record| record.pending_since);
        (before.as_ref().and_then(|record| record.has), Some(since.unwrap_or(now)))
    };
    // That it was held back says nothing of what was wrong with it before.
    let was_doubtful = before.as_ref().is_some_and(|record| record.is_doubtful);
    let is_doubtful = if is_held_back { was_doubtful } else { !outcome.is_in_sync() };
    let record = Record { outcome: outcome.clone().harmless(), has, pending_since, is_doubtful, at: now };
    let path = path(state, node, lineage);
    // 500 lineages on 50 nodes are 25,000 records, mostly as they were: those are touched, and no disk is waited for.
    let is_as_before = before.is_some_and(|before| Record { at: now, ..before } == record);
    if is_as_before && std::fs::File::open(&path).and_then(|file| file.set_modified(now.into())).is_ok() {
        return Ok(pending_since);
    }
    let text = serde_json::to_vec(&record)?;
    if u64::try_from(text.len()).is_ok_and(|length| length > SIZE_AT_MOST) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "an outcome too long to be read back"));
    }
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
        atomic::remove_leftovers(&Dir::open(directory)?)?;
    }
    atomic::replace_path(&path, &text, &Attributes { mode: 0o600, owner: None })?;
    Ok(pending_since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_noted_is_read_back() {
        let state = tempfile::tempdir().unwrap();
        let (node, lineage): (NodeName, LineageName) = ("web2".parse().unwrap(), "www".parse().unwrap());
        let notes = vec!["\u{202e}".repeat(9000); 1000];
        let killed = state.path().join("records/web2/.certcast-0123456789abcdef.tmp");
        std::fs::create_dir_all(killed.parent().unwrap()).unwrap();
        std::fs::write(&killed, "half").unwrap();
        for outcome in [Outcome::Applied { notes }, Outcome::Pending { cause: "\u{1b}".repeat(3 << 20) }] {
            let offered = Digest::of(b"x");
            note(state.path(), &node, &lineage, offered, &outcome, false).unwrap();
            let record = read(state.path(), &node, &lineage).unwrap();
            assert_eq!(record.pending_since.is_none(), outcome.is_in_sync());
            assert_eq!(record.has, Some(offered));
            assert!(!killed.exists(), "what a killed run left");
        }
    }

    #[test]
    fn a_fault_is_remembered_while_its_node_is_held_back() {
        let state = tempfile::tempdir().unwrap();
        let (node, lineage): (NodeName, LineageName) = ("web2".parse().unwrap(), "www".parse().unwrap());
        // A node may say the very words.
        let pending = || Outcome::Pending { cause: "held back: web3 failed".into() };
        for (outcome, is_held_back, is_doubtful) in [
            (pending(), true, false),
            (pending(), false, true),
            (pending(), true, true),
            (Outcome::Unchanged, false, false),
            (pending(), true, false),
        ] {
            note(state.path(), &node, &lineage, Digest::of(b"x"), &outcome, is_held_back).unwrap();
            let record = read(state.path(), &node, &lineage).unwrap();
            assert_eq!((record.outcome, record.is_doubtful), (outcome, is_doubtful));
        }
    }

    #[test]
    fn an_outcome_as_the_last_one_is_only_touched() {
        use std::os::unix::fs::MetadataExt;
        let state = tempfile::tempdir().unwrap();
        let (node, lineage): (NodeName, LineageName) = ("web2".parse().unwrap(), "www".parse().unwrap());
        let inode = || path(state.path(), &node, &lineage).metadata().unwrap().ino();
        let noted =
            |offered| note(state.path(), &node, &lineage, Digest::of(offered), &Outcome::Unchanged, false).unwrap();
        noted(b"x");
        let file = std::fs::File::open(path(state.path(), &node, &lineage)).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        let first = inode();
        noted(b"x");
        let age = Timestamp::now().duration_since(read(state.path(), &node, &lineage).unwrap().at);
        assert!(inode() == first && age.as_secs() < 600, "{age}");
        // The first file is still open, so that no other can have its number.
        noted(b"y");
        assert_ne!(inode(), first);
    }
}
