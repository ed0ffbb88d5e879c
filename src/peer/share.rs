//! One lineage's share of a transaction: its two trees and its joined files, on the way there, back, or out again.

use std::io::{self, ErrorKind};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::model::bundle::Part;
use crate::model::digest::Digest;
use crate::peer::archive::Archive;
use crate::peer::joined::Joined;
use crate::peer::journal::Journal;
use crate::peer::live::Live;
use crate::peer::node::Node;
use crate::peer::probe::Expected;
use crate::peer::state::{Before, Intent, State};
use crate::peer::{brought, missing, settled, written};
use crate::sys::dir::Dir;

/// A primary that keeps every version, or says so with a stolen key, must not fill this disk.
const VERSIONS_AT_MOST: usize = 50;

/// What is open of one lineage. Each way to end it may be repeated after a crash at any moment of it; the journal already
/// says which way.
#[derive(Debug)]
pub struct Share {
    /// What was set out to be done.
    pub intent: Intent,
    /// The lineage's directories; none where certbot keeps them.
    pub trees: Option<(Archive, Live)>,
    /// The joined files, each with whether it was there before.
    pub joined: Vec<(Joined, bool)>,
    /// The leaf that services are to show; not known any more after a crash.
    pub leaf: Option<Digest>,
    /// What a person may want to know when it went well.
    pub notes: Vec<String>,
}

