//! Several lineages as one transaction on a node's line.

use crate::model::names::LineageName;
use crate::model::outcome::Outcome;
use crate::primary::conversation::TalkError;
use crate::primary::line::ends::first_bad;
use crate::primary::line::{Line, Staged, Underway};
use crate::primary::watcher::Phase;
use crate::wire::message::{Ended, Prepare, Reply, Request};
use crate::wire::transaction_id::TransactionId;

/// The protocol's first version with transactions of several lineages.
const TOGETHER_SINCE: u32 = 2;

impl Line<'_> {
    /// Sends bundles of several lineages under one transaction's name; `there` are those that the node has already. The
    /// answer is awaited by [`Line::await_together`], unless this is all.
    ///
    /// One that would go alone is left, lest it fail twice, and so are all for a node whose release takes one after another.
    pub fn send_together(
        &mut self,
        transaction: TransactionId,
        there: Vec<LineageName>,
        bundles: Vec<Prepare>,
    ) -> Option<Staged> {
        self.reaches(Phase::Staging);
        self.ended = there.into_iter().map(|lineage| Ended { lineage, outcome: Outcome::Unchanged }).collect();
        let budget_ms = u64::try_from(self.turn.left().as_millis()).unwrap_or(u64::MAX);
        let talk = match self.talk() {
            Ok(_) if bundles.is_empty() => return Some(Staged::Ended(Outcome::Unchanged)),
            Ok(talk) if talk.protocol() < TOGETHER_SINCE || bundles.len() == 1 => return Some(Staged::Left),
            Ok(talk) => talk,
            Err(outcome) => return Some(Staged::Ended(outcome)),
        };
        let lineages = bundles.iter().map(|bundle| bundle.lineage.clone()).collect();
        let request = Request::PrepareTogether { transaction: transaction.clone(), budget_ms, bundles };
        if let Err(error) = talk.send(&request) {
            return Some(self.breaks(error.outcome()));
        }
        self.underway = Some(Underway { transaction, lineages });
        None
    }

    /// Waits for the answer to what was sent. On the own node a single one stays in it: the peers may lack more, which waits
    /// for it.
    pub fn await_together(&mut self) -> Staged {
        let answer = self.receive();
        let Some(Underway { transaction, lineages }) = self.underway.take() else {
            return self.breaks(TalkError::Unexpected.outcome());
        };
        let apart = match answer {
            Ok(Reply::PreparedTogether { transaction: its, apart }) if its == transaction => apart,
            Ok(_) => return self.breaks(TalkError::Unexpected.outcome()),
            Err(outcome) => return self.breaks(outcome),
        };
        // Without our word nothing can have been switched, and of what was not asked nothing is believed.
        let is_fit =
            |ended: &Ended| lineages.contains(&ended.lineage) && !matches!(ended.outcome, Outcome::Applied { .. });
        if !apart.iter().all(is_fit) {
            return self.breaks(TalkError::Unexpected.outcome());
        }
        let is_apart = |lineage: &LineageName| apart.iter().any(|ended| ended.lineage == *lineage);
        let waiting: Vec<_> = lineages.into_iter().filter(|lineage| !is_apart(lineage)).collect();
        let outcome = first_bad(&apart);
        self.ended.extend(apart);
        if waiting.is_empty() {
            return Staged::Ended(outcome);
        }
        let is_alone = waiting.len() == 1 && !self.member.is_own();
        self.underway = Some(Underway { transaction, lineages: waiting });
        if is_alone {
            self.forget();
            return Staged::Left;
        }
        self.reaches(Phase::Staged);
        Staged::Waiting
    }

    /// How it ended for those lineages of which the node said it, as far as it is known by now.
    pub fn ended(&self) -> &[Ended] {
        &self.ended
    }

    /// How it ended for those lineages of which the node said it.
    pub fn take_ended(&mut self) -> Vec<Ended> {
        std::mem::take(&mut self.ended)
    }
}
