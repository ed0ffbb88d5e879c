//! What `peer add` and `peer remove` ask of a server, and what that has done: a line of JSON each way, over a
//! person's own ssh access.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::model::names::{NodeName, UserName};
use crate::model::public_key::PublicKey;

/// What to make of the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "enrolment", rename_all = "kebab-case")]
pub enum Enrolment {
    /// A peer.
    Join {
        /// Its name, if it has no configuration yet.
        name: NodeName,
        /// The primary's key, to be let in for `receive` and nothing else.
        key: PublicKey,
        /// As which user, who is made; as root when none.
        user: Option<UserName>,
        /// Only tell.
        dry_run: bool,
    },
    /// No peer any more.
    Leave {
        /// The primary's key, not to be let in any more.
        key: PublicKey,
        /// As which user it was; as root when none.
        user: Option<UserName>,
    },
}

/// What was done, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// A line each; none where all was so already.
    pub done: Vec<String>,
    /// What a person should look at.
    pub notes: Vec<String>,
    /// The addresses of its own.
    pub addresses: Vec<IpAddr>,
    /// Whether something else than the primary that asks uses certcast there.
    pub is_used: bool,
}
