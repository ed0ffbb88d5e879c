//! Writing everything that a switch needs, with nothing of it visible.

use std::io;

use crate::model::bundle::{Bundle, Part};
use crate::model::names::LineageName;
use crate::model::outcome::Step;
use crate::peer::archive::{Archive, ArchiveError, Lacks};
use crate::peer::baseline::{Baseline, Tests};
use crate::peer::ending::Ending;
use crate::peer::halt::Halt;
use crate::peer::joined::Joined;
use crate::peer::journal::Journal;
use crate::peer::live::Live;
use crate::peer::node::Node;
use crate::peer::share::Share;
use crate::peer::state::{Before, Intent, JoinedFile};
use crate::peer::{brought, written};
use crate::sys::dir::Stat;
use crate::wire::message::{Offer, Ownership, TreeAttributes};
use crate::wire::transaction_id::TransactionId;

/// A bundle that may be installed here, and what was there before it.
#[derive(Debug)]
pub struct Candidate<'r> {
    offer: &'r Offer,
    bundle: Bundle,
    attributes: TreeAttributes,
    joined: Vec<Joined>,
    lacks: Lacks,
    /// The node as it is.
    pub baseline: Baseline,
    notes: Vec<String>,
}

impl<'r> Candidate<'r> {
    /// A bundle that was admitted. Changes nothing.
    pub fn of(
        node: &Node,
        offer: &'r Offer,
        bundle: Bundle,
        baseline: Baseline,
        notes: Vec<String>,
    ) -> Result<Candidate<'r>, Halt> {
        let attributes = attributes(node, offer.attributes)?;
        let joined =
            node.joined_paths(&offer.lineage).iter().map(|path| Joined::open(path)).collect::<Result<Vec<_>, _>>()?;
        if baseline.before == Before::Nothing && !offer.wishes.adopt {
            joined.iter().try_for_each(|joined| check_whose(node, offer, joined))?;
        }
        let lacks = lacks(node, offer, &bundle, baseline.before)?;
        Ok(Candidate { offer, bundle, attributes, joined, lacks, baseline, notes })
    }

    /// Which lineage's it is.
    pub fn lineage(&self) -> &LineageName {
        &self.offer.lineage
    }

    /// What is set out for it. The joined files move there, and `write` finds them there.
    fn share(&mut self, transaction: &TransactionId, tests: Tests) -> io::Result<Share> {
        let offer = self.offer;
        let with_existence = |joined: Joined| joined.exists().map(|existed| (joined, existed));
        let joined: Vec<_> =
            std::mem::take(&mut self.joined).into_iter().map(with_existence).collect::<io::Result<_>>()?;
        let file = |(joined, existed): &(Joined, bool)| JoinedFile { path: joined.path(), existed: *existed };
        let intent = Intent {
            transaction: transaction.clone(),
            lineage: offer.lineage.clone(),
            before: self.baseline.before,
            to: offer.number,
            writes: self.lacks.absent.clone(),
            joined: joined.iter().map(file).collect(),
            keep: offer.keep.iter().copied().chain([offer.number]).collect(),
            tests_passed: tests != Tests::Failed,
            digest: self.bundle.digest(),
            old_leaf: self.baseline.old_leaf,
            expectations: self.baseline.expectations.clone(),
            ahead: self.baseline.ahead.clone(),
        };
        let (leaf, notes) = (Some(self.bundle.leaf()), self.notes.clone());
        Ok(Share { intent, trees: None, joined, leaf, notes })
    }

    fn write(&self, node: &Node, transaction: &TransactionId, share: &mut Share) -> io::Result<()> {
        let Offer { lineage, number, .. } = self.offer;
        if self.baseline.before != Before::Certbot {
            let archive = Archive::create(node.letsencrypt(), lineage, self.attributes.directory)?;
            let live = Live::create(node.letsencrypt(), lineage)?;
            let (archive, live) = share.trees.insert((archive, live));
            for parts in [&self.lacks.absent, &self.lacks.torn] {
                archive.write(*number, self.bundle.files(), parts, &self.attributes)?;
            }
            live.stage(transaction, *number, self.attributes.directory)?;
        }
        let stage = |(joined, _): &(Joined, bool)| joined.stage(transaction, self.bundle.files(), self.attributes.key);
        share.joined.iter().try_for_each(stage)
    }
}

/// Begins the journal, then writes archive files, joined files and the staged `live` directories.
/// On any failure everything written is removed again.
pub fn stage<'n>(
    node: &'n Node,
    transaction: &TransactionId,
    mut candidates: Vec<Candidate<'_>>,
    tests: Tests,
) -> Result<Ending<'n>, Halt> {
    let is_there = |one: &Candidate<'_>| match one.baseline.before {
        Before::Certbot => Ok(true),
        _ => Archive::open(node.letsencrypt(), one.lineage()).map(|archive| archive.is_some()),
    };
    let there: Vec<_> = candidates.iter().map(is_there).collect::<io::Result<_>>()?;
    Archive::check_room(node.letsencrypt(), there.iter().filter(|is_there| !**is_there).count())?;
    let shares: Vec<_> = candidates.iter_mut().map(|one| one.share(transaction, tests)).collect::<io::Result<_>>()?;
    let intents = shares.iter().map(|share| share.intent.clone()).collect();
    let mut ending = Ending { node, journal: Journal::begin(node.state(), transaction, intents)?, shares: Vec::new() };
    for (candidate, mut share) in candidates.iter().zip(shares) {
        let written = candidate.write(node, transaction, &mut share);
        ending.shares.push(share);
        if let Err(error) = written {
            return Err(ending.give_up(Step::Stage, &error.to_string()));
        }
    }
    Ok(ending)
}

