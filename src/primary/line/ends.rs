//! How a transaction ended for each of its lineages, by the node's answer.

use crate::model::names::LineageName;
use crate::model::outcome::Outcome;
use crate::wire::message::{Ended, Reply};

/// How a transaction of these lineages ended for each; `None` where the answer is about anything else.
pub fn ends_of(reply: Reply, lineages: &[LineageName]) -> Option<Vec<Ended>> {
    match reply {
        Reply::ConcludedTogether { lineages: told } => {
            let names = told.iter().map(|ended| &ended.lineage);
            names.eq(lineages).then_some(told)
        }
        // All alike: it never came to it. Success is told for each.
        Reply::Concluded { outcome } if lineages.len() == 1 || !outcome.is_in_sync() => {
            Some(Ended::all(lineages.iter().cloned(), &outcome))
        }
        _ => None,
    }
}

/// The first end that is no good one; where there is none, the first.
pub fn first_bad(ended: &[Ended]) -> Outcome {
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
        assert_eq!(ends_of(of_each(&lineages), &lineages), Some(ended(applied, &lineages)));
        assert_eq!(ends_of(of_each(&lineages[..1]), &lineages), None);
        assert_eq!(ends_of(of_each(&[lineages[1].clone(), lineages[0].clone()]), &lineages), None);
        assert_eq!(ends_of(Reply::Concluded { outcome: applied() }, &lineages), None);
        assert_eq!(ends_of(Reply::Concluded { outcome: pending() }, &lineages), Some(ended(pending, &lineages)));
        assert_eq!(
            ends_of(Reply::Concluded { outcome: applied() }, &lineages[..1]),
            Some(ended(applied, &lineages[..1]))
        );
        assert_eq!(ends_of(Reply::Published { failures: Vec::new() }, &lineages), None);
        let refused = Outcome::Refused { step: Step::Check, cause: "no".into() };
        let mixed =
            [ended(applied, &lineages[..1]), vec![Ended { lineage: lineages[1].clone(), outcome: refused.clone() }]];
        assert_eq!(first_bad(&mixed.concat()), refused);
    }
}
