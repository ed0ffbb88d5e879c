//! This node: its configuration, its directories and its lock.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use nix::unistd::Group;

use crate::model::config::{Config, Service};
use crate::model::deadline::Deadline;
use crate::model::names::LineageName;
use crate::model::outcome::{Outcome, Step};
use crate::peer::halt::Halt;
use crate::peer::journal::Journal;
use crate::peer::policy::Grant;
use crate::peer::{hearing, recovery};
use crate::sys::dir::{Dir, make_state};
use crate::sys::lock::Lock;
use crate::wire::message::Ownership;

/// This node, as its own configuration describes it.
#[derive(Debug)]
pub struct Node {
    config: Config,
    letsencrypt: Dir,
    is_own: bool,
}

/// The right to change bundles here. One process has it at a time; the kernel takes it back from a dead one.
#[derive(Debug)]
pub struct Held {
    _lock: Lock,
}

impl Node {
    /// Opens the directories that must be there, and makes the state directory where it is missing.
    ///
    /// `is_own` says that certbot runs here and keeps `live/` and `archive/` itself.
    pub fn open(config: Config, is_own: bool) -> anyhow::Result<Node> {
        make_state(&config.node.state)?;
        if !is_own {
            use std::os::unix::fs::DirBuilderExt;
            let mut builder = std::fs::DirBuilder::new();
            builder.recursive(true).mode(0o755);
            let path = &config.node.letsencrypt;
            builder.create(path).with_context(|| format!("cannot make {}", path.display()))?;
        }
        let letsencrypt = Dir::open(&config.node.letsencrypt).context("cannot open certbot's directory")?;
        Ok(Node { config, letsencrypt, is_own })
    }

    /// Takes the lock and finishes or undoes whatever an earlier crash left. What stands in the way is told as far as it
    /// is the caller's.
    pub fn hold(&self, deadline: Deadline, grant: &Grant) -> Result<Held, Halt> {
        let held = self.lock(deadline)?;
        let are_callers =
            |open: Vec<LineageName>| !open.is_empty() && open.iter().all(|name| grant.only.contains(name));
        let is_callers = grant.only.is_empty() || Journal::lineages(self.state()).is_none_or(are_callers);
        match self.recover(&held) {
            Ok(()) => Ok(held),
            Err(Halt(outcome)) if is_callers => Err(Halt(hearing::of_own(grant, outcome))),
            Err(Halt(outcome)) => Err(Halt(hearing::of_another(&outcome))),
        }
    }

    fn recover(&self, held: &Held) -> Result<(), Halt> {
        let Some(recovered) = recovery::recover(self, held, false)? else { return Ok(()) };
        tracing::warn!(outcome = %recovered, "what an earlier run left");
        match recovered {
            outcome @ Outcome::Stuck { .. } => Err(Halt(outcome)),
            outcome if Journal::is_there(self.state()) => {
                let cause = format!("what an earlier run left cannot be tidied up: {outcome}; see 'certcast recover'");
                Err(Halt::refused(Step::Recovery, cause))
            }
            _ => Ok(()),
        }
    }

    /// Takes the lock alone. A transaction under way is waited for.
    pub fn lock(&self, deadline: Deadline) -> Result<Held, Halt> {
        match Lock::acquire(&self.state().join("transaction.lock"), deadline) {
            Ok(lock) => Ok(Held { _lock: lock }),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                Err(Halt(Outcome::Pending { cause: format!("another run holds the lock here: {error}") }))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The services.
    pub fn services(&self) -> &[Service] {
        &self.config.services
    }

    /// The whole configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// certbot's directory.
    pub fn letsencrypt(&self) -> &Dir {
        &self.letsencrypt
    }

    /// Where certcast keeps what it must remember.
    pub fn state(&self) -> &Path {
        &self.config.node.state
    }

    /// Whether certbot runs here and keeps the trees itself.
    pub fn is_own(&self) -> bool {
        self.is_own
    }

    /// The joined files of a lineage here.
    pub fn joined_paths(&self, lineage: &LineageName) -> Vec<PathBuf> {
        self.services()
            .iter()
            .filter_map(|service| service.joined.as_ref())
            .map(|joined| joined.path(lineage))
            .collect()
    }

    /// The key's owner and mode: this node's own wish, else as on the primary.
    pub fn key_ownership(&self, primary: Ownership) -> Result<Ownership, Halt> {
        let gid = match &self.config.node.key_group {
            None => primary.gid,
            Some(name) => match (name.parse(), Group::from_name(name)?) {
                (Ok(number), _) => number,
                (_, Some(group)) => group.gid.as_raw(),
                _ => return Err(io::Error::other(format!("node.key_group: there is no group {name} here")).into()),
            },
        };
        Ok(Ownership { uid: primary.uid, gid, mode: self.config.node.key_mode.unwrap_or(primary.mode) })
    }
}
