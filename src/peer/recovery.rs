//! Finishing or undoing what a crash left.

use std::io;

use crate::model::outcome::{Outcome, Step};
use crate::model::pasteable::pasteable;
use crate::peer::ending::Ending;
use crate::peer::halt::Halt;
use crate::peer::journal::{Journal, JournalError};
use crate::peer::memo;
use crate::peer::node::{Held, Node};
use crate::peer::service::{self, Reload};
use crate::peer::state::{Record, Recovery, State};
use crate::wire::message::Ended;

/// Looks at the journal and acts on it; `None` when there was nothing to do.
///
/// Killed again at any moment, the next call does the rest: every action here may be repeated.
/// Where a person is needed, it is tried again when the services' own tests pass, or when the person says so (`retry`).
pub fn recover(node: &Node, _held: &Held, retry: bool) -> Result<Option<Outcome>, Halt> {
    memo::tidy(node.state());
    let Some(journal) = Journal::open(node.state()).map_err(|error| untrusted(node, error))? else { return Ok(None) };
    let unreadable = |error: io::Error| Halt::refused(Step::Recovery, error.to_string());
    let mut ending = Ending::of(node, journal).map_err(unreadable)?;
    let (step, cause) = ending.journal.failure().unwrap_or_else(|| {
        (Step::Recovery, format!("an earlier run of transaction {} was cut off", ending.journal.transaction()))
    });
    if ending.journal.state() == State::Staging && ending.is_switched().map_err(unreadable)? {
        // Else what is shown would be taken apart.
        ending.journal.write(&Record::Switching).map_err(|error| untrusted(node, error))?;
    }
    Ok(match ending.journal.state().recovery() {
        Recovery::Nothing => None,
        Recovery::Discard => Some(ending.give_up(step, &cause).0),
        Recovery::Finish => Some(all_applied(ending.finish())),
        Recovery::PutAway => Some(ending.put_away(step, cause)),
        Recovery::Undo
            if ending.journal.state() == State::Stuck && !retry && service::test(node.services()).is_err() =>
        {
            let cause = format!("an earlier transaction is stuck and needs a person: {cause}");
            Some(Outcome::Stuck { cause, remedy: ending.remedy() })
        }
        Recovery::Undo => Some(ending.undo(step, cause, Reload::Running)),
    })
}

fn all_applied(ended: Vec<Ended>) -> Outcome {
    let notes = ended.into_iter().filter_map(|Ended { outcome, .. }| match outcome {
        Outcome::Applied { notes } => Some(notes),
        _ => None,
    });
    Outcome::Applied { notes: notes.flatten().collect() }
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
