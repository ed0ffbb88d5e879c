//! How a node's move from one bundle to the next ended.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::escape::{escaped, escaped_up_to};

/// How much of a cause is shown and stored, in characters: with its own causes, and a remedy to paste.
const CAUSE_AT_MOST: usize = 2000;
/// How many lines of another node are shown and stored.
const LINES_AT_MOST: usize = 200;

/// What became of one lineage on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// The new bundle is installed; where the old one was served, the new one is.
    Applied {
        /// What a person may want to know: "not served here".
        notes: Vec<String>,
    },
    /// The node had this bundle already; nothing was touched.
    Unchanged,
    /// The node would not begin; nothing was changed.
    Refused {
        /// What was looked at when it refused.
        step: Step,
        /// Why.
        cause: String,
    },
    /// It began, a service did not go along, and the node is as before.
    RolledBack {
        /// What failed.
        step: Step,
        /// Why.
        cause: String,
    },
    /// The node could not be reached, or another node's failure held it back; to be done later.
    Pending {
        /// Why.
        cause: String,
    },
    /// Neither the new nor the old bundle could be made to work; both are kept.
    Stuck {
        /// What failed, first cause first.
        cause: String,
        /// What to run there.
        remedy: Vec<String>,
    },
}

/// The steps of a transaction, as messages and alerts name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// What the node's own rules allow.
    Policy,
    /// The bundle itself.
    Check,
    /// What is installed there.
    Tree,
    /// The services as they were before.
    Baseline,
    /// Writing the new files.
    Stage,
    /// The services' tests with the new bundle in a private namespace.
    PreFlight,
    /// Making the new bundle the visible one.
    Switch,
    /// The services' tests with the new bundle.
    Test,
    /// Telling the services.
    Reload,
    /// Looking at what is served.
    Probe,
    /// Undoing after a crash.
    Recovery,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::Policy => "policy",
            Step::Check => "check",
            Step::Tree => "tree",
            Step::Baseline => "baseline",
            Step::Stage => "stage",
            Step::PreFlight => "pre-flight",
            Step::Switch => "switch",
            Step::Test => "test",
            Step::Reload => "reload",
            Step::Probe => "probe",
            Step::Recovery => "recovery",
        })
    }
}

impl Outcome {
    /// The same with its texts as they may be shown and stored: escaped, and none of them large.
    #[must_use]
    pub fn harmless(self) -> Outcome {
        let text = |text: String| escaped_up_to(&text, CAUSE_AT_MOST);
        match self {
            Outcome::Applied { notes } => Outcome::Applied { notes: escaped_lines(&notes) },
            Outcome::Unchanged => Outcome::Unchanged,
            Outcome::Refused { step, cause } => Outcome::Refused { step, cause: text(cause) },
            Outcome::RolledBack { step, cause } => Outcome::RolledBack { step, cause: text(cause) },
            Outcome::Pending { cause } => Outcome::Pending { cause: text(cause) },
            Outcome::Stuck { cause, remedy } => Outcome::Stuck { cause: text(cause), remedy: escaped_lines(&remedy) },
        }
    }

    /// Whether the node now has the bundle.
    pub fn is_in_sync(&self) -> bool {
        matches!(self, Outcome::Applied { .. } | Outcome::Unchanged)
    }
}

/// Commands as one line to paste, which may be cut.
pub fn on_one_line(commands: &[String]) -> String {
    escaped_up_to(&commands.join(" ; "), CAUSE_AT_MOST)
}

/// Lines of another node, escaped; the first few hundred at most.
pub fn escaped_lines(lines: &[String]) -> Vec<String> {
    lines.iter().take(LINES_AT_MOST).map(|line| escaped(line)).collect()
}

/// One line; causes may come from another node, so they are escaped here.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Applied { notes } if notes.is_empty() => f.write_str("applied"),
            Outcome::Applied { notes } => write!(f, "applied ({})", escaped_up_to(&notes.join("; "), CAUSE_AT_MOST)),
            Outcome::Unchanged => f.write_str("unchanged"),
            Outcome::Refused { step, cause } => {
                write!(f, "refused at {step}, nothing changed: {}", escaped_up_to(cause, CAUSE_AT_MOST))
            }
            Outcome::RolledBack { step, cause } => {
                write!(f, "rolled back after {step}, as before: {}", escaped_up_to(cause, CAUSE_AT_MOST))
            }
            Outcome::Pending { cause } => write!(f, "pending: {}", escaped_up_to(cause, CAUSE_AT_MOST)),
            Outcome::Stuck { cause, remedy } => {
                write!(f, "stuck: {}; run there: {}", escaped_up_to(cause, CAUSE_AT_MOST), on_one_line(remedy))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Outcome, Step, escaped_lines};

    #[test]
    fn an_outcome_is_one_line_that_says_what_a_person_has_to_know() {
        let cause = || "no\nway".to_owned();
        for (outcome, line, in_sync) in [
            (Outcome::Applied { notes: Vec::new() }, "applied", true),
            (Outcome::Applied { notes: vec!["a".into(), "b".into()] }, "applied (a; b)", true),
            (Outcome::Unchanged, "unchanged", true),
            (
                Outcome::Refused { step: Step::PreFlight, cause: cause() },
                "refused at pre-flight, nothing changed: no\\u{a}way",
                false,
            ),
            (
                Outcome::RolledBack { step: Step::Probe, cause: cause() },
                "rolled back after probe, as before: no\\u{a}way",
                false,
            ),
            (Outcome::Pending { cause: cause() }, "pending: no\\u{a}way", false),
            (
                Outcome::Stuck { cause: cause(), remedy: vec!["x".into(), "y".into()] },
                "stuck: no\\u{a}way; run there: x ; y",
                false,
            ),
        ] {
            assert_eq!((outcome.to_string().as_str(), outcome.is_in_sync()), (line, in_sync));
            // Made harmless it says the same.
            assert_eq!(outcome.harmless().to_string(), line);
        }
    }

    #[test]
    fn lines_of_another_node_are_escaped_and_few() {
        assert_eq!(escaped_lines(&["a".into(), "\u{1b}".into()]), ["a", "\\u{1b}"]);
        assert_eq!(escaped_lines(&vec![String::new(); 201]).len(), 200);
    }
}
