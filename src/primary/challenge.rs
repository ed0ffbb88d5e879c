//! What must be remembered between the hook calls of one certbot run, and what is still owed to nodes.
//!
//! certbot calls `auth` once a name and validates after the last call, so all but the last only leave
//! a record; it calls `cleanup` once a name too. A run is known by certbot's process, so a killed one
//! can be told from one under way.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::model::challenge::{Challenge, Token};
use crate::model::deadline::Deadline;
use crate::model::names::NodeName;
use crate::sys::ancestry::{self, ProcessId};
use crate::sys::atomic::{self, Attributes};
use crate::sys::bounded;
use crate::sys::dir::{Dir, make_state};
use crate::sys::lock::Lock;
use crate::wire::message::{CHALLENGES_AT_MOST, Withdrawal};

const OURS: Attributes = Attributes { mode: 0o600, owner: None };
const RECORD_AT_MOST: u64 = 16 * 1024;
const PUBLISHED: &str = ".published";
const LOCK: &str = "challenges-primary.lock";
/// How often a removal is tried that others take part in.
const REMOVED_AT_MOST: u32 = 100;
const CLEANED: &str = ".cleaned-";
/// A run that is older than this is nobody's, also when the process it is known by still lives.
const RUN_AT_MOST: i64 = 24 * 3600;
/// What is left of a run that is being forgotten; no process is called so.
const FORGOTTEN: &str = ".forgotten-";
/// Nodes collect old challenges by themselves after a day; a debt of a week is nobody's.
const DEBT_AT_MOST: i64 = 7 * 24 * 3600;
/// So many debts are kept for one node, the newest: a list without end could not be read any more, and then nothing on it
/// would be done.
const DEBTS_AT_MOST: usize = 10 * CHALLENGES_AT_MOST;

/// What one cleanup call came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// Other challenges of the run are still to be cleaned.
    MoreToClean,
    /// The run never came to publishing: nothing is to be withdrawn.
    NeverPublished,
    /// This was the last: all of these are to be withdrawn.
    AllClean(Vec<Challenge>),
}

/// The records, one file each, durable when a call returns.
#[derive(Debug)]
pub struct Runs {
    state: PathBuf,
    recorded: Dir,
    owed: Dir,
}

impl Runs {
    /// Opens them in the state directory, which is made where it is missing.
    pub fn open(state: &Path) -> io::Result<Runs> {
        make_state(state)?;
        let dir = Dir::open(state)?;
        let (recorded, owed) = (dir.create_beneath("runs", 0o700)?, dir.create_beneath("owed", 0o700)?);
        Ok(Runs { state: state.to_owned(), recorded, owed })
    }

    /// Records a challenge of a run.
    pub fn record(&self, run: &ProcessId, challenge: &Challenge) -> io::Result<()> {
        let dir = self.recorded.create_beneath(run.to_string(), 0o700)?;
        // Each challenge has at most two files.
        dir.entries_up_to(2 * CHALLENGES_AT_MOST)?;
        // A token asked for again is to be cleaned again.
        dir.unlink_if_there(format!("{CLEANED}{}", challenge.token()))?;
        write(&dir, challenge.token().as_str(), challenge)
    }

    /// All challenges recorded for a run, by their names: tokens are in another order each time.
    pub fn challenges(&self, run: &ProcessId) -> io::Result<Vec<Challenge>> {
        let Some(dir) = self.recorded.open_if_there(run.to_string())? else { return Ok(Vec::new()) };
        let mut challenges: Vec<Challenge> = read_all(&dir)?;
        challenges.sort_by(|one, other| one.name().cmp(other.name()));
        Ok(challenges)
    }

    /// Those of them that certbot is done with, and that are here all the same: a cleanup failed.
    pub fn cleaned(&self, run: &ProcessId) -> io::Result<Vec<Challenge>> {
        let Some(dir) = self.recorded.open_if_there(run.to_string())? else { return Ok(Vec::new()) };
        let mut cleaned = Vec::new();
        for challenge in read_all::<Challenge>(&dir)? {
            if dir.exists(format!("{CLEANED}{}", challenge.token()))? {
                cleaned.push(challenge);
            }
        }
        Ok(cleaned)
    }

    /// Forgets these of a run.
    pub fn forget_cleaned(&self, run: &ProcessId, cleaned: &[Challenge]) -> io::Result<()> {
        let Some(dir) = self.recorded.open_if_there(run.to_string())? else { return Ok(()) };
        for token in cleaned.iter().map(Challenge::token) {
            // The mark last: a record without it would be published.
            dir.unlink_if_there(token.as_str())?;
            dir.unlink_if_there(format!("{CLEANED}{token}"))?;
        }
        dir.sync()
    }

