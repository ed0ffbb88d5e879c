//! The transaction's journal: intent is durable before the act.
//!
//! One file, one transaction; each line is a checksum and a record, appended and fsynced. What is set out for each lineage has
//! a line, and all lines after those are of all lineages: they end alike. A crash can
//! only tear the last line, and a torn line is one that was never written: what it announces was not begun. A torn line
//! has no newline. One with a newline and a wrong checksum was written and is rotten: it may have said that the switch began.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::model::digest::Digest;
use crate::model::names::LineageName;
use crate::model::outcome::Step;
use crate::peer::state::{Intent, OutOfOrder, Record, State};
use crate::sys::line_log::LineLog;
use crate::sys::{bounded, sync};
use crate::wire::transaction_id::TransactionId;

const NAME: &str = "transaction.journal";
/// A journal has a line a lineage and a handful more; expectations of a lineage with 100 names make the longest.
const SIZE_AT_MOST: u64 = 4 * 1024 * 1024;

/// Why a journal cannot be trusted.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The disk.
    #[error("cannot use the journal {0}")]
    Io(PathBuf, #[source] io::Error),
    /// A damaged line: more than a crash happened here.
    #[error("the journal {0} is damaged in line {1}; look at live/, then move the journal away")]
    Damaged(PathBuf, usize),
    /// Lines in an order that this program never writes.
    #[error("the journal {0} makes no sense; look at live/, then move the journal away")]
    Order(PathBuf, #[source] OutOfOrder),
}

/// The journal of the transaction under way. Only its owner, who holds the node's lock, has one.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    log: LineLog<File>,
    state: State,
    transaction: TransactionId,
    intents: Vec<Intent>,
    failure: Option<(Step, String)>,
}

impl Journal {
    /// Begins one, with a lineage's share an intent: durable, with its directory entry, when this returns. Of lines that a
    /// crash tears before that, nothing was begun.
    pub fn begin(state_dir: &Path, transaction: &TransactionId, intents: Vec<Intent>) -> Result<Journal, JournalError> {
        let path = state_dir.join(NAME);
        let failed = |error| JournalError::Io(path.clone(), error);
        let lines = intents.iter().map(|intent| line(&Record::Begun(Box::new(intent.clone()))));
        let begun = lines.collect::<io::Result<Vec<_>>>().map_err(failed)?.concat();
        if begun.len() as u64 > SIZE_AT_MOST / 2 {
            let why = "too many places to see the certificate at: name fewer in service.probe";
            return Err(failed(io::Error::new(io::ErrorKind::FileTooLarge, why)));
        }
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
        let mut log = LineLog::empty(file);
        log.append(&begun).map_err(failed)?;
        sync::sync_tree_files(&[&path]).map_err(failed)?;
        Ok(Journal { path, log, state: State::Staging, transaction: transaction.clone(), intents, failure: None })
    }

