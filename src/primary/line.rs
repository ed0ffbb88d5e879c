//! The line to one node during a deploy or resync: one conversation, kept open over several lineages.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::deadline::Deadline;
use crate::model::names::{LineageName, NodeName};
use crate::model::outcome::Outcome;
use crate::primary::conversation::{Conversation, TalkError};
use crate::primary::fleet::Member;
use crate::primary::watcher::{Phase, Watcher};
use crate::wire::message::{Ended, Reply, Request, Version};
use crate::wire::presence::Presence;
use crate::wire::transaction_id::TransactionId;

mod opening;
mod staging;

/// How long a lost answer is asked for again, beyond the conversation's own deadline.
const RECALL: Duration = Duration::from_secs(20);

/// A node that breaks its line again and again is not asked for ever.
const MENDS: u8 = 3;

/// One node's line. While it is broken, every lineage that follows is pending for the same reason.
pub struct Line<'f> {
    own: &'f NodeName,
    member: &'f Member,
    watcher: &'f dyn Watcher,
    deadline: Deadline,
    /// When what is said in the present round is waited for no longer.
    turn: Deadline,
    talk: Talk,
    /// What does the node have of these lineages, by their names there? Asked with the first flight. Where there are none, what
    /// the node is known to lack goes with it.
    asks: Vec<LineageName>,
    mends: u8,
    installed: BTreeMap<LineageName, Presence>,
    underway: Option<Underway>,
    /// What the node said of each lineage of the last transaction; of those that it said nothing of, all ended as the
    /// transaction did.
    ended: Vec<Ended>,
}

/// What is staged, or may be.
struct Underway {
    transaction: TransactionId,
    lineages: Vec<LineageName>,
    /// Then nothing is to be staged, and no word follows.
    is_dry_run: bool,
}

enum Talk {
    /// To be opened when first used: a node that is away keeps nobody but itself waiting.
    Unopened,
    Open(Conversation),
    /// Why there is none any more.
    Broken(Outcome),
}

/// How long a commit's answer is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// As long as there is time.
    Whole,
    /// Others wait for this node: half of the time, so that one that says no more does not cost them the run.
    Half,
}

/// How one node's part in a round ended.
#[derive(Debug)]
pub enum Part {
    /// After the word.
    Concluded(Outcome),
    /// Without the word.
    Ended(Outcome),
    /// It only waited, because of another one: why.
    HeldBack(String),
    /// Only asked: what would change.
    Planned(Vec<String>),
    /// Nothing was done: what it lacks goes alone.
    Left,
}

impl Part {
    /// Whether the node has the lineages, or nothing was to be done but to say what would be.
    pub fn is_in_sync(&self) -> bool {
        match self {
            Part::Concluded(outcome) | Part::Ended(outcome) => outcome.is_in_sync(),
            Part::Planned(_) => true,
            Part::HeldBack(_) | Part::Left => false,
        }
    }
}

impl<'f> Line<'f> {
    /// A line that is opened when it is first used.
    pub fn new(
        own: &'f NodeName,
        member: &'f Member,
        watcher: &'f dyn Watcher,
        asks: Vec<LineageName>,
        deadline: Deadline,
    ) -> Self {
        Line {
            own,
            member,
            watcher,
            deadline,
            turn: deadline,
            talk: Talk::Unopened,
            asks,
            mends: MENDS,
            installed: BTreeMap::new(),
            underway: None,
            ended: Vec::new(),
        }
    }

    /// Waits until then for what comes next: a node that says no more must not use up other lineages' time.
    pub fn until(&mut self, turn: Deadline) {
        self.turn = turn;
        if let Talk::Open(talk) = &mut self.talk {
            talk.until(turn);
        }
    }

    /// The node's name.
    pub fn name(&self) -> &NodeName {
        &self.member.name
    }

