//! The line to one node during a deploy or resync: one conversation, kept open over several lineages.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::deadline::Deadline;
use crate::model::names::{LineageName, NodeName};
use crate::model::outcome::Outcome;
use crate::primary::conversation::{Conversation, TalkError};
use crate::primary::fleet::Member;
use crate::primary::watcher::{Phase, Watcher};
use crate::wire::message::{Prepare, Reply, Request, TransactionId, Version};
use crate::wire::presence::Presence;

/// How long a lost answer is asked for again, beyond the conversation's own deadline.
const RECALL: Duration = Duration::from_secs(20);

/// One node's line. When it broke, every lineage that follows is pending for the same reason.
pub struct Line<'f> {
    own: &'f NodeName,
    member: &'f Member,
    watcher: &'f dyn Watcher,
    deadline: Deadline,
    /// When what is said of the present lineage is waited for no longer.
    turn: Deadline,
    talk: Talk,
    installed: BTreeMap<LineageName, Presence>,
    underway: Option<TransactionId>,
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
    /// A bundle, for a node that is known to lack it.
    Prepare(Box<Prepare>),
}

/// What staging came to.
pub enum Staged {
    /// Waiting for the word.
    Waiting,
    /// What would change.
    Planned(Vec<String>),
    /// Nothing to commit.
    Ended(Outcome),
}

impl<'f> Line<'f> {
    /// A line that [`Line::open`] or staging will open.
    pub fn new(
        own: &'f NodeName,
        member: &'f Member,
        watcher: &'f dyn Watcher,
        first: First,
        deadline: Deadline,
    ) -> Self {
        let talk = Talk::Unopened(first);
        Line { own, member, watcher, deadline, turn: deadline, talk, installed: BTreeMap::new(), underway: None }
    }

    /// Waits until then for what comes next: a node that says no more must not use up other lineages' time.
    pub fn until(&mut self, turn: Deadline) {
        self.turn = turn;
        if let Talk::Open(talk) = &mut self.talk {
            talk.until(turn);
        }
    }

    /// Opens it, unless that was tried before.
    pub fn open(&mut self) {
        let Talk::Unopened(first) = &mut self.talk else { return };
        let first = match std::mem::replace(first, First::Compare(Vec::new())) {
            First::Compare(lineages) => Request::Compare { lineages },
            First::Prepare(prepare) => {
                self.underway = Some(prepare.transaction.clone());
                Request::Prepare(prepare)
            }
        };
        let opened = Conversation::open_for_a_turn(
            self.own,
            self.member,
            std::slice::from_ref(&first),
            self.deadline,
            self.turn,
        );
        self.talk = match opened {
            Ok(talk) => Talk::Open(talk),
            Err(error) => Talk::Broken(error.outcome()),
        };
        if let Request::Compare { .. } = first {
            match self.receive() {
                Ok(Reply::Compared { lineages }) => {
                    self.installed = lineages.into_iter().map(|entry| (entry.lineage, entry.presence)).collect();
                }
                Ok(_) => self.talk = Talk::Broken(TalkError::Unexpected.outcome()),
                Err(outcome) => self.talk = Talk::Broken(outcome),
            }
        }
    }

    /// The node's name.
    pub fn name(&self) -> &NodeName {
        &self.member.name
    }

    /// The node.
    pub fn member(&self) -> &Member {
        self.member
    }

    /// Tells who watches.
    pub fn reaches(&self, phase: Phase) {
        self.watcher.reaches(self.name(), phase);
    }

    /// Stages a bundle, unless it went with the first flight; then only the answer is awaited. Nothing travels to a
    /// node that said it has just this.
    pub fn stage(&mut self, prepare: impl FnOnce() -> Prepare) -> Staged {
        self.open();
        self.reaches(Phase::Staging);
        if self.underway.is_none() {
            let prepare = prepare();
            let version = Version { number: prepare.number, digest: prepare.files.digest() };
            if self.installed.get(&prepare.lineage).and_then(Presence::version) == Some(version) {
                return Staged::Ended(Outcome::Unchanged);
            }
            self.underway = Some(prepare.transaction.clone());
            let request = Request::Prepare(Box::new(prepare));
            let sent = self.talk().and_then(|talk| talk.send(&request).map_err(|error| error.outcome()));
            if let Err(outcome) = sent {
                return self.ended(outcome);
            }
        }
        self.await_staging()
    }

    fn await_staging(&mut self) -> Staged {
        match self.receive() {
            Ok(Reply::Prepared { transaction }) if self.underway.as_ref() == Some(&transaction) => {
                self.reaches(Phase::Staged);
                Staged::Waiting
            }
            Ok(Reply::Planned { changes }) => {
                self.underway = None;
                Staged::Planned(changes)
            }
            // Without our word nothing can have been switched: a node that says so is not believed.
            Ok(Reply::Concluded { outcome }) if !matches!(outcome, Outcome::Applied { .. }) => {
                self.underway = None;
                Staged::Ended(outcome)
            }
            Ok(_) => self.ended(TalkError::Unexpected.outcome()),
            Err(outcome) => self.ended(outcome),
        }
    }

    /// Says the word. When the answer is lost, asks for it again on a new line: the node finishes alone.
    pub fn commit(&mut self, patience: Patience) -> Outcome {
        self.reaches(Phase::Switching);
        let Some(transaction) = self.underway.take() else { return TalkError::Unexpected.outcome() };
        let (whole, half) = (self.turn, self.turn.at_most(self.turn.left() / 2));
        if let (Talk::Open(talk), Patience::Half) = (&mut self.talk, patience) {
            talk.until(half);
        }
        match self.conclude(&Request::Commit { transaction: transaction.clone() }) {
            Ok(outcome) => {
                if let Talk::Open(talk) = &mut self.talk {
                    talk.until(whole);
                }
                outcome
            }
            Err(lost) => {
                // The old line goes first, lest it be what the node waits for.
                self.talk = Talk::Broken(lost.clone());
                let deadline = Deadline::after(match patience {
                    Patience::Whole => RECALL.max(whole.left()),
                    Patience::Half => RECALL.min(whole.left() / 2),
                });
                let recalled = self.recall(transaction, deadline).unwrap_or(lost);
                self.talk =
                    Talk::Broken(Outcome::Pending { cause: "the conversation broke over an earlier lineage".into() });
                recalled
            }
        }
    }

    /// Has what was staged removed.
    pub fn abort(&mut self, why: &str) -> Outcome {
        let told = self.underway.take().map(|transaction| self.conclude(&Request::Abort { transaction }));
        if let Some(Err(outcome)) = told {
            // The node sees the line end and removes it alone.
            self.talk = Talk::Broken(outcome);
        }
        Outcome::Pending { cause: why.to_owned() }
    }

    fn ended(&mut self, outcome: Outcome) -> Staged {
        self.underway = None;
        self.talk = Talk::Broken(outcome.clone());
        Staged::Ended(outcome)
    }

    fn recall(&self, transaction: TransactionId, deadline: Deadline) -> Option<Outcome> {
        let mut talk = Conversation::open(self.own, self.member, &[Request::Recall { transaction }], deadline).ok()?;
        match talk.receive() {
            Ok(Reply::Concluded { outcome }) => Some(outcome),
            _ => None,
        }
    }

    fn conclude(&mut self, request: &Request) -> Result<Outcome, Outcome> {
        match self.talk()?.ask(request) {
            Ok(Reply::Concluded { outcome }) => Ok(outcome),
            Ok(_) => Err(TalkError::Unexpected.outcome()),
            Err(error) => Err(error.outcome()),
        }
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
