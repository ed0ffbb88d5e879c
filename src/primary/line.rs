//! The line to one node during a deploy or resync: one conversation, kept open over several lineages.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::deadline::Deadline;
use crate::model::names::{LineageName, NodeName};
use crate::model::outcome::Outcome;
use crate::primary::conversation::{Conversation, TalkError};
use crate::primary::fleet::Member;
use crate::wire::message::{Prepare, Reply, Request, TransactionId, Version};

/// How long a lost answer is asked for again, beyond the conversation's own deadline.
const RECALL: Duration = Duration::from_secs(20);

/// One node's line. When it broke, every lineage that follows is pending for the same reason.
pub struct Line<'f> {
    own: &'f NodeName,
    member: &'f Member,
    deadline: Deadline,
    talk: Result<Conversation, Outcome>,
    installed: BTreeMap<LineageName, Option<Version>>,
    underway: Option<TransactionId>,
    /// Whether the node has answered to the bundle that is under way.
    is_staged: bool,
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
    /// Opens a line and asks in the same flight what of these lineages (by their names there) the node has.
    pub fn open_comparing(
        own: &'f NodeName,
        member: &'f Member,
        lineages: Vec<LineageName>,
        deadline: Deadline,
    ) -> Self {
        let mut line = Line::open(own, member, &[Request::Compare { lineages }], deadline);
        match line.receive() {
            Ok(Reply::Compared { lineages }) => {
                line.installed = lineages.into_iter().map(|entry| (entry.lineage, entry.version)).collect();
            }
            Ok(_) => line.talk = Err(TalkError::Unexpected.outcome()),
            Err(outcome) => line.talk = Err(outcome),
        }
        line
    }

    /// Opens a line with a bundle in the first flight: for a node that is known to lack it.
    pub fn open_preparing(own: &'f NodeName, member: &'f Member, prepare: Prepare, deadline: Deadline) -> Self {
        let underway = prepare.transaction.clone();
        let line = Line::open(own, member, &[Request::Prepare(Box::new(prepare))], deadline);
        Line { underway: Some(underway), ..line }
    }

    fn open(own: &'f NodeName, member: &'f Member, first: &[Request], deadline: Deadline) -> Self {
        let talk = Conversation::open(own, member, first, deadline).map_err(|error| error.outcome());
        Line { own, member, deadline, talk, installed: BTreeMap::new(), underway: None, is_staged: false }
    }

    /// The node's name.
    pub fn name(&self) -> &NodeName {
        &self.member.name
    }

    /// The node.
    pub fn member(&self) -> &Member {
        self.member
    }

    /// Why there is no conversation, if there is none.
    pub fn failure(&self) -> Option<&Outcome> {
        self.talk.as_ref().err()
    }

    /// Whether the node said that it has exactly this.
    pub fn has(&self, lineage: &LineageName, version: &Version) -> bool {
        self.installed.get(lineage).is_some_and(|installed| installed.as_ref() == Some(version))
    }

    /// What the node said it has, if it was asked and has a whole version.
    pub fn installed(&self, lineage: &LineageName) -> Option<&Version> {
        self.installed.get(lineage)?.as_ref()
    }

    /// Stages a bundle, unless it went with the first flight; then only the answer is awaited.
    pub fn stage(&mut self, prepare: impl FnOnce(&Self) -> Prepare) -> Staged {
        if self.underway.is_none() {
            let prepare = prepare(self);
            self.underway = Some(prepare.transaction.clone());
            let sent = match &mut self.talk {
                Ok(talk) => talk.send(&Request::Prepare(Box::new(prepare))).map_err(|error| error.outcome()),
                Err(outcome) => Err(outcome.clone()),
            };
            if let Err(outcome) = sent {
                return self.ended(outcome);
            }
        }
        self.await_staging()
    }

    fn await_staging(&mut self) -> Staged {
        match self.receive() {
            Ok(Reply::Prepared { .. }) => {
                self.is_staged = true;
                Staged::Waiting
            }
            Ok(Reply::Planned { changes }) => {
                self.underway = None;
                Staged::Planned(changes)
            }
            Ok(Reply::Concluded { outcome }) => {
                self.underway = None;
                Staged::Ended(outcome)
            }
            Ok(_) => self.ended(TalkError::Unexpected.outcome()),
            Err(outcome) => self.ended(outcome),
        }
    }

    /// Says the word. When the answer is lost, asks for it again on a new line: the node finishes alone.
    pub fn commit(&mut self) -> Outcome {
        let Some(transaction) = self.take_underway() else { return TalkError::Unexpected.outcome() };
        match self.conclude(&Request::Commit { transaction: transaction.clone() }) {
            Ok(outcome) => outcome,
            Err(lost) => {
                let deadline = Deadline::after(RECALL.max(self.deadline.left()));
                let recalled = self.recall(transaction, deadline).unwrap_or(lost);
                self.talk = Err(Outcome::Pending { cause: "the conversation broke".into() });
                recalled
            }
        }
    }

    /// Has what was staged removed. A node that would not have staged it says so itself.
    pub fn abort(&mut self, why: &str) -> Outcome {
        // A bundle of the first flight: its answer comes before that to anything else.
        if self.underway.is_some()
            && !self.is_staged
            && let Staged::Ended(outcome) = self.await_staging()
        {
            return outcome;
        }
        let told = self.take_underway().map(|transaction| self.conclude(&Request::Abort { transaction }));
        if let Some(Err(outcome)) = told {
            // The node sees the line end and removes it alone.
            self.talk = Err(outcome);
        }
        Outcome::Pending { cause: why.to_owned() }
    }

    fn take_underway(&mut self) -> Option<TransactionId> {
        self.is_staged = false;
        self.underway.take()
    }

    fn ended(&mut self, outcome: Outcome) -> Staged {
        self.underway = None;
        self.talk = Err(outcome.clone());
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
        match &mut self.talk {
            Err(outcome) => Err(outcome.clone()),
            Ok(talk) => match talk.ask(request) {
                Ok(Reply::Concluded { outcome }) => Ok(outcome),
                Ok(_) => Err(TalkError::Unexpected.outcome()),
                Err(error) => Err(error.outcome()),
            },
        }
    }

    fn receive(&mut self) -> Result<Reply, Outcome> {
        match &mut self.talk {
            Ok(talk) => talk.receive().map_err(|error| error.outcome()),
            Err(outcome) => Err(outcome.clone()),
        }
    }
}
