//! The move of this node from one bundle to the next. This file alone knows the order of the steps up to the
//! switch; what a service is asked after it stands in `service`, the ways back in `ending`.
//!
//! Bundles of several lineages may move together: with one test, one reload and one end for all.
//!
//! Killed or unplugged at any moment, the node has the old tree or the new one, and the journal says
//! which; `recovery` then finishes or undoes the rest. Nothing before `commit` is visible to anybody, but for
//! one thing: files of the installed version that are torn, and so serve nobody, are mended where they are.

use crate::model::bundle::{Bundle, Part};
use crate::model::deadline::Deadline;
use crate::model::outcome::{Outcome, Step};
use crate::peer::baseline::{self, Baseline, Tests};
use crate::peer::ending::Ending;
use crate::peer::halt::Halt;
use crate::peer::journal::Journal;
use crate::peer::node::{Held, Node};
use crate::peer::policy::Grant;
use crate::peer::service::{Reload, Unwilling};
use crate::peer::share::Share;
use crate::peer::staging::Candidate;
use crate::peer::state::{Before, Record};
use crate::peer::{admission, brought, hearing, preflight, service, staging, trust};
use crate::wire::message::{Ended, Offer, Version};
use crate::wire::transaction_id::TransactionId;

/// What `prepare` came to.
pub struct Prepared<'n> {
    /// Staged and pre-flighted; waiting for `commit` or `abort`. None when every lineage is apart.
    pub waiting: Option<Box<Transaction<'n>>>,
    /// The lineages that are no part of it, each with how it ended for it.
    pub apart: Vec<Ended>,
}

/// Staged bundles, each of another lineage. It holds the node's lock until it is committed or aborted.
pub struct Transaction<'n> {
    _held: Held,
    ending: Ending<'n>,
}

/// From the lock to staged and pre-flighted bundles. Of what is apart nothing has changed.
///
/// A lineage that may not be installed, or is already, or that could not be looked at in time, is apart. What
/// fails after that, a disk or a service, fails for all, and all are apart.
pub fn prepare<'n>(
    node: &'n Node,
    transaction: &TransactionId,
    offers: &[&Offer],
    grant: &Grant,
    deadline: Deadline,
) -> Prepared<'n> {
    let lineages = || offers.iter().map(|offer| offer.lineage.clone());
    let held = match node.hold(deadline, grant) {
        Ok(held) => held,
        Err(Halt(outcome)) => return Prepared { waiting: None, apart: Ended::all(lineages(), &outcome) },
    };
    let (mut candidates, mut apart) = (Vec::new(), Vec::new());
    // Services that are slow to show something must not use up the time of several: they are asked again for each alone.
    let looks = if offers.len() > 1 { deadline.at_most(deadline.left() / 2) } else { deadline };
    for (offer, rest) in offers.iter().zip((1..=u32::try_from(offers.len()).unwrap_or(u32::MAX)).rev()) {
        let slice = looks.at_most(looks.left() / rest);
        match admit(node, offer, grant, slice) {
            Ok(candidate) => candidates.push(candidate),
            Err(Halt(outcome)) => {
                let outcome = hearing::of_own(grant, outcome);
                apart.push(Ended { lineage: offer.lineage.clone(), outcome });
            }
        }
    }
    if candidates.is_empty() {
        return Prepared { waiting: None, apart };
    }
    let lineages: Vec<_> = candidates.iter().map(|candidate| candidate.lineage().clone()).collect();
    match stage_and_try(node, transaction, candidates, deadline) {
        Ok(ending) => Prepared { waiting: Some(Box::new(Transaction { _held: held, ending })), apart },
        Err(Halt(outcome)) => {
            apart.extend(Ended::all(lineages, &hearing::of_own(grant, outcome)));
            Prepared { waiting: None, apart }
        }
    }
}

fn admit<'r>(node: &Node, offer: &'r Offer, grant: &Grant, deadline: Deadline) -> Result<Candidate<'r>, Halt> {
    let (bundle, baseline, notes) = look(node, offer, grant, deadline)?;
    Candidate::of(node, offer, bundle, baseline, notes)
}

/// What can be said of a bundle before anything is written: whether it may be installed, and what is there.
fn look(
    node: &Node,
    offer: &Offer,
    grant: &Grant,
    deadline: Deadline,
) -> Result<(Bundle, Baseline, Vec<String>), Halt> {
    let offered = Version { number: offer.number, digest: offer.files.digest() };
    if !node.is_own() && admission::installed(node, &offer.lineage).unwrap_or_default() == Some(offered) {
        return Err(Halt(Outcome::Unchanged));
    }
    let old = baseline::installed_leaf(node, &offer.lineage)?;
    let now = jiff::Timestamp::now().as_second();
    let (bundle, notes) = admission::check(offer, grant, old.as_ref().filter(|_| !node.is_own()), now)?;
    trust::check(node, offer, grant, &bundle)?;
    let baseline = baseline::look(node, offer, &bundle, old.as_ref(), deadline)?;
    Ok((bundle, baseline, notes))
}

