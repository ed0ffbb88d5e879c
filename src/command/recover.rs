//! `recover`: what a crash left is finished or undone, before the services start.

use std::path::Path;
use std::time::Duration;

use crate::command::failure::Failure;
use crate::command::report;
use crate::model::config;
use crate::model::deadline::Deadline;
use crate::model::exit_code::ExitCode;
use crate::model::outcome::Outcome;
use crate::peer::halt::Halt;
use crate::peer::journal::Journal;
use crate::peer::node::Node;
use crate::peer::recovery;

/// The lock of a dead process is free at once. A living holder is no crash: it sees to itself, and nothing may wait for
/// it here, for systemd runs this before the service starts, and the holder may be waiting for just that.
const LOCK: Duration = Duration::from_secs(1);

/// Finishes or undoes.
pub fn run(config: &Path) -> Result<ExitCode, Failure> {
    let node = Node::open(config::load(config)?, false)?;
    let recovered = node.lock(Deadline::after(LOCK)).and_then(|held| recovery::recover(&node, &held, true));
    let outcome = match recovered {
        Ok(None) => return Ok(ExitCode::Done),
        Ok(Some(outcome)) if !Journal::is_there(node.state()) => {
            tracing::info!(%outcome, "recovered");
            report::line(&format!("recovered: {outcome}"));
            return Ok(ExitCode::Done);
        }
        Err(Halt(Outcome::Pending { cause })) => {
            report::line(&held(Journal::is_there(node.state()), &cause));
            return Ok(ExitCode::Done);
        }
        Ok(Some(outcome)) | Err(Halt(outcome)) => outcome,
    };
    report::complain(&format!("not recovered: {outcome}"));
    Ok(match outcome {
        Outcome::Stuck { .. } => ExitCode::Stuck,
        _ => ExitCode::Failed,
    })
}

/// Another run has the lock: whether it works on what is open here, or was called for what a crash left, only it knows.
fn held(is_open: bool, holder: &str) -> String {
    if is_open {
        return format!(
            "not recovered now: {holder}, and a transaction is open; when that process has ended and 'certcast status' on \
             the primary does not say 'in line', run 'certcast recover' again"
        );
    }
    format!("{holder}; no transaction is open, so there is nothing to recover")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::lock::Lock;

    #[test]
    fn what_is_open_while_another_run_holds_the_lock_is_not_told_as_nothing_to_recover() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("config.toml");
        std::fs::write(&file, format!("[node]\nname = \"web2\"\nletsencrypt = {0:?}\nstate = {0:?}\n", home.path()))
            .unwrap();
        let node = Node::open(config::load(&file).unwrap(), false).unwrap();
        let _lock = Lock::acquire(&home.path().join("transaction.lock"), Deadline::after(LOCK)).unwrap();
        let Err(Halt(Outcome::Pending { cause })) = node.lock(Deadline::after(LOCK / 10)) else { panic!() };
        let said = || held(Journal::is_there(node.state()), &cause);
        let begin = "another run holds the lock here: ";
        let is_whole = |said: String| {
            said.starts_with(begin) && said.ends_with("; no transaction is open, so there is nothing to recover")
        };
        assert!(is_whole(said()), "{}", said());
        std::fs::write(home.path().join("transaction.journal"), "").unwrap();
        assert!(said().starts_with(&format!("not recovered now: {begin}")), "{}", said());
        assert!(said().contains("transaction.lock is still locked by process "), "{}", said());
        assert_eq!(run(&file).unwrap(), ExitCode::Done, "a living one is no failure of the unit");
    }
}
