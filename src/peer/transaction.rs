//! The move of this node from one bundle to the next. This is the only file that knows the step order.
//!
//! Killed or unplugged at any moment, the node has the old tree or the new one, and the journal says
//! which; `recovery` then finishes or undoes the rest. Nothing before `commit` is visible to anybody, but for
//! one thing: files of the installed version that are torn, and so serve nobody, are mended where they are.

use crate::model::bundle::Bundle;
use crate::model::deadline::Deadline;
use crate::model::outcome::{Outcome, Step};
use crate::peer::baseline::{self, Baseline, Tests};
use crate::peer::ending::Ending;
use crate::peer::halt::Halt;
use crate::peer::journal::Journal;
use crate::peer::node::{Held, Node};
use crate::peer::policy::Grant;
use crate::peer::service::{Reload, Unwilling};
use crate::peer::state::{Before, Record};
use crate::peer::{admission, brought, hearing, preflight, service, staging, trust};
use crate::wire::message::{Prepare, TransactionId, Version};

/// What `prepare` came to.
pub enum Prepared<'n> {
    /// Staged and pre-flighted; waiting for `commit` or `abort`.
    Waiting(Box<Transaction<'n>>),
    /// Only asked: what would change, one line a file or command.
    Planned(Vec<String>),
}

/// A staged bundle. It holds the node's lock until it is committed or aborted.
pub struct Transaction<'n> {
    _held: Held,
    ending: Ending<'n>,
    bundle: Bundle,
    notes: Vec<String>,
}

/// From the lock to a staged and pre-flighted bundle. Halted anywhere, nothing has changed.
pub fn prepare<'n>(node: &'n Node, request: &Prepare, grant: &Grant, deadline: Deadline) -> Result<Prepared<'n>, Halt> {
    let held = if request.wishes.dry_run { node.lock(deadline)? } else { node.hold(deadline, grant)? };
    if request.wishes.dry_run && Journal::is_there(node.state()) {
        let change = format!("finish or undo what an earlier run left in {}", node.state().display());
        return Ok(Prepared::Planned(vec![change]));
    }
    prepare_held(node, held, request, grant, deadline).map_err(|Halt(outcome)| Halt(hearing::of_own(grant, outcome)))
}

fn prepare_held<'n>(
    node: &'n Node,
    held: Held,
    request: &Prepare,
    grant: &Grant,
    deadline: Deadline,
) -> Result<Prepared<'n>, Halt> {
    let offered = Version { number: request.number, digest: request.files.digest() };
    if !node.is_own() && admission::installed(node, &request.lineage).unwrap_or_default() == Some(offered) {
        return Err(Halt(Outcome::Unchanged));
    }
    let old = baseline::installed_leaf(node, &request.lineage)?;
    let now = jiff::Timestamp::now().as_second();
    let (bundle, mut notes) = admission::check(request, grant, old.as_ref().filter(|_| !node.is_own()), now)?;
    trust::check(node, request, grant, &bundle)?;
    let baseline = baseline::look(node, request, &bundle, old.as_ref(), deadline)?;
    if request.wishes.dry_run {
        // A plan has no pre-flight.
        if baseline.tests == Tests::NotAsked {
            baseline::test(node.services())?;
        }
        return Ok(Prepared::Planned(plan(node, request, grant, &baseline)));
    }
    let tests = baseline.tests;
    let ending = staging::stage(node, request, &bundle, old.as_ref(), baseline)?;
    let overlay = if ending.can_be_tried() { ending.overlay() } else { Vec::new() };
    match preflight::run(node.services(), &overlay, tests, deadline) {
        Ok(more) => notes.extend(more),
        Err(Unwilling { step, cause }) => return Err(ending.give_up(step, &cause)),
    }
    Ok(Prepared::Waiting(Box::new(Transaction { _held: held, ending, bundle, notes })))
}

impl Transaction<'_> {
    /// The primary's name for it.
    pub fn id(&self) -> &TransactionId {
        &self.ending.intent().transaction
    }

    /// Switch, test, reload, probe, and finish; or back. This node now decides alone.
    pub fn commit(mut self) -> Outcome {
        self.note_leafs();
        // Not noted means not begun.
        if let Err(error) = self.ending.journal.write(&Record::Switching) {
            return self.ending.give_up(Step::Switch, &format!("{:#}", anyhow::Error::from(error))).0;
        }
        match self.switch_and_settle() {
            Ok(notes) => {
                self.notes.extend(notes);
                self.ending.finish(self.notes)
            }
            Err(Unwilling { step, cause }) => self.ending.undo(step, cause, Reload::Back),
        }
    }

    /// Only what is said of the services hangs on it, so a disk that takes nothing more holds no certificate up.
    fn note_leafs(&self) {
        let (state, intent) = (self.ending.node.state(), self.ending.intent());
        if let Err(error) =
            brought::note(state, &intent.lineage, intent.old_leaf.into_iter().chain([self.bundle.leaf()]))
        {
            tracing::warn!(lineage = %intent.lineage, %error, "cannot note which certificates were brought here");
        }
    }

    fn switch_and_settle(&mut self) -> Result<Vec<String>, Unwilling> {
        let at_switch = |error: anyhow::Error| Unwilling { step: Step::Switch, cause: format!("{error:#}") };
        self.ending.switch().map_err(at_switch)?;
        let expectations = &self.ending.intent().expectations;
        let notes = service::settle(self.ending.node.services(), expectations, self.bundle.leaf(), Reload::All)?;
        self.ending.journal.write(&Record::Confirmed).map_err(|error| at_switch(error.into()))?;
        Ok(notes)
    }

    /// Removes everything that was staged.
    pub fn abort(self, why: &str) -> Outcome {
        self.ending.give_up(Step::Stage, why).0
    }
}

fn plan(node: &Node, request: &Prepare, grant: &Grant, baseline: &Baseline) -> Vec<String> {
    let (lineage, number) = (&request.lineage, request.number);
    let tree = node.letsencrypt().path().display();
    let mut changes = Vec::new();
    if baseline.before != Before::Certbot {
        let files = crate::model::bundle::Part::ALL.map(|part| part.file(number));
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
