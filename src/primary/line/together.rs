//! Several lineages as one transaction on a node's line.

use crate::model::names::LineageName;
use crate::model::outcome::Outcome;
use crate::primary::conversation::TalkError;
use crate::primary::line::{Line, Staged, Underway};
use crate::primary::watcher::Phase;
use crate::wire::message::{Ended, Prepare, Reply, Request};

/// The protocol's first version with transactions of several lineages.
const TOGETHER_SINCE: u32 = 2;

impl Line<'_> {
    /// Stages bundles of several lineages, all under one transaction's name, but for those that the node said it has. One
    /// that is lacking alone is left, and so are all for a node whose release takes one after another.
    pub fn stage_together(&mut self, bundles: Vec<Prepare>) -> Staged {
        self.open();
        self.reaches(Phase::Staging);
        let (there, bundles): (Vec<_>, Vec<_>) = bundles.into_iter().partition(|bundle| self.has(bundle));
        let ended = there.into_iter().map(|bundle| Ended { lineage: bundle.lineage, outcome: Outcome::Unchanged });
        self.ended = ended.collect();
        let Some(transaction) = bundles.first().map(|bundle| bundle.transaction.clone()) else {
            return Staged::Ended(Outcome::Unchanged);
        };
        let lineages: Vec<_> = bundles.iter().map(|bundle| bundle.lineage.clone()).collect();
        let talk = match self.talk() {
            Ok(talk) => talk,
            Err(outcome) => return Staged::Ended(outcome),
        };
        if talk.protocol() < TOGETHER_SINCE || bundles.len() == 1 {
            return Staged::Left;
        }
        let answer = talk.ask(&Request::PrepareTogether { transaction: transaction.clone(), bundles });
        let apart = match answer {
            Ok(Reply::PreparedTogether { transaction: its, apart }) if its == transaction => apart,
            Ok(_) => return self.breaks(TalkError::Unexpected.outcome()),
            Err(error) => return self.breaks(error.outcome()),
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
        self.underway = Some(Underway { transaction, lineages: waiting });
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
