//! How the last transactions ended, for a primary that lost the answer.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::peer::memo::{self, Kind};
use crate::wire::message::{Ended, TOGETHER_AT_MOST};
use crate::wire::transaction_id::TransactionId;

/// A primary asks at once or not at all: the last transaction, with an entry for each of its lineages, and a few more.
const REMEMBERED: usize = TOGETHER_AT_MOST + 10;

/// One lineage's share of an ended transaction.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    transaction: TransactionId,
    #[serde(flatten)]
    ended: Ended,
}

const NAME: &str = "last.json";

/// How a transaction ended, for each lineage of it, as far as it is remembered. A damaged file is an empty one: it only
/// answers questions.
pub fn recall(state_dir: &Path, transaction: &TransactionId) -> Vec<Ended> {
    let entries = read(state_dir).into_iter().filter(|entry| entry.transaction == *transaction);
    entries.map(|entry| entry.ended).collect()
}

/// Remembers how a transaction ended; durable when this returns. The caller holds the node's lock.
pub fn remember(state_dir: &Path, transaction: &TransactionId, ended: &[Ended]) -> io::Result<()> {
    let mut entries = read(state_dir);
    // One that was stuck, and was brought to an end, has one end.
    entries.retain(|entry| entry.transaction != *transaction);
    entries.extend(ended.iter().map(|ended| Entry { transaction: transaction.clone(), ended: ended.clone() }));
    let excess = entries.len().saturating_sub(REMEMBERED);
    entries.drain(..excess);
    memo::keep(state_dir, Kind::Outcomes, NAME, &serde_json::to_vec(&entries)?)
}

fn read(state_dir: &Path) -> Vec<Entry> {
    let text = memo::read(state_dir, Kind::Outcomes, NAME).ok().flatten().unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}
