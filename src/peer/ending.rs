//! How a transaction ends: finished, undone, or given up; by the process that began it or by a later one.

use std::io::{self, ErrorKind};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::model::bundle::Part;
use crate::model::config::Service;
use crate::model::outcome::{Outcome, Step};
use crate::model::pasteable::pasteable;
use crate::peer::archive::Archive;
use crate::peer::halt::Halt;
use crate::peer::joined::Joined;
use crate::peer::journal::Journal;
use crate::peer::live::Live;
use crate::peer::node::Node;
use crate::peer::probe::{self, Expectation};
use crate::peer::service::Reload;
use crate::peer::state::{Before, Intent, Record, State};
use crate::peer::{history, missing, service, settled, written};
use crate::sys::dir::Dir;
use crate::wire::message::TransactionId;

/// A primary that keeps every version, or says so with a stolen key, must not fill this disk.
const VERSIONS_AT_MOST: usize = 50;

/// A transaction's open ends. Each way to end it may be repeated after a crash at any moment of it.
#[derive(Debug)]
pub struct Ending<'n> {
    /// This node.
    pub node: &'n Node,
    /// What was set out to be done.
    pub journal: Journal,
    /// The lineage's directories; none where certbot keeps them.
    pub trees: Option<(Archive, Live)>,
    /// The joined files, each with whether it was there before.
    pub joined: Vec<(Joined, bool)>,
}