    /// Notes that a run's challenges are about to be on nodes.
    pub fn mark_published(&self, run: &ProcessId) -> io::Result<()> {
        write(&self.recorded.create_beneath(run.to_string(), 0o700)?, PUBLISHED, &())
    }

    /// Whether a run's challenges may be on nodes.
    pub fn is_published(&self, run: &ProcessId) -> bool {
        match self.recorded.open_beneath(run.to_string()).and_then(|dir| dir.exists(PUBLISHED)) {
            Ok(is_published) => is_published,
            // A disk that does not say is taken for one that says yes: what is there too long is worse than a call too many.
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    /// Notes that certbot is done with a challenge. Independent of the order of calls.
    pub fn mark_cleaned(&self, run: &ProcessId, token: &Token) -> io::Result<Progress> {
        let dir = self.recorded.create_beneath(run.to_string(), 0o700)?;
        write(&dir, &format!("{CLEANED}{token}"), &())?;
        let challenges: Vec<Challenge> = read_all(&dir)?;
        for challenge in &challenges {
            if !dir.exists(format!("{CLEANED}{}", challenge.token()))? {
                return Ok(Progress::MoreToClean);
            }
        }
        Ok(if dir.exists(PUBLISHED)? { Progress::AllClean(challenges) } else { Progress::NeverPublished })
    }

    /// Forgets a run: in one step, so that a kill midway does not leave half of its marks.
    pub fn forget(&self, run: &ProcessId) -> io::Result<()> {
        // What an earlier call left, this run's own included, would be in the way.
        self.remove_forgotten()?;
        match self.recorded.rename(run.to_string(), format!("{FORGOTTEN}{run}")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.recorded.sync()?;
        self.remove_forgotten()
    }

    /// Another process may be removing the same: what is gone is what was wanted.
    fn remove_forgotten(&self) -> io::Result<()> {
        for name in self.recorded.entries()? {
            if !name.to_str().is_some_and(|name| name.starts_with(FORGOTTEN)) {
                continue;
            }
            let mut tries = 0;
            while let Err(error) = self.recorded.remove_tree(&name) {
                tries += 1;
                // The other one was faster with a file of it, or has renamed another run's remains to this place.
                let raced = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty);
                if !raced || tries == REMOVED_AT_MOST {
                    return Err(error);
                }
                if !self.recorded.exists(&name)? {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Keeps other processes from publishing or withdrawing: a withdrawal that was read before a token was published
    /// again must not be done after it.
    pub fn hold(&self, deadline: Deadline) -> io::Result<Lock> {
        Lock::acquire(&self.state.join(LOCK), deadline)
    }

    /// Runs whose certbot is no longer alive, with what they recorded: nobody will clean up after them. One that cannot
    /// be read now waits for the next time, and goes at last by its age. What is left of forgotten runs goes here too.
    pub fn orphans(&self) -> Vec<(ProcessId, Vec<Challenge>)> {
        if let Err(error) = self.remove_forgotten() {
            tracing::warn!("cannot remove what is left of an ended certbot run: {error}");
        }
        let names = self.recorded.entries().unwrap_or_default();
        let runs = names.iter().filter_map(|name| name.to_str()?.parse::<ProcessId>().ok());
        let now = jiff::Timestamp::now().as_second();
        let is_old = |run: &ProcessId| {
            let stat = self.recorded.stat(run.to_string());
            stat.is_ok_and(|stat| now.saturating_sub(stat.modified) > RUN_AT_MOST)
        };
        let with_challenges = |run: ProcessId| match self.challenges(&run) {
            Ok(challenges) => Some((run, challenges)),
            Err(error) => {
                tracing::warn!("cannot read what certbot run {run} left: {error}");
                is_old(&run).then(|| (run, Vec::new()))
            }
        };
        runs.filter(|run| !ancestry::is_alive(run) || is_old(run)).filter_map(with_challenges).collect()
    }

    /// Remembers what nodes still have to remove. The caller holds [`Runs::hold`].
    ///
    /// A record is written for one node and linked to for the others: of 100 names on 50 nodes 100 files are waited for, not 5,000.
    pub fn owe(&self, debts: &[(&NodeName, Vec<Withdrawal>)]) -> io::Result<()> {
        let mut dirs = Vec::with_capacity(debts.len());
        for (node, _) in debts {
            dirs.push(self.owed.create_beneath(node.as_str(), 0o700)?);
        }
        let mut written: BTreeMap<&Token, &Dir> = BTreeMap::new();
        for ((node, withdrawals), dir) in debts.iter().zip(&dirs) {
            let forgotten = make_room(dir, withdrawals)?;
            if forgotten > 0 {
                tracing::warn!(
                    %node,
                    "more than {DEBTS_AT_MOST} challenges are still to be withdrawn there: the {forgotten} oldest are left \
                     to the node, which removes them by their age"
                );
            }
            for withdrawal in withdrawals {
                let name = withdrawal.token.as_str();
                let is_linked = written.get(&withdrawal.token).is_some_and(|first| first.link_into(name, dir).is_ok());
                // Owed there already, or on a file system without links: written anew.
                if !is_linked {
                    atomic::replace_before_sync(dir, name, &serde_json::to_vec(withdrawal)?, &OURS)?;
                    written.insert(&withdrawal.token, dir);
                }
            }
            dir.sync()?;
        }
        Ok(())
    }

    /// What a node still has to remove. The caller holds [`Runs::hold`]: a temporary file here is what a killed call left.
    pub fn owed(&self, node: &NodeName) -> Vec<Withdrawal> {
        let Ok(dir) = self.owed.open_beneath(node.as_str()) else { return Vec::new() };
        _ = atomic::remove_leftovers(&dir);
        let now = jiff::Timestamp::now().as_second();
        for name in dir.entries().unwrap_or_default() {
            if dir.stat(&name).is_ok_and(|stat| now.saturating_sub(stat.modified) > DEBT_AT_MOST) {
                _ = dir.unlink(&name);
            }
        }
        let mut owed: Vec<Withdrawal> = read_all(&dir).unwrap_or_default();
        owed.truncate(CHALLENGES_AT_MOST);
        owed
    }

    /// Forgets what a node has removed.
    pub fn settled(&self, node: &NodeName, withdrawals: &[Withdrawal]) -> io::Result<()> {
        let dir = self.owed.create_beneath(node.as_str(), 0o700)?;
        for withdrawal in withdrawals {
            dir.unlink_if_there(withdrawal.token.as_str())?;
        }
        dir.sync()
    }
}

/// Forgets the oldest debts, as many as new ones need their place; returns how many these were.
fn make_room(dir: &Dir, wanted: &[Withdrawal]) -> io::Result<usize> {
    let wanted: BTreeSet<&str> = wanted.iter().map(|withdrawal| withdrawal.token.as_str()).collect();
    let mut others = tokens(dir)?;
    others.retain(|token| !wanted.contains(token.as_str()));
    let surplus = (others.len() + wanted.len()).saturating_sub(DEBTS_AT_MOST);
    if surplus == 0 {
        return Ok(0);
    }
    let age = |token: &Token| dir.stat(token.as_str()).map_or(i64::MIN, |stat| stat.modified);
    others.sort_by_cached_key(age);
    others.truncate(surplus);
    for token in &others {
        dir.unlink_if_there(token.as_str())?;
    }
    Ok(others.len())
}

fn write(dir: &Dir, name: &str, record: &impl Serialize) -> io::Result<()> {
    atomic::replace(dir, name, &serde_json::to_vec(record)?, &OURS)
}

/// The names that are tokens.
fn tokens(dir: &Dir) -> io::Result<Vec<Token>> {
    Ok(dir.entries()?.iter().filter_map(|name| name.to_str()?.parse().ok()).collect())
}

/// Every record whose name is a token. A damaged one is named in the log and passed over; one that the disk does not give
/// away is an error, for what it says is still to be done.
fn read_all<R: DeserializeOwned>(dir: &Dir) -> io::Result<Vec<R>> {
    let passed_over = |error: &dyn std::fmt::Display| {
        tracing::warn!("passed over a record in {}: {error}", dir.path().display());
    };
    let mut records = Vec::new();
    for token in tokens(dir)? {
        match bounded::read_beneath(dir, Path::new(token.as_str()), RECORD_AT_MOST) {
            Ok(text) => match serde_json::from_slice(&text) {
                Ok(record) => records.push(record),
                Err(error) => passed_over(&error),
            },
            Err(error) if is_damage(&error) => passed_over(&error),
            Err(error) => return Err(error),
        }
    }
    Ok(records)
}

/// No file of ours, or one that another process has removed meanwhile.
fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, InvalidInput, NotFound};
    matches!(error.kind(), NotFound | InvalidInput | FileTooLarge)
}

#[cfg(test)]
mod tests;
