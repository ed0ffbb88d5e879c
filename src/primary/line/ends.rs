//! How a transaction ended for each of its lineages, by the node's answer.

use crate::model::names::LineageName;
use crate::model::outcome::Outcome;
use crate::wire::message::{Ended, Reply};

/// How a transaction of these lineages ended for each; `None` where the answer is about anything else.
pub fn ends_of(reply: Reply, lineages: &[LineageName]) -> Option<Vec<Ended>> {
    match reply {
        Reply::Concluded { lineages: told } if told.iter().map(|ended| &ended.lineage).eq(lineages) => Some(told),
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
