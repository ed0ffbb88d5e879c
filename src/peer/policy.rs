//! What the caller may do here. It comes from this node's `authorized_keys`, never from the caller.

use clap::ValueEnum;

use crate::model::challenge::Thumbprint;
use crate::model::names::LineageName;
use crate::model::outcome::Step;
use crate::peer::halt::Halt;
use crate::wire::message::{Offer, Request};

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
    /// Of which ACME accounts challenges may be; of all when empty.
    pub accounts: Vec<Thumbprint>,
    /// Whether `--force` may make this node take a step back.
    pub allow_force: bool,
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

    /// Whether the key is for challenges of any account.
    pub fn is_for_every_account(&self) -> bool {
        self.accounts.is_empty()
    }

    /// Whether the key is for challenges of an account; else why not.
    ///
    /// A CA accepts a validation from the account it was made for only: with this, a stolen key gets nobody a certificate.
    pub fn allows_account(&self, account: &Thumbprint) -> Result<(), String> {
        if self.is_for_every_account() || self.accounts.contains(account) {
            return Ok(());
        }
        Err(format!(
            "this key is not for challenges of the ACME account {account}; if it is yours, add '--account {account}' to \
             'certcast receive' in authorized_keys on this node"
        ))
    }

    /// Whether this node takes a certificate that is a step back, as `what` says; else why not.
    pub fn allows_step_back(&self, offer: &Offer, what: &str) -> Result<(), Halt> {
        if !offer.wishes.force {
            return Err(Halt::refused(Step::Check, format!("{what}; 'certcast resync --force' sends it all the same")));
        }
        if self.allow_force {
            return Ok(());
        }
        let how = "add '--allow-force' to 'certcast receive' in authorized_keys on this node to let '--force' through";
        Err(Halt::refused(Step::Policy, format!("{what}, and this node takes no such step; {how}")))
    }
}