    /// The node.
    pub fn member(&self) -> &'f Member {
        self.member
    }

    /// The lineages of what is staged, or may be, and waits for the word.
    pub fn waiting(&self) -> &[LineageName] {
        self.underway.as_ref().map_or(&[], |underway| &underway.lineages)
    }

    /// Tells who watches.
    pub fn reaches(&self, phase: Phase) {
        self.watcher.reaches(self.name(), phase);
    }

    /// How it ended for those lineages of which the node said it, as far as it is known by now.
    pub fn ended(&self) -> &[Ended] {
        &self.ended
    }

    /// The same, which is then forgotten.
    pub fn take_ended(&mut self) -> Vec<Ended> {
        std::mem::take(&mut self.ended)
    }

    /// Why nothing can be said on it any more.
    pub fn fault(&self) -> Option<&Outcome> {
        match &self.talk {
            Talk::Broken(outcome) => Some(outcome),
            Talk::Open(_) | Talk::Unopened => None,
        }
    }

    /// Keeps that the node has these already.
    pub fn pass_over(&mut self, lineages: impl IntoIterator<Item = LineageName>) {
        self.ended = Ended::all(lineages, &Outcome::Unchanged);
    }

    /// Whether the node said that it has just this.
    pub fn has(&self, lineage: &LineageName, version: Version) -> bool {
        self.installed.get(lineage).and_then(Presence::version) == Some(version)
    }

    /// Says the word. When the answer is lost, asks for it again on a new line: the node finishes alone.
    pub fn commit(&mut self, patience: Patience) -> Outcome {
        if self.turn.has_passed() {
            return self.abort("there was no time left to commit");
        }
        self.reaches(Phase::Switching);
        let Some(underway) = self.underway.take() else { return TalkError::Unexpected.outcome() };
        let (whole, half) = (self.turn, self.turn.at_most(self.turn.left() / 2));
        if let (Talk::Open(talk), Patience::Half) = (&mut self.talk, patience) {
            talk.until(half);
        }
        match self.conclude(&underway, |transaction| Request::Commit { transaction }) {
            Ok(ended) => {
                if let Talk::Open(talk) = &mut self.talk {
                    talk.until(whole);
                }
                self.note(ended)
            }
            Err(lost) => {
                // The old line goes first, lest it be what the node waits for.
                self.talk = Talk::Broken(lost.clone());
                let deadline = Deadline::after(match patience {
                    Patience::Whole => RECALL.max(whole.left()),
                    Patience::Half => RECALL.min(whole.left() / 2),
                });
                let Some(ended) = self.recall(&underway, deadline) else { return lost };
                self.talk =
                    Talk::Broken(Outcome::Pending { cause: "the conversation broke earlier in this run".into() });
                self.note(ended)
            }
        }
    }

    /// Has what was staged removed, for a reason that is to be told.
    pub fn abort(&mut self, why: &str) -> Outcome {
        self.forget();
        Outcome::Pending { cause: why.to_owned() }
    }

    /// Has what was staged removed.
    pub fn forget(&mut self) {
        let underway = self.underway.take();
        let told = underway.map(|underway| self.conclude(&underway, |transaction| Request::Abort { transaction }));
        if let Some(Err(outcome)) = told {
            // The node sees the line end and removes it alone.
            self.talk = Talk::Broken(outcome);
        }
    }

    fn breaks(&mut self, outcome: Outcome) -> Part {
        self.underway = None;
        self.talk = Talk::Broken(outcome.clone());
        Part::Ended(outcome)
    }

    fn recall(&self, underway: &Underway, deadline: Deadline) -> Option<Vec<Ended>> {
        let Underway { transaction, lineages, .. } = underway;
        let recall = Request::Recall { transaction: transaction.clone(), lineages: lineages.clone() };
        let mut talk = Conversation::open(self.own, self.member, &[recall], deadline).ok()?;
        talk.receive().ok().and_then(|reply| ends_of(reply, lineages))
    }

    fn conclude(
        &mut self,
        underway: &Underway,
        request: impl FnOnce(TransactionId) -> Request,
    ) -> Result<Vec<Ended>, Outcome> {
        let reply = self.talk()?.ask(&request(underway.transaction.clone())).map_err(|error| error.outcome())?;
        ends_of(reply, &underway.lineages).ok_or_else(|| TalkError::Unexpected.outcome())
    }

    /// Keeps how it ended for each lineage; returns the first end that is no good one.
    fn note(&mut self, ended: Vec<Ended>) -> Outcome {
        let outcome = first_bad(&ended);
        self.ended.extend(ended);
        outcome
    }

    fn receive(&mut self) -> Result<Reply, Outcome> {
        self.talk()?.receive().map_err(|error| error.outcome())
    }

    fn talk(&mut self) -> Result<&mut Conversation, Outcome> {
        match &mut self.talk {
            Talk::Open(talk) => Ok(talk),
            Talk::Broken(outcome) => Err(outcome.clone()),
            Talk::Unopened => Err(TalkError::Unexpected.outcome()),
        }
    }
}

/// How a transaction of these lineages ended for each; `None` where the answer is about anything else.
fn ends_of(reply: Reply, lineages: &[LineageName]) -> Option<Vec<Ended>> {
    match reply {
        Reply::Concluded { lineages: told } if told.iter().map(|ended| &ended.lineage).eq(lineages) => Some(told),
        _ => None,
    }
}

/// The first end that is no good one; where there is none, the first.
fn first_bad(ended: &[Ended]) -> Outcome {
    let bad = ended.iter().find(|ended| !ended.outcome.is_in_sync());
    bad.or(ended.first()).map_or(Outcome::Unchanged, |ended| ended.outcome.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::outcome::Step;

    #[test]
    fn an_answer_counts_where_it_tells_of_each_lineage_that_it_is_about() {
        let lineages: Vec<LineageName> = ["a", "b"].map(|name| name.parse().unwrap()).into();
        let applied = || Outcome::Applied { notes: Vec::new() };
        let told = |names: &[LineageName]| Ended::all(names.iter().cloned(), &applied());
        let ends = |names: &[LineageName]| ends_of(Reply::Concluded { lineages: told(names) }, &lineages);
        assert_eq!(ends(&lineages), Some(told(&lineages)));
        let turned = [lineages[1].clone(), lineages[0].clone()];
        for names in [&lineages[..1], &turned, &[]] {
            assert_eq!(ends(names), None, "{names:?}");
        }
        assert_eq!(ends_of(Reply::Published { failures: Vec::new() }, &lineages), None);
        let refused = Outcome::Refused { step: Step::Check, cause: "no".into() };
        let mixed = [told(&lineages[..1]), Ended::all([lineages[1].clone()], &refused)];
        assert_eq!(first_bad(&mixed.concat()), refused);
    }
}
