//! Finishing or undoing what a crash left.

use crate::model::outcome::{Outcome, Step};
use crate::model::pasteable::pasteable;
use crate::peer::ending::Ending;
use crate::peer::halt::Halt;
use crate::peer::journal::{Journal, JournalError};
use crate::peer::node::{Held, Node};
use crate::peer::service;
use crate::peer::state::{Recovery, State};

/// Looks at the journal and acts on it; `None` when there was nothing to do.
///
/// Killed again at any moment, the next call does the rest: every action here may be repeated.
/// Where a person is needed, it is tried again when the services' own tests pass, or when the person says so (`retry`).
pub fn recover(node: &Node, _held: &Held, retry: bool) -> Result<Option<Outcome>, Halt> {
    let Some(journal) = Journal::open(node.state()).map_err(|error| untrusted(node, error))? else { return Ok(None) };
    let state = journal.state();
    let ending = Ending::of(node, journal)?;
    let cause = || format!("an earlier run of transaction {} was cut off", ending.intent().transaction);
    Ok(match state.recovery() {
        Recovery::Nothing => None,
        Recovery::Discard => {
            let cause = cause();
            Some(ending.give_up(Step::Recovery, &cause).0)
        }
        Recovery::Finish => Some(ending.finish(Vec::new())),
        Recovery::PutAway => {
            let cause = cause();
            Some(ending.put_away(Step::Recovery, cause))
        }
        Recovery::Undo if state == State::Stuck && !retry && service::test(node.services()).is_err() => {
            let cause = "an earlier transaction is stuck and needs a person".to_owned();
            Some(Outcome::Stuck { cause, remedy: ending.remedy() })
        }
        Recovery::Undo => {
            let cause = cause();
            Some(ending.undo(Step::Recovery, cause))
        }
    })
}

/// A journal that makes no sense is never guessed at.
fn untrusted(node: &Node, error: JournalError) -> Halt {
    let is_io = matches!(error, JournalError::Io(..));
    let cause = format!("{:#}", anyhow::Error::from(error));
    if is_io {
        return Halt::refused(Step::Recovery, cause);
    }
    let [live, archive] = ["live", "archive"].map(|name| node.letsencrypt().path().join(name));
    let look = pasteable(&["ls", "-lA", &live.to_string_lossy(), &archive.to_string_lossy()]);
    Halt(Outcome::Stuck { cause, remedy: vec![look] })
}

#[cfg(test)]
mod tests;
