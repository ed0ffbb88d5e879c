//! How the last transactions ended, for a primary that lost the answer.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::model::names::LineageName;
use crate::model::outcome::Outcome;
use crate::sys::atomic::{self, Attributes};
use crate::sys::bounded;
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

fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("outcomes.json")
}

/// How a transaction ended, if it is remembered. A damaged file is an empty one: it only answers questions.
pub fn recall(state_dir: &Path, transaction: &TransactionId) -> Option<Outcome> {
    read(state_dir).into_iter().rev().find(|entry| entry.transaction == *transaction).map(|entry| entry.outcome)
}

/// Remembers how a transaction ended; durable when this returns.
pub fn remember(
    state_dir: &Path,
    transaction: &TransactionId,
    lineage: &LineageName,
    outcome: &Outcome,
) -> io::Result<()> {
    let mut entries = read(state_dir);
    entries.push(Entry { transaction: transaction.clone(), lineage: lineage.clone(), outcome: outcome.clone() });
    let excess = entries.len().saturating_sub(REMEMBERED);
    entries.drain(..excess);
    let text = serde_json::to_vec(&entries)?;
    atomic::replace_path(&path(state_dir), &text, &Attributes { mode: 0o600, owner: None })
}

fn read(state_dir: &Path) -> Vec<Entry> {
    let text = bounded::read_bounded(&path(state_dir), SIZE_AT_MOST).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}
