//! How the last transactions ended, for a primary that lost the answer.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::model::names::LineageName;
use crate::model::outcome::Outcome;
use crate::peer::memo::{self, Kind};
use crate::wire::message::TransactionId;

/// A primary asks at once or not at all.
const REMEMBERED: usize = 32;

/// One ended transaction.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    transaction: TransactionId,
    lineage: LineageName,
    outcome: Outcome,
}

const NAME: &str = "last.json";

/// How a transaction ended and of which lineage it was, if it is remembered. A damaged file is an empty one: it only answers questions.
pub fn recall(state_dir: &Path, transaction: &TransactionId) -> Option<(LineageName, Outcome)> {
    read(state_dir)
        .into_iter()
        .rev()
        .find(|entry| entry.transaction == *transaction)
        .map(|entry| (entry.lineage, entry.outcome))
}

/// Remembers how a transaction ended; durable when this returns. The caller holds the node's lock.
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
    memo::keep(state_dir, Kind::Outcomes, NAME, &serde_json::to_vec(&entries)?)
}

fn read(state_dir: &Path) -> Vec<Entry> {
    let text = memo::read(state_dir, Kind::Outcomes, NAME).ok().flatten().unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}