impl Share {
    /// What a crash left of a lineage.
    pub fn of(node: &Node, journal: &Journal, intent: &Intent) -> io::Result<Share> {
        let letsencrypt = node.letsencrypt();
        // Nothing was made yet, or it is gone already.
        let may_lack = matches!(intent.before, Before::Nothing | Before::Foreign)
            && matches!(journal.state(), State::Staging | State::Undone);
        let trees = match (Archive::open(letsencrypt, &intent.lineage)?, Live::open(letsencrypt, &intent.lineage)?) {
            _ if intent.before == Before::Certbot => None,
            (Some(archive), Some(live)) => Some((archive, live)),
            _ if may_lack => None,
            _ => return Err(missing::tree(node, journal, intent)),
        };
        let mut joined = Vec::new();
        for file in &intent.joined {
            match Joined::open(&file.path) {
                Ok(open) => joined.push((open, file.existed)),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return Err(missing::directory(file, journal));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Share { intent: intent.clone(), trees, joined, leaf: None, notes: Vec::new() })
    }

    /// Which staged path belongs over which visible one, as far as there is a visible one. Over a link nothing can be shown:
    /// it would appear where that leads, and its own links lead elsewhere from there.
    pub fn overlay(&self) -> Vec<(PathBuf, PathBuf)> {
        let id = &self.intent.transaction;
        let live = self.trees.iter().map(|(_, live)| (live.stage_path(id), live.path()));
        let joined = self.joined.iter().map(|(joined, _)| (joined.stage_path(id), joined.path()));
        live.chain(joined).filter(|(_, visible)| visible.exists() && !visible.is_symlink()).collect()
    }

    /// Whether all that is staged can be shown in the place of something visible.
    pub fn can_be_shown(&self) -> bool {
        self.overlay().len() == self.trees.iter().len() + self.joined.len()
    }

    /// Where the new leaf is to be served.
    pub fn expects(&self) -> Vec<Expected> {
        self.everywhere(self.leaf)
    }

    /// Where the old leaf is to be served again on the way back; where the new one was before, any. certbot's own links stay new,
    /// and without an old leaf there is nothing to wait for.
    pub fn expects_back(&self) -> Vec<Expected> {
        let mut places = self.everywhere(self.intent.old_leaf.filter(|_| self.intent.before != Before::Certbot));
        for (_, leaf) in places.iter_mut().filter(|(place, _)| self.intent.ahead.contains(place)) {
            *leaf = None;
        }
        places
    }

    fn everywhere(&self, leaf: Option<Digest>) -> Vec<Expected> {
        let places = self.intent.expectations.iter().filter(|_| leaf.is_some());
        places.map(|place| (place.clone(), leaf)).collect()
    }

    /// Whether the new tree is visible though the journal does not say that the switch had begun: a disk lost its word.
    pub fn is_switched(&self) -> io::Result<bool> {
        let Intent { before, to, .. } = self.intent;
        self.trees.as_ref().map_or(Ok(false), |(_, live)| live.is_switched(before, to))
    }

    /// Makes what is staged visible.
    pub fn switch(&self) -> Result<()> {
        let Intent { transaction, before, to, .. } = &self.intent;
        if let Some((_, live)) = &self.trees {
            live.switch(transaction, *before, *to)
                .with_context(|| format!("cannot switch {}", live.path().display()))?;
        }
        self.joined.iter().try_for_each(|(joined, _)| joined.switch(transaction)).context("cannot switch a joined file")
    }

    /// After success: removes the old tree and the versions the primary no longer has. A note says what is kept of it.
    pub fn tidy(&mut self, node: &Node) -> Result<()> {
        let intent = &self.intent;
        if let Some((archive, live)) = &self.trees {
            let kept = match intent.before {
                Before::Foreign => live.keep(&intent.transaction)?,
                _ => live.discard(&intent.transaction)?,
            };
            if let Some(backup) = kept {
                self.notes.push(format!("what was there before is kept in {}", backup.display()));
            }
            self.prune(node, archive)?;
            live.explain()?;
        }
        if intent.before == Before::Certbot {
            settled::set(node.state(), &intent.lineage, intent.digest)?;
        }
        let id = &intent.transaction;
        for (joined, _) in &self.joined {
            let is_ours =
                || brought::is_led_by_one(node.state(), &intent.lineage, joined.old_certificates(id)?.as_deref());
            if matches!(intent.before, Before::Nothing | Before::Foreign)
                && !is_ours()?
                && let Some(backup) = joined.keep(id)?
            {
                self.notes.push(format!("what was there before is kept in {}", backup.display()));
            }
            joined.discard(id)?;
        }
        Ok(())
    }

    /// Removes the versions that were written here and that the primary no longer has; of very many, the oldest.
    fn prune(&self, node: &Node, archive: &Archive) -> Result<()> {
        let intent = &self.intent;
        let (state, lineage) = (node.state(), &intent.lineage);
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

    /// Makes what was visible before visible again.
    pub fn undo(&self) -> Result<()> {
        let intent = &self.intent;
        for (joined, existed) in &self.joined {
            joined.undo(&intent.transaction, *existed)?;
        }
        if let Some((_, live)) = &self.trees {
            live.undo(&intent.transaction, intent.before, intent.to)?;
        }
        Ok(())
    }

    /// The old tree may be gone only if a disk lost the journal's last words. Asked before anything goes back: else a part would be
    /// old, or links would name files that are gone.
    pub fn check_the_way_back(&self) -> Result<()> {
        let intent = &self.intent;
        for (joined, existed) in &self.joined {
            joined.check_the_way_back(&intent.transaction, *existed)?;
        }
        let Some((archive, live)) = &self.trees else { return Ok(()) };
        if live.has_stage(&intent.transaction)? {
            return Ok(());
        }
        let is_back = |from| matches!(live.number(), Ok(Some(number)) if number == from);
        let path = live.path();
        match intent.before {
            Before::Number(from) if !is_back(from) && archive.read(from)?.is_none() => {
                bail!("version {from}, to go back to, is not whole any more; {} stays as it is", path.display())
            }
            Before::Foreign => {
                bail!("what was taken over, to go back to, is not where it was; {} stays as it is", path.display())
            }
            _ => Ok(()),
        }
    }

    /// Removes the archive files that were written: certbot would take the highest number in the archive for the current one.
    /// What the visible links name stays, whoever made them.
    pub fn remove_written(&self) -> Result<()> {
        let intent = &self.intent;
        let Some((archive, live)) = &self.trees else { return Ok(()) };
        // A tree that was taken over may have named it before.
        let named_before = matches!(intent.before, Before::Foreign) || intent.before == Before::Number(intent.to);
        if !named_before && live.names(intent.to)? {
            tracing::warn!("{} names version {}: its files are kept", live.path().display(), intent.to);
            return Ok(());
        }
        Ok(archive.remove(intent.to, &intent.writes)?)
    }

    /// Forgets the leaf of a lineage that came and did not stay; after a crash it is not known any more.
    pub fn forget(&self, node: &Node) -> Result<()> {
        match (self.intent.before, self.leaf) {
            (Before::Nothing, Some(leaf)) => Ok(brought::forget(node.state(), &self.intent.lineage, leaf)?),
            _ => Ok(()),
        }
    }

    /// Removes what was staged, and what was written for it.
    pub fn discard(&self, node: &Node) -> Result<()> {
        let intent = &self.intent;
        if let Some((_, live)) = &self.trees
            && let Some(kept) = live.discard(&intent.transaction)?
        {
            tracing::warn!("somebody put files into {}; it is kept", kept.display());
        }
        self.remove_written()?;
        if matches!(intent.before, Before::Nothing | Before::Foreign) {
            let archives = node.letsencrypt().open_beneath("archive");
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
}
