//! How a transaction ends: finished, undone, or given up; by the process that began it or by a later one.
//!
//! All of its lineages end alike.

use std::io;
use std::path::PathBuf;

use anyhow::Result;

use crate::model::config::Service;
use crate::model::names::LineageName;
use crate::model::outcome::{Outcome, Step};
use crate::model::pasteable::pasteable;
use crate::peer::halt::Halt;
use crate::peer::journal::Journal;
use crate::peer::node::Node;
use crate::peer::probe::{self, Expected};
use crate::peer::service::Reload;
use crate::peer::share::Share;
use crate::peer::state::{Record, State};
use crate::peer::{history, service};
use crate::wire::message::Ended;

/// Of very many staged directories a few show what is the matter, and leave room for the last command.
const LOOKS: usize = 4;

/// A transaction's open ends. Each way to end it may be repeated after a crash at any moment of it.
#[derive(Debug)]
pub struct Ending<'n> {
    /// This node.
    pub node: &'n Node,
    /// What was set out to be done.
    pub journal: Journal,
    /// What is open of each lineage, in the journal's order.
    pub shares: Vec<Share>,
}

impl<'n> Ending<'n> {
    /// The open ends of a journal that a crash left.
    pub fn of(node: &'n Node, journal: Journal) -> io::Result<Self> {
        let share = |intent| Share::of(node, &journal, intent);
        let shares = journal.intents().iter().map(share).collect::<io::Result<_>>()?;
        Ok(Ending { node, journal, shares })
    }

    /// Adds what a person may want to know of each lineage.
    pub fn note(&mut self, notes: &[String]) {
        for share in &mut self.shares {
            share.notes.extend_from_slice(notes);
        }
    }

    /// Which staged path belongs over which visible one.
    pub fn overlay(&self) -> Vec<(PathBuf, PathBuf)> {
        self.shares.iter().flat_map(Share::overlay).collect()
    }

    /// Whether the services' tests can be asked about what is staged. What is not there yet cannot be shown in its
    /// place, and tests that failed for want of it would fail again.
    pub fn can_be_tried(&self) -> bool {
        self.tests_passed() || self.shares.iter().all(Share::can_be_shown)
    }

    /// Whether all services are held to their tests on the way back.
    fn tests_passed(&self) -> bool {
        self.shares.iter().all(|share| share.intent.tests_passed)
    }

    /// Whether any new tree is visible though the journal does not say that the switch had begun: a disk lost its word.
    pub fn is_switched(&self) -> io::Result<bool> {
        self.shares.iter().try_fold(false, |any, share| Ok(any || share.is_switched()?))
    }

    /// Makes what is staged visible. The journal must say so already.
    pub fn switch(&self) -> Result<()> {
        self.shares.iter().try_for_each(Share::switch)
    }

    /// After success: removes the old trees and the versions the primary no longer has.
    pub fn finish(mut self) -> Vec<Ended> {
        let tidied = self.shares.iter_mut().try_for_each(|share| share.tidy(self.node));
        let applied = |share: &Share| Ended {
            lineage: share.intent.lineage.clone(),
            outcome: Outcome::Applied { notes: share.notes.clone() },
        };
        let ended: Vec<_> = self.shares.iter().map(applied).collect();
        if let Err(error) = tidied.and_then(|()| self.conclude(&ended)) {
            tracing::warn!("the new bundle is in service, but tidying up is left for 'certcast recover': {error:#}");
        }
        ended
    }

    /// After a failure past the switch: makes the old tree visible again and brings the services back to it.
    pub fn undo(mut self, step: Step, cause: String, reload: Reload) -> Outcome {
        match self.try_undo(step, &cause, reload) {
            Ok(()) => self.put_away(step, cause),
            Err(error) => self.stuck(&format!("{cause}; then undoing failed: {error:#}")),
        }
    }

    /// After the old tree is in service again: removes what was staged.
    pub fn put_away(mut self, step: Step, cause: String) -> Outcome {
        let outcome = Outcome::RolledBack { step, cause };
        let ended = Ended::all(self.lineages(), &outcome);
        if let Err(error) = self.try_put_away().and_then(|()| self.conclude(&ended)) {
            tracing::warn!("the old bundle is back, but tidying up is left for 'certcast recover': {error:#}");
        }
        outcome
    }

