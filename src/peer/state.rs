//! The transaction as a pure state machine: which record may follow which, and what a crash leaves to do.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::model::bundle::{Number, Part};
use crate::model::digest::Digest;
use crate::model::names::LineageName;
use crate::model::outcome::Step;
use crate::peer::probe::Expectation;
use crate::wire::transaction_id::TransactionId;

/// One line of the journal. Each is durable before what it announces is done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
pub enum Record {
    /// Files are about to be written beside the visible ones. One for each lineage of the transaction, all at its beginning.
    Begun(Box<Intent>),
    /// From here on the visible tree may be the new one.
    Switching,
    /// The services show the new bundle: what is left is tidying up.
    Confirmed,
    /// From here on the visible tree is being made the old one again.
    Undoing {
        /// What failed.
        step: Step,
        /// Why.
        cause: String,
    },
    /// The old tree is visible and in service again: what is left is tidying up.
    Undone,
    /// Undoing failed; a person is needed.
    Stuck {
        /// Why, first cause first.
        cause: String,
    },
}

/// Everything that finishing or undoing one lineage's share of a transaction needs to know, written before anything is done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    /// The primary's name for it.
    pub transaction: TransactionId,
    /// The lineage.
    pub lineage: LineageName,
    /// What `live/NAME` showed before.
    pub before: Before,
    /// The number that it is to show.
    pub to: Number,
    /// The archive files of that number that were not there before and go again when this is undone.
    pub writes: Vec<Part>,
    /// The joined files that change with it.
    pub joined: Vec<JoinedFile>,
    /// The numbers to keep when this succeeds.
    pub keep: Vec<Number>,
    /// Whether all services are held to their tests on the way back: they passed before, or had to, as what was installed is
    /// whole. Else they failed for want of one of these certificates, and only those that are well are told.
    pub tests_passed: bool,
    /// The bundle that it is to show.
    pub digest: Digest,
    /// The leaf that was installed before, if one was.
    pub old_leaf: Option<Digest>,
    /// Where that leaf, or an older one of this lineage, or the new one already, was served before.
    pub expectations: Vec<Expectation>,
    /// Where of these the new one was, and not the old one: on the way back any is good enough there.
    pub ahead: Vec<Expectation>,
}

/// A joined file of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinedFile {
    /// Where.
    pub path: PathBuf,
    /// Whether it was there before.
    pub existed: bool,
}

/// What `live/NAME` was before a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Before {
    /// There was none.
    Nothing,
    /// certbot's layout, showing this number.
    Number(Number),
    /// A directory made by somebody else, taken over on request; it is kept as a backup.
    Foreign,
    /// The primary's own tree, which certbot has switched already and which is never touched.
    Certbot,
}

/// Where a transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No transaction.
    Idle,
    /// Files may have been written; the visible tree is the old one.
    Staging,
    /// The visible tree is the old or the new one.
    Switching,
    /// The visible tree is the new one and is served.
    Confirmed,
    /// The visible tree is on its way back.
    Undoing,
    /// The visible tree is the old one and is served.
    Undone,
    /// A person is needed.
    Stuck,
}

/// What to do with what a crash left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// Nothing.
    Nothing,
    /// Remove what was staged.
    Discard,
    /// Make the old tree visible again and tell the services.
    Undo,
    /// Tidy up: the old tree is in service again.
    PutAway,
    /// Tidy up: the new tree is in service.
    Finish,
}

/// A journal that no run of this program can have written.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a record is out of order: it cannot follow {0:?}")]
pub struct OutOfOrder(State);

impl State {
    /// The state after one more record.
    pub fn after(self, record: &Record) -> Result<State, OutOfOrder> {
        match (self, record) {
            (State::Idle | State::Staging, Record::Begun(_)) => Ok(State::Staging),
            (State::Staging, Record::Switching) => Ok(State::Switching),
            (State::Switching, Record::Confirmed) => Ok(State::Confirmed),
            // Undoing may be tried again and again, by a later run or a person; it is noted once, so no journal grows.
            (State::Switching, Record::Undoing { .. }) => Ok(State::Undoing),
            // On a full disk the line before these may be missing.
            (State::Switching | State::Undoing, Record::Stuck { .. }) => Ok(State::Stuck),
            (State::Switching | State::Undoing | State::Stuck, Record::Undone) => Ok(State::Undone),
            (state, _) => Err(OutOfOrder(state)),
        }
    }

    /// The state after all records.
    pub fn replay<'a>(records: impl IntoIterator<Item = &'a Record>) -> Result<State, OutOfOrder> {
        records.into_iter().try_fold(State::Idle, State::after)
    }

    /// What a crash in this state leaves to do.
    ///
    /// Only a confirmed transaction is finished. One that had switched but was not yet seen to be
    /// served is undone: the old tree was in service a moment ago, the new one has proven nothing,
    /// and the primary will come again.
    pub fn recovery(self) -> Recovery {
        match self {
            State::Idle => Recovery::Nothing,
            State::Staging => Recovery::Discard,
            State::Switching | State::Undoing | State::Stuck => Recovery::Undo,
            State::Undone => Recovery::PutAway,
            State::Confirmed => Recovery::Finish,
        }
    }
}

#[cfg(test)]
mod tests;
