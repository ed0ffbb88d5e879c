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

const SIZE_AT_MOST: u64 = 64 * 1024;

/// The last outcome of one lineage on one node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// How it ended.
    pub outcome: Outcome,
    /// The bundle that the node acknowledged last, if any.
    pub has: Option<Digest>,
    /// Since when the node is out of line; none when it is in line.
    pub pending_since: Option<Timestamp>,
    /// When this was written.
    pub at: Timestamp,
}

fn path(state: &Path, node: &NodeName, lineage: &LineageName) -> PathBuf {
    state.join("records").join(node.as_str()).join(lineage.as_str())
}

/// What is remembered. A damaged record is none.
pub fn read(state: &Path, node: &NodeName, lineage: &LineageName) -> Option<Record> {
    let text = bounded::read_bounded(&path(state, node, lineage), SIZE_AT_MOST).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Remembers an outcome; returns since when the node is out of line.
pub fn note(
    state: &Path,
    node: &NodeName,
    lineage: &LineageName,
    offered: Digest,
    outcome: &Outcome,
) -> io::Result<Option<Timestamp>> {
    let before = read(state, node, lineage);
    let now = Timestamp::now();
    let (has, pending_since) = if outcome.is_in_sync() {
        (Some(offered), None)
    } else {
        let since = before.as_ref().and_then(|record| record.pending_since);
        (before.and_then(|record| record.has), Some(since.unwrap_or(now)))
    };
    let record = Record { outcome: outcome.clone(), has, pending_since, at: now };
    let path = path(state, node, lineage);
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    atomic::replace_path(&path, &serde_json::to_vec(&record)?, &Attributes { mode: 0o600, owner: None })?;
    Ok(pending_since)
}
