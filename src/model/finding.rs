//! What `doctor` finds: something that is wrong, why it matters, and the command that mends it.

use serde::{Deserialize, Serialize};

use crate::model::escape::escaped_up_to;

/// What was found on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, with the path, name or address.
    pub what: String,
    /// Why it matters.
    pub why: String,
    /// What mends it: a command to be run on that node where it names no other.
    pub remedy: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// A renewal fails by it, or visitors see it.
    Error,
    /// It will do harm, or it is most likely not meant.
    Warning,
}

/// A cause may have been put together of several; a screenful is enough.
const CHARACTERS_AT_MOST: usize = 1600;
/// Of one node a person reads no more.
const FINDINGS_AT_MOST: usize = 200;

impl Finding {
    /// By it a renewal fails, or visitors see it.
    pub fn error(what: impl Into<String>, why: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { severity: Severity::Error, what: what.into(), why: why.into(), remedy: remedy.into() }
    }

    /// It will do harm, or is most likely not meant.
    pub fn warning(what: impl Into<String>, why: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { severity: Severity::Warning, ..Finding::error(what, why, remedy) }
    }

    /// Another node's findings as they may be shown.
    pub fn harmless(all: Vec<Finding>) -> Vec<Finding> {
        let fit = |text: String| escaped_up_to(&text, CHARACTERS_AT_MOST);
        let one = |Finding { severity, what, why, remedy }| Finding {
            severity,
            what: fit(what),
            why: fit(why),
            remedy: fit(remedy),
        };
        all.into_iter().take(FINDINGS_AT_MOST).map(one).collect()
    }
}
