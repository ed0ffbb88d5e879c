//! What must be remembered between the hook calls of one certbot run, and what is still owed to nodes.
//!
//! certbot calls `auth` once a name and validates after the last call, so all but the last only leave
//! a record; it calls `cleanup` once a name too. A run is known by certbot's process, so a killed one
//! can be told from one under way.

use std::fs;
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
use crate::sys::dir::Dir;
use crate::sys::lock::Lock;
use crate::wire::message::{CHALLENGES_AT_MOST, Withdrawal};

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
        use std::os::unix::fs::DirBuilderExt;
        let make = fs::DirBuilder::new().recursive(true).mode(0o700).create(state);
        make.map_err(|error| {
            let text = format!("cannot make the state directory {}: {error}", state.display());
            io::Error::new(error.kind(), text)
        })?;
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
        unlink_if_there(&dir, &format!("{CLEANED}{}", challenge.token()))?;
        write(&dir, challenge.token().as_str(), challenge)
    }

    /// All challenges recorded for a run.
    pub fn challenges(&self, run: &ProcessId) -> io::Result<Vec<Challenge>> {
        match self.recorded.open_beneath(run.to_string()) {
            Ok(dir) => read_all(&dir),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Notes that a run's challenges are about to be on nodes.
    pub fn mark_published(&self, run: &ProcessId) -> io::Result<()> {
        write(&self.recorded.create_beneath(run.to_string(), 0o700)?, PUBLISHED, &())
    }

    /// Whether a run's challenges may be on nodes.
    pub fn is_published(&self, run: &ProcessId) -> bool {
        let dir = self.recorded.open_beneath(run.to_string());
        dir.is_ok_and(|dir| dir.exists(PUBLISHED).unwrap_or(true))
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

    /// Runs whose certbot is no longer alive, with what they recorded: nobody will clean up after them.
    pub fn orphans(&self) -> Vec<(ProcessId, Vec<Challenge>)> {
        let names = self.recorded.entries().unwrap_or_default();
        let runs = names.iter().filter_map(|name| name.to_str()?.parse::<ProcessId>().ok());
        let now = jiff::Timestamp::now().as_second();
        let is_old = |run: &ProcessId| {
            let stat = self.recorded.stat(run.to_string());
            stat.is_ok_and(|stat| now.saturating_sub(stat.modified) > RUN_AT_MOST)
        };
        runs.filter(|run| !ancestry::is_alive(run) || is_old(run))
            .map(|run| (run, self.challenges(&run).unwrap_or_default()))
            .collect()
    }

    /// Remembers what a node still has to remove.
    pub fn owe(&self, node: &NodeName, withdrawals: &[Withdrawal]) -> io::Result<()> {
        let dir = self.owed.create_beneath(node.as_str(), 0o700)?;
        withdrawals.iter().try_for_each(|withdrawal| write(&dir, withdrawal.token.as_str(), withdrawal))
    }

    /// What a node still has to remove.
    pub fn owed(&self, node: &NodeName) -> Vec<Withdrawal> {
        let Ok(dir) = self.owed.open_beneath(node.as_str()) else { return Vec::new() };
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
        withdrawals.iter().try_for_each(|withdrawal| unlink_if_there(&dir, withdrawal.token.as_str()))?;
        dir.sync()
    }
}

fn write(dir: &Dir, name: &str, record: &impl Serialize) -> io::Result<()> {
    atomic::replace(dir, name, &serde_json::to_vec(record)?, &Attributes { mode: 0o600, owner: None })
}

fn unlink_if_there(dir: &Dir, name: &str) -> io::Result<()> {
    match dir.unlink(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Every record whose name is a token. A damaged one is named in the log and passed over.
fn read_all<R: DeserializeOwned>(dir: &Dir) -> io::Result<Vec<R>> {
    let names = dir.entries()?;
    let tokens = names.iter().filter_map(|name| name.to_str()?.parse::<Token>().ok());
    let read = |token: Token| {
        let text = bounded::read_beneath(dir, Path::new(token.as_str()), RECORD_AT_MOST);
        let record = text.and_then(|text| Ok(serde_json::from_slice(&text)?));
        record.inspect_err(|error| tracing::warn!("passed over a record in {}: {error}", dir.path().display())).ok()
    };
    Ok(tokens.filter_map(read).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINT: &str = "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI";

    fn challenge(n: u8) -> Challenge {
        let token = format!("{n:0>43}");
        Challenge::new("a.example".parse().unwrap(), token.parse().unwrap(), &format!("{token}.{PRINT}")).unwrap()
    }

    fn runs() -> (tempfile::TempDir, Runs, ProcessId) {
        let home = tempfile::tempdir().unwrap();
        let runs = Runs::open(home.path()).unwrap();
        let alive = ancestry::process(i32::try_from(std::process::id()).unwrap()).unwrap();
        (home, runs, alive)
    }

    #[test]
    fn a_run_is_clean_when_each_challenge_is_in_whatever_order() {
        let (home, runs, run) = runs();
        for n in 1..=3 {
            runs.record(&run, &challenge(n)).unwrap();
        }
        runs.mark_published(&run).unwrap();
        assert_eq!(runs.mark_cleaned(&run, challenge(3).token()).unwrap(), Progress::MoreToClean);
        assert_eq!(runs.mark_cleaned(&run, challenge(1).token()).unwrap(), Progress::MoreToClean);
        assert_eq!(runs.mark_cleaned(&run, challenge(1).token()).unwrap(), Progress::MoreToClean);
        let Progress::AllClean(all) = runs.mark_cleaned(&run, challenge(2).token()).unwrap() else { panic!() };
        assert_eq!(all.len(), 3);
        runs.forget(&run).unwrap();
        assert!(runs.challenges(&run).unwrap().is_empty());
        runs.forget(&run).unwrap();
        assert_eq!(fs::read_dir(home.path().join("runs")).unwrap().count(), 0);
    }

    #[test]
    fn many_may_forget_the_same_at_once_and_what_an_earlier_call_left_is_no_obstacle() {
        let (home, runs, run) = runs();
        for _ in 0..30 {
            for n in 1..=9 {
                runs.record(&run, &challenge(n)).unwrap();
            }
            let left = home.path().join("runs").join(format!("{FORGOTTEN}{run}"));
            fs::create_dir(&left).unwrap();
            fs::write(left.join("x"), "").unwrap();
            std::thread::scope(|scope| {
                let all: Vec<_> = (0..4).map(|_| scope.spawn(|| runs.forget(&run))).collect();
                for one in all {
                    one.join().unwrap().unwrap();
                }
            });
            assert_eq!(fs::read_dir(home.path().join("runs")).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_run_that_never_published_has_nothing_to_withdraw() {
        let (_home, runs, run) = runs();
        runs.record(&run, &challenge(1)).unwrap();
        assert_eq!(runs.mark_cleaned(&run, challenge(1).token()).unwrap(), Progress::NeverPublished);
    }

    #[test]
    fn only_a_dead_certbot_leaves_orphans() {
        let (_home, runs, alive) = runs();
        let dead = ProcessId { started: alive.started + 1, ..alive };
        runs.record(&alive, &challenge(1)).unwrap();
        runs.record(&dead, &challenge(2)).unwrap();
        assert_eq!(runs.orphans(), [(dead, vec![challenge(2)])]);
    }

    #[test]
    fn debts_stay_until_they_are_settled_and_damage_is_passed_over() {
        let (home, runs, _) = runs();
        let node: NodeName = "web2".parse().unwrap();
        let debts = [1, 2].map(|n| Withdrawal::of(&challenge(n)));
        runs.owe(&node, &debts).unwrap();
        fs::write(home.path().join("owed/web2").join(challenge(3).token().as_str()), "{torn").unwrap();
        assert_eq!(runs.owed(&node), debts);
        runs.settled(&node, &debts[..1]).unwrap();
        assert_eq!(runs.owed(&node), debts[1..]);
    }
}
