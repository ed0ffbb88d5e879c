//! How the last transactions ended, for a primary that lost the answer.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::model::names::LineageName;
use crate::model::outcome::Outcome;
use crate::sys::atomic::{self, Attributes};
use crate::sys::bounded;
use crate::sys::dir::Dir;
use crate::wire::message::TransactionId;

/// A primary asks at once or not at all.
const REMEMBERED: usize = 32;
const SIZE_AT_MOST: u64 = 1024 * 1024;

/// One ended transaction.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    transaction: TransactionId,
    lineage: LineageName,
    outcome: Outcome,
}

/// In a directory of its own: what a killed write left there can only be ours.
const DIRECTORY: &str = "outcomes";
const NAME: &str = "last.json";

/// How a transaction ended, if it is remembered. A damaged file is an empty one: it only answers questions.
pub fn recall(state_dir: &Path, transaction: &TransactionId) -> Option<Outcome> {
    read(state_dir).into_iter().rev().find(|entry| entry.transaction == *transaction).map(|entry| entry.outcome)
}

/// Remembers how a transaction ended; durable when this returns. The caller holds the node's lock.
///
/// Killed on the way, it leaves a temporary file. The journal is still there then, so recovery
/// comes by here again and takes it away.
pub fn remember(
    state_dir: &Path,
    transaction: &TransactionId,
    lineage: &LineageName,
    outcome: &Outcome,
) -> io::Result<()> {
    let directory = Dir::open(state_dir)?.create_beneath(DIRECTORY, 0o700)?;
    atomic::remove_leftovers(&directory)?;
    let mut entries = read(state_dir);
    entries.push(Entry { transaction: transaction.clone(), lineage: lineage.clone(), outcome: outcome.clone() });
    let excess = entries.len().saturating_sub(REMEMBERED);
    entries.drain(..excess);
    let text = serde_json::to_vec(&entries)?;
    atomic::replace(&directory, NAME, &text, &Attributes { mode: 0o600, owner: None })
}

fn read(state_dir: &Path) -> Vec<Entry> {
    let text = bounded::read_bounded(&state_dir.join(DIRECTORY).join(NAME), SIZE_AT_MOST).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}