    /// Opens what a crash left, if it left anything. A torn first line means that nothing was begun.
    pub fn open(state_dir: &Path) -> Result<Option<Journal>, JournalError> {
        let path = state_dir.join(NAME);
        let failed = |error| JournalError::Io(path.clone(), error);
        let text = match bounded::read_bounded(&path, SIZE_AT_MOST) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(failed)?,
        };
        let (records, whole) = parse(&text).map_err(|line| JournalError::Damaged(path.clone(), line))?;
        let state = State::replay(&records).map_err(|error| JournalError::Order(path.clone(), error))?;
        let failure = records.iter().rev().find_map(failure_in);
        let intents = intents(records);
        let Some(transaction) = intents.first().map(|intent| intent.transaction.clone()) else {
            fs::remove_file(&path).map_err(failed)?;
            return Ok(None);
        };
        let file = OpenOptions::new().append(true).open(&path).map_err(failed)?;
        let log = LineLog::found(file, whole as u64).map_err(failed)?;
        Ok(Some(Journal { path, log, state, transaction, intents, failure }))
    }

    /// Whether a transaction has not ended here. A disk that does not say is taken for one that says yes.
    pub fn is_there(state_dir: &Path) -> bool {
        state_dir.join(NAME).try_exists().unwrap_or(true)
    }

    /// The lineages of a transaction that has not ended here; `None` when none can say which they are. Changes nothing, so
    /// nobody need hold the lock.
    pub fn lineages(state_dir: &Path) -> Option<Vec<LineageName>> {
        let text = match bounded::read_bounded(&state_dir.join(NAME), SIZE_AT_MOST) {
            Err(error) => return (error.kind() == io::ErrorKind::NotFound).then(Vec::new),
            Ok(text) => text,
        };
        let (records, _) = parse(&text).ok()?;
        let is_empty = records.is_empty();
        let lineages: Vec<_> = intents(records).into_iter().map(|intent| intent.lineage).collect();
        (is_empty || !lineages.is_empty()).then_some(lineages)
    }

    /// Whether a transaction of this lineage has not ended here, or none can say of which it is. Changes nothing either.
    pub fn is_open_for(state_dir: &Path, lineage: &LineageName) -> bool {
        Journal::lineages(state_dir).is_none_or(|lineages| lineages.contains(lineage))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the transaction stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// The primary's name for it.
    pub fn transaction(&self) -> &TransactionId {
        &self.transaction
    }

    /// What it set out to do, a lineage an intent.
    pub fn intents(&self) -> &[Intent] {
        &self.intents
    }

    /// What failed in an earlier run, and why, if it came to noting it.
    pub fn failure(&self) -> Option<(Step, String)> {
        self.failure.clone()
    }

    /// Writes one more record; durable when this returns.
    pub fn write(&mut self, record: &Record) -> Result<(), JournalError> {
        let failed = |error| JournalError::Io(self.path.clone(), error);
        let next = self.state.after(record).map_err(|error| JournalError::Order(self.path.clone(), error))?;
        self.log.append(&line(record).map_err(failed)?).map_err(failed)?;
        self.state = next;
        Ok(())
    }

    /// Takes back a record that could not be written. After an error it may be read all the same, by the next run: then
    /// nothing may be done that its being read would make wrong.
    pub fn make_sure(&mut self) -> Result<(), JournalError> {
        self.log.make_sure().map_err(|error| JournalError::Io(self.path.clone(), error))
    }

    /// Ends the transaction: nothing is left to be done.
    pub fn close(self) -> Result<(), JournalError> {
        let failed = |error| JournalError::Io(self.path.clone(), error);
        fs::remove_file(&self.path).map_err(failed)?;
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)
    }
}

fn intents(records: Vec<Record>) -> Vec<Intent> {
    let intent = |record| if let Record::Begun(intent) = record { Some(*intent) } else { None };
    records.into_iter().filter_map(intent).collect()
}

fn failure_in(record: &Record) -> Option<(Step, String)> {
    match record {
        Record::Undoing { step, cause } => Some((*step, cause.clone())),
        Record::Stuck { cause } => Some((Step::Recovery, cause.clone())),
        _ => None,
    }
}

fn line(record: &Record) -> io::Result<Vec<u8>> {
    let json = serde_json::to_string(record)?;
    Ok(format!("{} {json}\n", Digest::of(json.as_bytes())).into_bytes())
}

/// The records and the length of the whole lines; a line's number if it is damaged.
fn parse(text: &[u8]) -> Result<(Vec<Record>, usize), usize> {
    let mut records = Vec::new();
    let mut whole = 0;
    while whole < text.len() {
        let rest = text.get(whole..).unwrap_or_default();
        let Some(length) = rest.iter().position(|&byte| byte == b'\n').map(|at| at + 1) else { break };
        match rest.get(..length - 1).and_then(parse_line) {
            Some(record) => records.push(record),
            None => return Err(records.len() + 1),
        }
        whole += length;
    }
    Ok((records, whole))
}

fn parse_line(line: &[u8]) -> Option<Record> {
    let (digest, json) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    let intact = digest.parse::<Digest>().ok()? == Digest::of(json.as_bytes());
    intact.then(|| serde_json::from_str(json).ok())?
}

#[cfg(test)]
mod tests;
