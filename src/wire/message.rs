//! The messages: one enum for each direction. Unknown fields are ignored, unknown verbs refused.

use serde::{Deserialize, Serialize};

use crate::model::bundle::{Number, PemFiles};
use crate::model::challenge::{Challenge, Token};
use crate::model::digest::Digest;
use crate::model::finding::Finding;
use crate::model::names::{Identifier, LineageName, NodeName};
use crate::model::outcome::Outcome;
use crate::wire::presence::Presence;
use crate::wire::survey::Survey;
use crate::wire::transaction_id::TransactionId;

/// The most challenges in one message; Let's Encrypt allows 100 names in one certificate, other CAs more.
pub const CHALLENGES_AT_MOST: usize = 1000;
/// The most lineages that one message asks about.
pub const LINEAGES_AT_MOST: usize = 2000;

/// The most lineages in one transaction.
pub const TOGETHER_AT_MOST: usize = 50;

/// What the primary asks of a peer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case")]
pub enum Request {
    /// First of all: who asks, and how long the whole conversation may take.
    Hello {
        /// The asking program's version.
        version: String,
        /// The asking node, for the peer's log only: it proves nothing.
        node: NodeName,
        /// Milliseconds after which the peer gives up waiting and undoes what is not committed.
        budget_ms: u64,
    },
    /// Serve these challenges.
    Publish {
        /// At most [`CHALLENGES_AT_MOST`].
        challenges: Vec<Challenge>,
    },
    /// Serve these no longer.
    Withdraw {
        /// At most [`CHALLENGES_AT_MOST`].
        challenges: Vec<Withdrawal>,
    },
    /// What of these is installed?
    Compare {
        /// At most [`LINEAGES_AT_MOST`].
        lineages: Vec<LineageName>,
    },
    /// What is installed and served of these, for a person?
    Survey {
        /// At most [`LINEAGES_AT_MOST`].
        lineages: Vec<LineageName>,
    },
    /// What is wrong on the node, or will be?
    Examine {
        /// Of what the primary sends there, that which is asked about. At most [`LINEAGES_AT_MOST`].
        lineages: Vec<LineageName>,
        /// All that the primary sends there. At most [`LINEAGES_AT_MOST`].
        sent: Vec<LineageName>,
    },
    /// Stage these, each of another lineage, to be committed as one.
    Prepare {
        /// Chosen by the primary.
        transaction: TransactionId,
        /// Milliseconds after which the answer is waited for no longer.
        budget_ms: u64,
        /// At most [`TOGETHER_AT_MOST`]; of a dry run one.
        offers: Vec<Offer>,
    },
    /// Make what was staged the visible one.
    Commit {
        /// The prepared one.
        transaction: TransactionId,
    },
    /// Forget what was staged.
    Abort {
        /// The prepared one.
        transaction: TransactionId,
    },
    /// How did this one end? Asked after a conversation that broke past `Commit`.
    Recall {
        /// The one in question.
        transaction: TransactionId,
        /// Those of it that are asked about. At most [`TOGETHER_AT_MOST`].
        lineages: Vec<LineageName>,
    },
}