    /// The staged directory is the witness of which tree is visible: it is not taken apart before the journal says so.
    fn try_put_away(&mut self) -> Result<()> {
        // On a full disk this makes room for the record.
        self.shares.iter().try_for_each(Share::remove_written)?;
        if self.journal.state() != State::Undone {
            self.journal.write(&Record::Undone)?;
        }
        self.shares.iter().try_for_each(|share| share.forget(self.node))?;
        self.discard()
    }

    fn try_undo(&mut self, step: Step, cause: &str, reload: Reload) -> Result<()> {
        // A later run would read 'confirmed', and finish what was undone here.
        self.journal.make_sure()?;
        // A full disk must not keep the old tree away: without this record recovery undoes all the same.
        if self.journal.state() == State::Switching
            && let Err(error) = self.journal.write(&Record::Undoing { step, cause: cause.into() })
        {
            tracing::warn!("cannot note that this is being undone: {:#}", anyhow::Error::from(error));
        }
        // Of all before any goes back: what is stuck for want of one is all new then.
        self.shares.iter().try_for_each(Share::check_the_way_back)?;
        self.shares.iter().try_for_each(Share::undo)?;
        let tests_passed = self.tests_passed();
        // Services that were ill before are not made well by the old tree; the others may have read the new one.
        let is_well = |service: &&Service| tests_passed || !service::is_ill(service);
        let well: Vec<_> = self.node.services().iter().filter(is_well).cloned().collect();
        let places: Vec<_> = well.iter().flat_map(probe::places).collect();
        let is_expected = |(place, _): &Expected| tests_passed || places.contains(&place.address);
        let expected: Vec<_> = self.shares.iter().flat_map(Share::expects_back).filter(is_expected).collect();
        let settled = service::settle(&well, &expected, reload);
        let notes = settled.map_err(|unwilling| anyhow::anyhow!("{}: {}", unwilling.step, unwilling.cause))?;
        for note in notes {
            tracing::warn!("while the old bundle was brought back: {note}");
        }
        Ok(())
    }

    /// Neither way worked. Both trees stay, the journal stays, and every later request hears of it.
    fn stuck(mut self, cause: &str) -> Outcome {
        if self.journal.state() != State::Stuck
            && let Err(error) = self.journal.write(&Record::Stuck { cause: cause.into() })
        {
            tracing::error!("cannot even note it: {:#}", anyhow::Error::from(error));
        }
        let outcome = Outcome::Stuck { cause: cause.into(), remedy: self.remedy() };
        self.remember(&Ended::all(self.lineages(), &outcome));
        outcome
    }

    /// What a person has to run when neither way worked.
    pub fn remedy(&self) -> Vec<String> {
        let tests = self.node.services().iter().map(|service| pasteable(&service.test));
        let look = |staged: PathBuf| pasteable(&["ls", "-lA", &staged.to_string_lossy()]);
        let looks = self.overlay().into_iter().take(LOOKS).map(|(staged, _)| look(staged));
        tests.chain(looks).chain(["certcast recover".into()]).collect()
    }

    /// Before the switch: removes everything that was staged, and ends the transaction.
    pub fn give_up(mut self, step: Step, cause: &str) -> Halt {
        // A later run would read that the switch had begun, and go back by what is removed here.
        let sure = self.journal.make_sure().map_err(anyhow::Error::from);
        match sure.and_then(|()| self.discard()).and_then(|()| Ok(self.journal.close()?)) {
            Ok(()) => Halt::refused(step, cause),
            Err(left) => {
                Halt::refused(step, format!("{cause}; what was staged waits for 'certcast recover': {left:#}"))
            }
        }
    }

    fn discard(&self) -> Result<()> {
        self.shares.iter().try_for_each(|share| share.discard(self.node))
    }

    /// Its lineages.
    pub fn lineages(&self) -> Vec<LineageName> {
        self.shares.iter().map(|share| share.intent.lineage.clone()).collect()
    }

    /// For a primary that lost the answer; without it, it compares digests.
    fn remember(&self, ended: &[Ended]) {
        if let Err(error) = history::remember(self.node.state(), self.journal.transaction(), ended) {
            tracing::warn!("cannot remember the outcome: {error:#}");
        }
    }

    fn conclude(self, ended: &[Ended]) -> Result<()> {
        self.remember(ended);
        Ok(self.journal.close()?)
    }
}
