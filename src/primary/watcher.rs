//! Who is told how far a rollout is, while it goes on.

use std::fmt::{Display, Formatter, Result};

use crate::model::names::{LineageName, NodeName};

/// Is told, by many threads, and must not keep them.
pub trait Watcher: Sync {
    /// Lineages are brought to these nodes from now on; at least one.
    fn begins(&self, lineages: &[&LineageName], nodes: Vec<NodeName>);
    /// A node is there now.
    fn reaches(&self, node: &NodeName, phase: Phase);
}

/// Where a node is on its way to a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It waits for its turn, and then for an answer.
    Connecting,
    /// It gets the bundle and checks it.
    Staging,
    /// It has staged, and waits for the word.
    Staged,
    /// It switches, tests, reloads and probes.
    Switching,
    /// However it ended.
    Done,
}

impl Display for Phase {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        formatter.write_str(match self {
            Phase::Connecting => "connecting",
            Phase::Staging => "staging",
            Phase::Staged => "staged",
            Phase::Switching => "switching",
            Phase::Done => "done",
        })
    }
}
