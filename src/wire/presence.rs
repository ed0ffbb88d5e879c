//! Whether a node has a lineage: it says so in as many words, since "nothing to be seen" may mean several things.

use serde::{Deserialize, Serialize};

use crate::model::escape::escaped;
use crate::wire::message::Version;

/// What a node has of a lineage. Only `Gone` says that there is nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Presence {
    /// Something is there.
    Here {
        /// The version that `live/NAME` names; none when it is not whole, or a transaction has not ended.
        version: Option<Version>,
    },
    /// Nothing is there: neither a tree nor a key.
    Gone,
    /// The node cannot say, or does not to this caller.
    Unknown {
        /// Why.
        cause: String,
    },
}

impl Presence {
    /// The whole version that is there, if one is.
    pub fn version(&self) -> Option<Version> {
        match self {
            Presence::Here { version } => *version,
            Presence::Gone | Presence::Unknown { .. } => None,
        }
    }

    /// With its text as it may be shown.
    #[must_use]
    pub fn harmless(self) -> Self {
        match self {
            Presence::Unknown { cause } => Presence::Unknown { cause: escaped(&cause) },
            other => other,
        }
    }
}
