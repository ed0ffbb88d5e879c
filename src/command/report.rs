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
pub fn exit_code(deliveries: &[Delivery], unfit: bool) -> ExitCode {
    if deliveries.iter().any(|delivery| matches!(delivery.outcome, Some(Outcome::Stuck { .. }))) {
        return ExitCode::Stuck;
    }
    ExitCode::of(deliveries.len(), deliveries.iter().filter(|delivery| delivery.is_well()).count(), unfit)
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

    #[test]
    fn a_run_counts_what_is_in_line_and_a_stuck_node_outweighs_it() {
        let delivery = |outcome| {
            let (node, lineage) = ("web2".parse().unwrap(), "www".parse().unwrap());
            Delivery { node, lineage, outcome: Some(outcome), is_held_back: false, changes: Vec::new() }
        };
        let refused = || delivery(Outcome::Refused { step: Step::Baseline, cause: "no".into() });
        let stuck = delivery(Outcome::Stuck { cause: "no".into(), remedy: Vec::new() });
        assert_eq!(exit_code(&[delivery(Outcome::Unchanged), refused()], false), ExitCode::Partly);
        assert_eq!(exit_code(&[delivery(Outcome::Unchanged), stuck, refused()], true), ExitCode::Stuck);
    }
}