/// What a peer answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Reply {
    /// To `Hello`.
    Hello {
        /// The peer's program version.
        version: String,
        /// The peer's own name.
        node: NodeName,
        /// Seconds since 1970 by the peer's clock.
        clock: i64,
    },
    /// To `Publish`: what could not be written.
    Published {
        /// Empty when all is well.
        failures: Vec<TokenFailure>,
    },
    /// To `Withdraw`: what could not be removed.
    Withdrawn {
        /// Empty when all is well.
        failures: Vec<TokenFailure>,
    },
    /// To `Compare`, in its order.
    Compared {
        /// One for each name asked.
        lineages: Vec<Installed>,
    },
    /// To `Survey`, in its order.
    Surveyed {
        /// One for each name asked that is the caller's.
        lineages: Vec<Survey>,
    },
    /// To `Examine`.
    Examined {
        /// Empty when all is well.
        findings: Vec<Finding>,
    },
    /// To `Prepare`: all but those apart are staged and pre-flighted, waiting for `Commit`.
    Prepared {
        /// The prepared one.
        transaction: TransactionId,
        /// Those that are no part of it. When these are all, nothing waits.
        apart: Vec<Ended>,
    },
    /// To `Prepare` of a dry run, unless its lineage is apart: what would change.
    Planned {
        /// One line a file or command.
        changes: Vec<String>,
    },
    /// To `Commit`, `Abort` and `Recall`.
    Concluded {
        /// Each lineage that was committed, removed or asked about, in the order asked.
        lineages: Vec<Ended>,
    },
    /// To anything: not understood or not allowed. The conversation ends.
    Rejected {
        /// Why.
        cause: String,
    },
}

/// A challenge to take away.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Withdrawal {
    /// Whose webroot.
    pub name: Identifier,
    /// Which file.
    pub token: Token,
}

impl Withdrawal {
    /// The one that takes this challenge away.
    pub fn of(challenge: &Challenge) -> Self {
        Withdrawal { name: challenge.name().clone(), token: challenge.token().clone() }
    }
}

/// A challenge that a peer could not write or remove.
#[derive(Debug, Serialize, Deserialize)]
pub struct TokenFailure {
    /// Whose webroot.
    pub name: Identifier,
    /// Why, with the path.
    pub cause: String,
}

/// How a transaction ended for one of its lineages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Which.
    pub lineage: LineageName,
    /// How.
    pub outcome: Outcome,
}

impl Ended {
    /// The same end for each.
    pub fn all(lineages: impl IntoIterator<Item = LineageName>, outcome: &Outcome) -> Vec<Ended> {
        lineages.into_iter().map(|lineage| Ended { lineage, outcome: outcome.clone() }).collect()
    }
}

/// What a peer has of one lineage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// Which.
    pub lineage: LineageName,
    /// What is there.
    pub presence: Presence,
}

/// One version of a lineage, by number and content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// certbot's number.
    pub number: Number,
    /// The digest over its four files.
    pub digest: Digest,
}

/// A lineage's bundle, and how it is to be installed.
#[derive(Debug, Serialize, Deserialize)]
pub struct Offer {
    /// Its name on the peer.
    pub lineage: LineageName,
    /// certbot's number, kept.
    pub number: Number,
    /// The four files.
    pub files: PemFiles,
    /// Owners and modes on the primary.
    pub attributes: TreeAttributes,
    /// The numbers the primary still has; the peer prunes others.
    pub keep: Vec<Number>,
    /// Refuse when a name of the installed certificate is missing in the new one.
    pub refuse_missing_names: bool,
    /// What the person asked for beside.
    pub wishes: Wishes,
}

/// What a person may ask of `resync`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wishes {
    /// Take a step back (an older certificate, one for other names, one that nobody trusts), where the peer's own rules allow it.
    pub force: bool,
    /// Take over a hand-made `live/NAME` after a backup.
    pub adopt: bool,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// Owner, group and mode, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ownership {
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// The permission bits.
    pub mode: u32,
}

/// How the primary's tree looks; a peer mirrors it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeAttributes {
    /// The lineage's two directories.
    pub directory: Ownership,
    /// The private key.
    pub key: Ownership,
    /// The three other files.
    pub public: Ownership,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_are_ignored_and_unknown_verbs_refused() {
        let request = r#"{"verb":"compare","lineages":["a.example"],"from":"the future"}"#;
        assert!(matches!(serde_json::from_str(request), Ok(Request::Compare { .. })));
        for bad in [r#"{"verb":"shell"}"#, r#"{"verb":"compare","lineages":["../../etc"]}"#, "{}", "[]", r#""compare""#]
        {
            assert!(serde_json::from_str::<Request>(bad).is_err(), "{bad}");
        }
    }
}