fn stage_and_try<'n>(
    node: &'n Node,
    transaction: &TransactionId,
    candidates: Vec<Candidate<'_>>,
    deadline: Deadline,
) -> Result<Ending<'n>, Halt> {
    let of_each: Vec<_> = candidates.iter().map(|candidate| &candidate.baseline.wholeness).collect();
    let tests = baseline::tests(node.services(), &of_each)?;
    let mut ending = staging::stage(node, transaction, candidates, tests)?;
    let overlay = if ending.can_be_tried() { ending.overlay() } else { Vec::new() };
    match preflight::run(node.services(), &overlay, tests, deadline) {
        Ok(notes) => ending.note(&notes),
        Err(Unwilling { step, cause }) => return Err(ending.give_up(step, &cause)),
    }
    Ok(ending)
}

impl Transaction<'_> {
    /// The primary's name for it.
    pub fn id(&self) -> &TransactionId {
        self.ending.journal.transaction()
    }

    /// Switch, test, reload, probe, and finish; or back. This node now decides alone.
    pub fn commit(mut self) -> Vec<Ended> {
        let lineages = self.ending.lineages();
        self.note_leafs();
        // Not noted means not begun.
        if let Err(error) = self.ending.journal.write(&Record::Switching) {
            let cause = format!("{:#}", anyhow::Error::from(error));
            return Ended::all(lineages, &self.ending.give_up(Step::Switch, &cause).0);
        }
        match self.switch_and_settle() {
            Ok(()) => self.ending.finish(),
            Err(Unwilling { step, cause }) => Ended::all(lineages, &self.ending.undo(step, cause, Reload::Back)),
        }
    }

    /// Only what is said of the services hangs on it, so a disk that takes nothing more holds no certificate up.
    fn note_leafs(&self) {
        for Share { intent, leaf, .. } in &self.ending.shares {
            if let Err(error) =
                brought::note(self.ending.node.state(), &intent.lineage, intent.old_leaf.into_iter().chain(*leaf))
            {
                tracing::warn!(lineage = %intent.lineage, %error, "cannot note which certificates were brought here");
            }
        }
    }

    fn switch_and_settle(&mut self) -> Result<(), Unwilling> {
        let at_switch = |error: anyhow::Error| Unwilling { step: Step::Switch, cause: format!("{error:#}") };
        self.ending.switch().map_err(at_switch)?;
        let services = self.ending.node.services();
        let expected: Vec<_> = self.ending.shares.iter().flat_map(Share::expects).collect();
        let notes = service::settle(services, &expected, Reload::All)?;
        self.ending.note(&notes);
        if services.iter().any(|service| !service.probe.is_empty()) {
            for share in self.ending.shares.iter_mut().filter(|share| share.intent.expectations.is_empty()) {
                share.notes.push("not served here".into());
            }
        }
        self.ending.journal.write(&Record::Confirmed).map_err(|error| at_switch(error.into()))
    }

    /// Removes everything that was staged.
    pub fn abort(self, why: &str) -> Vec<Ended> {
        Ended::all(self.ending.lineages(), &self.ending.give_up(Step::Stage, why).0)
    }
}

/// What would change, one line a file or command. Changes nothing.
pub fn plan(node: &Node, offer: &Offer, grant: &Grant, deadline: Deadline) -> Result<Vec<String>, Halt> {
    let _held = node.lock(deadline)?;
    if Journal::is_there(node.state()) {
        return Ok(vec![format!("finish or undo what an earlier run left in {}", node.state().display())]);
    }
    let found = look(node, offer, grant, deadline).and_then(|(_, baseline, _)| {
        // A plan has no pre-flight.
        if baseline::tests(node.services(), &[&baseline.wholeness])? == Tests::NotAsked {
            baseline::test(node.services())?;
        }
        Ok(baseline)
    });
    let baseline = found.map_err(|Halt(outcome)| Halt(hearing::of_own(grant, outcome)))?;
    Ok(changes(node, offer, grant, &baseline))
}

fn changes(node: &Node, offer: &Offer, grant: &Grant, baseline: &Baseline) -> Vec<String> {
    let (lineage, number) = (&offer.lineage, offer.number);
    let tree = node.letsencrypt().path().display();
    let mut changes = Vec::new();
    if baseline.before != Before::Certbot {
        let files = Part::ALL.map(|part| part.file(number));
        changes.push(format!("write {tree}/archive/{lineage}/{{{}}}", files.join(",")));
        changes.push(match baseline.before {
            Before::Number(old) => format!("switch {tree}/live/{lineage} from {old} to {number}"),
            Before::Foreign => format!("replace {tree}/live/{lineage}, keeping a backup, by {number}"),
            Before::Nothing | Before::Certbot => format!("make {tree}/live/{lineage} for {number}"),
        });
    }
    changes.extend(node.joined_paths(lineage).iter().map(|path| format!("write {}", path.display())));
    for service in node.services() {
        changes.push(hearing::commands(grant, service));
    }
    let places =
        baseline.expectations.iter().map(|place| format!("see it served for {} at {}", place.name, place.address));
    changes.extend(places);
    changes
}