/// Where nothing is installed of a lineage, a file under its name is ours only if it has what was brought here once.
fn check_whose(node: &Node, offer: &Offer, joined: &Joined) -> Result<(), Halt> {
    let is_ours = brought::is_led_by_one(node.state(), &offer.lineage, joined.certificates()?.as_deref())?;
    if is_ours || !joined.exists()? || joined.holds(&offer.files) {
        return Ok(());
    }
    let path = joined.path().display().to_string();
    Err(Halt::refused(
        Step::Tree,
        format!("{path} was not made by certcast; 'certcast resync --adopt' takes it over and keeps a backup"),
    ))
}

fn lacks(node: &Node, offer: &Offer, bundle: &Bundle, before: Before) -> Result<Lacks, Halt> {
    if before == Before::Certbot {
        return Ok(Lacks { absent: Vec::new(), torn: Vec::new() });
    }
    let Some(archive) = Archive::open(node.letsencrypt(), &offer.lineage)? else {
        return Ok(Lacks { absent: Part::ALL.to_vec(), torn: Vec::new() });
    };
    let is_ours = written::numbers(node.state(), &offer.lineage)?.contains(&offer.number);
    let is_spare = is_ours && matches!(before, Before::Number(number) if number != offer.number);
    archive.lacks(offer.number, bundle.files(), is_spare).map_err(|error| match error {
        ArchiveError::Taken { .. } => Halt::refused(Step::Tree, error.to_string()),
        ArchiveError::Io(error) => error.into(),
    })
}

/// What the files get: as on the primary, but for this node's own wish for the key, and within limits.
fn attributes(node: &Node, asked: TreeAttributes) -> Result<TreeAttributes, Halt> {
    let attributes = TreeAttributes {
        directory: fit(asked.directory, 0o2775, "a directory")?,
        key: fit(node.key_ownership(asked.key)?, 0o660, "the private key")?,
        public: fit(asked.public, 0o664, "a certificate")?,
    };
    check_owners(node, attributes)?;
    Ok(attributes)
}

/// Whether files of this user would be nobody's here: neither root's nor of who owns the tree.
fn is_strangers(uid: u32, owner: u32) -> bool {
    uid != 0 && uid != owner
}

/// The wire cannot give files away to whom it likes: owners, and groups that may write, are root, or those of certbot's
/// directory here. A group that this node's `key_group` names is this node's choice; with `key_mode` alone the group is
/// still the wire's.
fn check_owners(node: &Node, attributes: TreeAttributes) -> Result<(), Halt> {
    let Stat { uid: owner, gid: group, .. } = node.letsencrypt().stat_self()?;
    let TreeAttributes { directory, key, public } = attributes;
    let may_write = |like: &Ownership| like.mode & 0o020 != 0 && like.gid != 0 && like.gid != group;
    let wish = &node.config().node;
    if wish.key_group.is_none() && may_write(&key) {
        return Err(Halt::refused(
            Step::Policy,
            match wish.key_mode {
                None => lets_write(key),
                Some(mode) => format!(
                    "node.key_mode {mode:04o} would let group {}, which is the primary's choice, write here: set \
                     node.key_group too, or a key_mode that lets no group write",
                    key.gid
                ),
            },
        ));
    }
    if let Some(like) = [directory, public].into_iter().find(may_write) {
        return Err(Halt::refused(Step::Policy, lets_write(like)));
    }
    match [directory, key, public].into_iter().map(|like| like.uid).find(|uid| is_strangers(*uid, owner)) {
        None => Ok(()),
        Some(uid) => Err(Halt::refused(
            Step::Policy,
            format!(
                "user {uid}, who owns these files on the primary, is neither root nor the owner of {} here: chown them \
                 to root on the primary",
                node.letsencrypt().path().display()
            ),
        )),
    }
}

fn lets_write(Ownership { gid, mode, .. }: Ownership) -> String {
    format!("mode {mode:o} on the primary would let group {gid} write here: 'chmod -R g-w' there")
}

/// The wire is not asked for modes that no certbot tree has: nothing executable, no key for everybody.
fn fit(like: Ownership, most: u32, what: &str) -> Result<Ownership, Halt> {
    if like.mode & !most != 0 {
        return Err(Halt::refused(
            Step::Policy,
            format!("mode {:o} is too wide for {what}, at most {most:o} is taken: chmod it on the primary", like.mode),
        ));
    }
    Ok(like)
}

#[cfg(test)]
mod tests;