impl<'n> Ending<'n> {
    /// The open ends of a journal that a crash left.
    pub fn of(node: &'n Node, journal: Journal) -> io::Result<Self> {
        let intent = journal.intent();
        let letsencrypt = node.letsencrypt();
        // Nothing was made yet, or it is gone already.
        let may_lack = matches!(intent.before, Before::Nothing | Before::Foreign)
            && matches!(journal.state(), State::Staging | State::Undone);
        let trees = match (Archive::open(letsencrypt, &intent.lineage)?, Live::open(letsencrypt, &intent.lineage)?) {
            _ if intent.before == Before::Certbot => None,
            (Some(archive), Some(live)) => Some((archive, live)),
            _ if may_lack => None,
            _ => return Err(missing::tree(node, &journal)),
        };
        let mut joined = Vec::new();
        for file in &intent.joined {
            match Joined::open(&file.path) {
                Ok(open) => joined.push((open, file.existed)),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return Err(missing::directory(file, &journal));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Ending { node, journal, trees, joined })
    }

    /// What was set out to be done.
    pub fn intent(&self) -> &Intent {
        self.journal.intent()
    }

    fn id(&self) -> TransactionId {
        self.intent().transaction.clone()
    }

    /// Which staged path belongs over which visible one.
    pub fn overlay(&self) -> Vec<(PathBuf, PathBuf)> {
        let id = self.id();
        let live = self.trees.iter().map(|(_, live)| (live.stage_path(&id), live.path()));
        let joined = self.joined.iter().map(|(joined, _)| (joined.stage_path(&id), joined.path()));
        live.chain(joined).filter(|(_, visible)| visible.exists()).collect()
    }

    /// Whether the services' tests can be asked about what is staged. What is not there yet cannot be shown in its
    /// place, and tests that failed for want of it would fail again.
    pub fn can_be_tried(&self) -> bool {
        self.intent().tests_passed || self.overlay().len() == self.trees.iter().len() + self.joined.len()
    }

    /// Whether the new tree is visible though the journal does not say that the switch had begun: a disk lost its word.
    pub fn is_switched(&self) -> io::Result<bool> {
        let Intent { before, to, .. } = self.intent();
        self.trees.as_ref().map_or(Ok(false), |(_, live)| live.is_switched(*before, *to))
    }

    /// Makes what is staged visible. The journal must say so already.
    pub fn switch(&self) -> Result<()> {
        let (id, before, to) = (self.id(), self.intent().before, self.intent().to);
        if let Some((_, live)) = &self.trees {
            live.switch(&id, before, to).with_context(|| format!("cannot switch {}", live.path().display()))?;
        }
        self.joined.iter().try_for_each(|(joined, _)| joined.switch(&id)).context("cannot switch a joined file")
    }

    /// After success: notes it, then removes the old tree and the versions the primary no longer has.
    pub fn finish(self, mut notes: Vec<String>) -> Outcome {
        let tidied = self.tidy(&mut notes);
        let outcome = Outcome::Applied { notes };
        if let Err(error) = tidied.and_then(|()| self.conclude(&outcome)) {
            tracing::warn!("the new bundle is in service, but tidying up is left for 'certcast recover': {error:#}");
        }
        outcome
    }

    fn tidy(&self, notes: &mut Vec<String>) -> Result<()> {
        let intent = self.intent();
        if let Some((archive, live)) = &self.trees {
            let kept = match intent.before {
                Before::Foreign => live.keep(&intent.transaction)?,
                _ => live.discard(&intent.transaction)?,
            };
            if let Some(backup) = kept {
                notes.push(format!("what was there before is kept in {}", backup.display()));
            }
            self.prune(archive)?;
            live.explain()?;
        }
        if intent.before == Before::Certbot {
            settled::set(self.node.state(), &intent.lineage, intent.digest)?;
        }
        Ok(self.joined.iter().try_for_each(|(joined, _)| joined.discard(&intent.transaction))?)
    }

    /// Removes the versions that were written here and that the primary no longer has; of very many, the oldest.
    fn prune(&self, archive: &Archive) -> Result<()> {
        let intent = self.intent();
        let (state, lineage) = (self.node.state(), &intent.lineage);
        let mut written = written::numbers(state, lineage)?;
        if !written.contains(&intent.to) && intent.writes.len() == Part::ALL.len() {
            written.push(intent.to);
        }
        let (mut kept, mut gone): (Vec<_>, Vec<_>) =
            written.into_iter().partition(|number| *number == intent.to || intent.keep.contains(number));
        // In the order in which they were written, the one in use last: a number says nothing here, for anybody may choose it.
        kept.sort_by_key(|number| *number == intent.to);
        gone.extend(kept.drain(..kept.len().saturating_sub(VERSIONS_AT_MOST)));
        for number in gone {
            archive.prune(number)?;
        }
        Ok(written::set(state, lineage, &kept)?)
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
        if let Err(error) = self.try_put_away().and_then(|()| self.conclude(&outcome)) {
            tracing::warn!("the old bundle is back, but tidying up is left for 'certcast recover': {error:#}");
        }
        outcome
    }

    /// The staged directory is the witness of which tree is visible: it is not taken apart before the journal says so.
    fn try_put_away(&mut self) -> Result<()> {
        // On a full disk this makes room for the record.
        self.remove_written()?;
        if self.journal.state() != State::Undone {
            self.journal.write(&Record::Undone)?;
        }
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
        let intent = self.intent();
        self.check_the_way_back()?;
        for (joined, existed) in &self.joined {
            joined.undo(&intent.transaction, *existed)?;
        }
        if let Some((_, live)) = &self.trees {
            live.undo(&intent.transaction, intent.before, intent.to)?;
        }
        // Services that were ill before are not made well by the old tree; the others may have read the new one.
        let is_well = |service: &&Service| intent.tests_passed || !service::is_ill(service);
        let well: Vec<_> = self.node.services().iter().filter(is_well).cloned().collect();
        // certbot's own links stay new, and without an old leaf there is nothing to wait for.
        let old_leaf = intent.old_leaf.filter(|_| intent.before != Before::Certbot);
        let places: Vec<_> = well.iter().flat_map(probe::places).collect();
        let is_expected =
            |place: &&Expectation| old_leaf.is_some() && (intent.tests_passed || places.contains(&place.address));
        let expectations: Vec<_> = intent.expectations.iter().filter(is_expected).cloned().collect();
        let leaf = old_leaf.unwrap_or(intent.digest);
        let settled = service::settle(&well, &expectations, leaf, reload);
        let notes = settled.map_err(|unwilling| anyhow::anyhow!("{}: {}", unwilling.step, unwilling.cause))?;
        for note in notes {
            tracing::warn!("while the old bundle was brought back: {note}");
        }
        Ok(())
    }

    /// The old directory may be gone only if a disk lost the journal's last words; then links to files that are gone would
    /// be made.
    fn check_the_way_back(&self) -> Result<()> {
        let intent = self.intent();
        let (Some((archive, live)), Before::Number(from)) = (&self.trees, intent.before) else { return Ok(()) };
        let is_back = || matches!(live.number(), Ok(Some(number)) if number == from);
        if live.has_stage(&intent.transaction)? || is_back() || archive.read(from)?.is_some() {
            return Ok(());
        }
        bail!("version {from}, to go back to, is not whole any more; {} stays as it is", live.path().display())
    }

    /// Neither way worked. Both trees stay, the journal stays, and every later request hears of it.
    fn stuck(mut self, cause: &str) -> Outcome {
        if self.journal.state() != State::Stuck
            && let Err(error) = self.journal.write(&Record::Stuck { cause: cause.into() })
        {
            tracing::error!("cannot even note it: {:#}", anyhow::Error::from(error));
        }
        let outcome = Outcome::Stuck { cause: cause.into(), remedy: self.remedy() };
        self.remember(&outcome);
        outcome
    }

    /// What a person has to run when neither way worked.
    pub fn remedy(&self) -> Vec<String> {
        let tests = self.node.services().iter().map(|service| pasteable(&service.test));
        let look = |staged: PathBuf| pasteable(&["ls", "-lA", &staged.to_string_lossy()]);
        let looks = self.overlay().into_iter().map(|(staged, _)| look(staged));
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

    /// Removes the archive files that were written: certbot would take the highest number in the archive for the current one.
    /// What the visible links name stays, whoever made them.
    fn remove_written(&self) -> Result<()> {
        let intent = self.intent();
        let Some((archive, live)) = &self.trees else { return Ok(()) };
        // A tree that was taken over may have named it before.
        let named_before = matches!(intent.before, Before::Foreign) || intent.before == Before::Number(intent.to);
        if !named_before && live.names(intent.to)? {
            tracing::warn!("{} names version {}: its files are kept", live.path().display(), intent.to);
            return Ok(());
        }
        Ok(archive.remove(intent.to, &intent.writes)?)
    }

    /// Removes what was staged, and what was written for it.
    fn discard(&self) -> Result<()> {
        let intent = self.intent();
        if let Some((_, live)) = &self.trees
            && let Some(kept) = live.discard(&intent.transaction)?
        {
            tracing::warn!("somebody put files into {}; it is kept", kept.display());
        }
        self.remove_written()?;
        if matches!(intent.before, Before::Nothing | Before::Foreign) {
            let archives = self.node.letsencrypt().open_beneath("archive");
            // Where it is gone, a disk that cannot be written is no reason to keep the journal.
            let remove = |dir: Dir| {
                let name = intent.lineage.as_str();
                if dir.exists(name)? { dir.rmdir(name) } else { Ok(()) }
            };
            match archives.and_then(remove) {
                // Without any archive, or an older version is kept in it, and then it is to stay.
                Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => {
                    return Err(error.into());
                }
                _ => {}
            }
        }
        Ok(self.joined.iter().try_for_each(|(joined, _)| joined.discard(&intent.transaction))?)
    }

    /// For a primary that lost the answer; without it, it compares digests.
    fn remember(&self, outcome: &Outcome) {
        let intent = self.intent();
        if let Err(error) = history::remember(self.node.state(), &intent.transaction, &intent.lineage, outcome) {
            tracing::warn!("cannot remember the outcome: {error:#}");
        }
    }

    fn conclude(self, outcome: &Outcome) -> Result<()> {
        self.remember(outcome);
        Ok(self.journal.close()?)
    }
}
