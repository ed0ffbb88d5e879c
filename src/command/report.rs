//! What commands print. A reader that is gone is no failure.

use std::io::{self, Write};

use crate::model::escape::escaped;
use crate::model::exit_code::ExitCode;
use crate::model::outcome::Outcome;
use crate::primary::delivery::Delivery;

/// One line on standard output.
pub fn line(text: &str) {
    _ = writeln!(io::stdout(), "{text}");
}

/// One line on standard error.
pub fn complain(text: &str) {
    tracing::error!("{text}");
    _ = writeln!(io::stderr(), "certcast: {text}");
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

/// The exit code of a run: that of its worst outcome.
pub fn exit_code(deliveries: &[Delivery]) -> ExitCode {
    let codes = deliveries.iter().filter_map(|delivery| delivery.outcome.as_ref()).map(Outcome::exit_code);
    codes.max().unwrap_or(ExitCode::Done)
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
