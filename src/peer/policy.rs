//! What the caller may do here. It comes from this node's `authorized_keys`, never from the caller.

use clap::ValueEnum;

use crate::model::names::LineageName;
use crate::wire::message::Request;

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Challenges only.
    Challenge,
    /// Challenges and bundles.
    Deploy,
    /// This node's own certbot: its services follow what certbot installed. Not for `authorized_keys`.
    Own,
}

/// The arguments of `receive`: what the caller may do.
#[derive(Clone, Debug)]
pub struct Grant {
    /// What the key is for.
    pub role: Role,
    /// Which lineages; all when empty.
    pub only: Vec<LineageName>,
    /// Whether `--force` may put an older certificate here.
    pub allow_older: bool,
}

impl Grant {
    /// Whether the role has a request's verb; else why not.
    pub fn allows(&self, request: &Request) -> Result<(), String> {
        match request {
            Request::Hello { .. } | Request::Publish { .. } | Request::Withdraw { .. } => Ok(()),
            _ if self.role == Role::Challenge => Err("this key is for challenges only (--role challenge)".into()),
            _ => Ok(()),
        }
    }

    /// Whether the key is for a lineage; else why not.
    ///
    /// Asked for each lineage by itself: a primary that names others too must not lose its own to them.
    pub fn allows_lineage(&self, lineage: &LineageName) -> Result<(), String> {
        if self.only.is_empty() || self.only.contains(lineage) {
            return Ok(());
        }
        Err(format!("this key is not for the lineage {lineage} (--only)"))
    }
}
