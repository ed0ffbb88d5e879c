//! The line to one node during a deploy or resync: one conversation, kept open over several lineages.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::deadline::Deadline;
use crate::model::names::{LineageName, NodeName};
use crate::model::outcome::Outcome;
use crate::primary::conversation::{Conversation, TalkError};
use crate::primary::fleet::Member;
use crate::primary::line::ends::{ends_of, first_bad};
use crate::primary::watcher::{Phase, Watcher};
use crate::wire::message::{Ended, Offer, Reply, Request, Version};
use crate::wire::presence::Presence;
use crate::wire::transaction_id::TransactionId;

mod ends;
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
    /// The lineages that it was opened for, to be compared.
    compares: Vec<LineageName>,
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
    Unopened(First),
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

/// What goes with the first flight.
pub enum First {
    /// What does the node have of these lineages, by their names there?
    Compare(Vec<LineageName>),
    /// What a node is known to lack, under a transaction's name.
    Offer(TransactionId, Box<Offer>),
}

/// What staging came to.
pub enum Staged {
    /// Waiting for the word.
    Waiting,
    /// What would change.
    Planned(Vec<String>),
    /// Nothing to commit.
    Ended(Outcome),
    /// Not with others: what it lacks goes alone.
    Left,
}

impl<'f> Line<'f> {
    /// A line that [`Line::open`] will open.
    pub fn new(
        own: &'f NodeName,
        member: &'f Member,
        watcher: &'f dyn Watcher,
        first: First,
        deadline: Deadline,
    ) -> Self {
        let talk = Talk::Unopened(first);
        let (compares, installed, ended) = (Vec::new(), BTreeMap::new(), Vec::new());
        Line {
            own,
            member,
            watcher,
            deadline,
            turn: deadline,
            talk,
            compares,
            mends: MENDS,
            installed,
            underway: None,
            ended,
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

    /// The lineages that wait for the word.
    pub fn waiting(&self) -> &[LineageName] {
        self.underway.as_ref().map_or(&[], |underway| &underway.lineages)
    }

    /// Tells who watches.
    pub fn reaches(&self, phase: Phase) {
        self.watcher.reaches(self.name(), phase);
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

    fn breaks(&mut self, outcome: Outcome) -> Staged {
        self.underway = None;
        self.talk = Talk::Broken(outcome.clone());
        Staged::Ended(outcome)
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
            Talk::Unopened(_) => Err(TalkError::Unexpected.outcome()),
        }
    }
}
