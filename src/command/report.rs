//! What commands print. A reader that is gone is no failure.

use std::io::{self, Write};

use crate::model::escape::escaped;
use crate::model::exit_code::ExitCode;
use crate::model::names::LineageName;
use crate::model::outcome::Outcome;
use crate::model::pasteable::pasteable;
use crate::primary::delivery::{Courier, Delivery};

/// One line on standard output.
pub fn line(text: &str) {
    _ = writeln!(io::stdout(), "{text}");
}

/// One line on standard error.
pub fn complain(text: &str) {
    tracing::error!("{text}");
    _ = writeln!(io::stderr(), "certcast: {text}");
}

/// One line on standard error about what is no failure.
pub fn warn(text: &str) {
    tracing::warn!("{text}");
    _ = writeln!(io::stderr(), "certcast: {text}");
}

/// Says that the peers do not get a lineage under a name that another one has there.
pub fn warn_of_rival(courier: &Courier<'_>, lineage: &LineageName) {
    if let Some(other) = courier.superseded_by(lineage) {
        warn(&format!(
            "{lineage} is not sent: deploy.rename sends {other} under this name; \
             `{}` ends this, or remove the rename",
            pasteable(&["certbot", "delete", "--cert-name", lineage.as_str()])
        ));
    }
}

/// Several lines on standard error, but no flood; all of them are in the log.
pub fn complain_of(texts: &[String], at_most: usize) {
    let (shown, rest) = texts.split_at(texts.len().min(at_most));
    for text in shown {
        complain(text);
    }
    for text in rest {
        tracing::error!("{text}");
    }
    if !rest.is_empty() {
        complain(&format!("{} more such lines are in the log", rest.len()));
    }
}

/// The exit code of a run; `unfit` when some lineage was not fit to be sent.
///
/// What a script may conclude: 3 says that something is in line, 4 that nothing was delivered at all.
pub fn exit_code(deliveries: &[Delivery], unfit: bool) -> ExitCode {
    let is_stuck = |delivery: &Delivery| matches!(delivery.outcome, Some(Outcome::Stuck { .. }));
    if deliveries.iter().any(is_stuck) {
        ExitCode::Stuck
    } else if deliveries.is_empty() {
        if unfit { ExitCode::Refused } else { ExitCode::Done }
    } else if !deliveries.iter().any(Delivery::is_well) {
        ExitCode::Failed
    } else if unfit || !deliveries.iter().all(Delivery::is_well) {
        ExitCode::Partly
    } else {
        ExitCode::Done
    }
}

/// The lines of one delivery; none where nothing was to be done.
pub fn lines(delivery: &Delivery) -> Vec<String> {
    let head = format!("{}  {}", delivery.node, delivery.lineage);
    match &delivery.outcome {
        Some(Outcome::Unchanged) => Vec::new(),
        Some(outcome) => vec![format!("{head}  {outcome}")],
        None => delivery.changes.iter().map(|change| format!("{head}  would {}", escaped(change))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::outcome::Step;

    fn delivery(outcome: Outcome) -> Delivery {
        let (node, lineage) = ("web2".parse().unwrap(), "www".parse().unwrap());
        Delivery { node, lineage, outcome: Some(outcome), is_held_back: false, changes: Vec::new() }
    }

    #[test]
    fn partly_needs_a_node_in_line_and_refused_means_that_nothing_was_delivered() {
        let done = || delivery(Outcome::Unchanged);
        let refused = || delivery(Outcome::Refused { step: Step::Baseline, cause: "no".into() });
        let stuck = || delivery(Outcome::Stuck { cause: "no".into(), remedy: Vec::new() });
        assert_eq!(exit_code(&[], false), ExitCode::Done);
        assert_eq!(exit_code(&[], true), ExitCode::Refused);
        assert_eq!(exit_code(&[done()], false), ExitCode::Done);
        assert_eq!(exit_code(&[done()], true), ExitCode::Partly);
        assert_eq!(exit_code(&[done(), refused()], false), ExitCode::Partly);
        assert_eq!(exit_code(&[refused()], false), ExitCode::Failed);
        assert_eq!(exit_code(&[done(), stuck(), refused()], true), ExitCode::Stuck);
    }
}
