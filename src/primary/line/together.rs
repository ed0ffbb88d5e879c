//! Several lineages as one transaction on a node's line.

use crate::model::names::LineageName;
use crate::model::outcome::Outcome;
use crate::primary::conversation::TalkError;
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
    /// On the own node one goes alone all the same: the peers may lack more, which waits for it.
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

    /// Waits for the answer to what was sent.
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

/// How a transaction of these lineages ended for each; `None` where the answer is about anything else.
pub(super) fn told(reply: Reply, lineages: &[LineageName]) -> Option<Vec<Ended>> {
    match reply {
        Reply::ConcludedTogether { lineages: told } => {
            let names = told.iter().map(|ended| &ended.lineage);
            names.eq(lineages).then_some(told)
        }
        // All alike: it never came to it. Success is told for each.
        Reply::Concluded { outcome } if lineages.len() == 1 || !outcome.is_in_sync() => {
            let all = lineages.iter().map(|lineage| Ended { lineage: lineage.clone(), outcome: outcome.clone() });
            Some(all.collect())
        }
        _ => None,
    }
}

/// The first end that is no good one; where there is none, the first.
pub(super) fn first_bad(ended: &[Ended]) -> Outcome {
    let bad = ended.iter().find(|ended| !ended.outcome.is_in_sync());
    bad.or(ended.first()).map_or(Outcome::Unchanged, |ended| ended.outcome.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::outcome::Step;

    #[test]
    fn an_answer_counts_for_the_lineages_it_is_about_and_success_only_where_it_is_told_of_each() {
        let lineages: Vec<LineageName> = ["a", "b"].map(|name| name.parse().unwrap()).into();
        let applied = || Outcome::Applied { notes: Vec::new() };
        let pending = || Outcome::Pending { cause: "gone".into() };
        let ended = |outcome: fn() -> Outcome, names: &[LineageName]| {
            names.iter().map(|name| Ended { lineage: name.clone(), outcome: outcome() }).collect::<Vec<_>>()
        };
        let of_each = |names: &[LineageName]| Reply::ConcludedTogether { lineages: ended(applied, names) };
        assert_eq!(told(of_each(&lineages), &lineages), Some(ended(applied, &lineages)));
        assert_eq!(told(of_each(&lineages[..1]), &lineages), None);
        assert_eq!(told(of_each(&[lineages[1].clone(), lineages[0].clone()]), &lineages), None);
        assert_eq!(told(Reply::Concluded { outcome: applied() }, &lineages), None);
        assert_eq!(told(Reply::Concluded { outcome: pending() }, &lineages), Some(ended(pending, &lineages)));
        assert_eq!(told(Reply::Concluded { outcome: applied() }, &lineages[..1]), Some(ended(applied, &lineages[..1])));
        assert_eq!(told(Reply::Published { failures: Vec::new() }, &lineages), None);
        let refused = Outcome::Refused { step: Step::Check, cause: "no".into() };
        let mixed =
            [ended(applied, &lineages[..1]), vec![Ended { lineage: lineages[1].clone(), outcome: refused.clone() }]];
        assert_eq!(first_bad(&mixed.concat()), refused);
    }
}
