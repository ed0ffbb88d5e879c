//! The configuration: one schema on every node, strict, checked once.
//!
//! [`load`] reads the file; `raw` is its shape for serde, `check` turns that into the types here,
//! and whatever is wrong on the way becomes a [`Diagnostic`] that shows the line.

mod alert;
mod check;
mod check_alert;
mod check_peer;
mod diagnostic;
mod error;
mod load;
mod pattern;
mod raw;
mod service;
mod ssh_target;
mod value;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

pub use alert::{Alert, Event, Mailbox, Route, SecretSource, Severity};
pub use diagnostic::Diagnostic;
pub use error::ConfigError;
pub use load::load;
pub use pattern::{Pattern, glob};
pub use service::{JoinedPath, ProbeTarget, Service};
pub use ssh_target::SshTarget;
pub use value::ValueError;

use super::names::{Identifier, LineageName, NodeName};
use diagnostic::Fault;

/// Where the configuration is when nothing else is said.
pub const DEFAULT_PATH: &str = "/etc/certcast/config.toml";

/// Everything a node was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// This node.
    pub node: Node,
    /// What uses certificates here.
    pub services: Vec<Service>,
    /// How the primary proves who it is, and whom it believes.
    pub ssh: Ssh,
    /// The other nodes; empty on a peer.
    pub peers: Vec<Peer>,
    /// How challenges are published and proven.
    pub challenge: ChallengePolicy,
    /// How certificates are rolled out.
    pub deploy: DeployPolicy,
    /// Whom to tell.
    pub alerts: Vec<Alert>,
}

/// `[node]`: this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name in messages and alerts.
    pub name: NodeName,
    /// certbot's configuration directory.
    pub letsencrypt: PathBuf,
    /// Where challenges of all other names are served from.
    pub webroot: PathBuf,
    /// Where challenges of these names are served from.
    pub webroots: BTreeMap<Identifier, PathBuf>,
    /// Where certcast keeps what it must remember.
    pub state: PathBuf,
    /// Where the public reaches this node; empty: to be found out.
    pub addresses: Vec<IpAddr>,
    /// The group of private keys; as on the primary when absent.
    pub key_group: Option<String>,
    /// The mode of private keys; as on the primary when absent.
    pub key_mode: Option<u32>,
}

/// `[ssh]`: the primary's key and the host keys it believes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ssh {
    /// The private key's file.
    pub identity: PathBuf,
    /// The pinned host keys.
    pub known_hosts: PathBuf,
    /// How long connecting may take.
    pub connect_timeout: Duration,
}

/// `[[peer]]`: another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its name in messages and alerts; unique, and not this node's.
    pub name: NodeName,
    /// Where its sshd listens; unique except with the local transport, which ignores it.
    pub ssh: SshTarget,
    /// Where the public reaches it; empty: to be found out from the ssh host.
    pub addresses: Vec<IpAddr>,
    /// How it is reached.
    pub transport: Transport,
    /// The local transport's command; empty: this program.
    pub receive: Vec<String>,
    /// Which of the lineages it gets, by their names on the primary.
    pub lineages: Vec<Pattern>,
    /// The names whose challenges it gets: of no other name is it asked.
    pub challenges: Vec<Pattern>,
    /// The local transport's `--config`.
    pub config: Option<PathBuf>,
}

impl Peer {
    /// Whether this peer gets the lineage, if it is rolled out at all.
    pub fn wants(&self, lineage: &LineageName) -> bool {
        self.lineages.iter().any(|pattern| pattern.matches(lineage))
    }

    /// Whether the CA may ask this peer for the name.
    pub fn answers_for(&self, name: &Identifier) -> bool {
        self.challenges.iter().any(|pattern| pattern.matches_name(name))
    }
}

/// How a peer is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// The ssh client in this program.
    #[default]
    Ssh2,
    /// The system's `ssh`, with its `ssh_config`.
    SystemSsh,
    /// A subprocess on this machine.
    Local,
}

/// `[challenge]`: how challenges are published and proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChallengePolicy {
    /// Which peers must have a challenge.
    pub require: Require,
    /// How long publishing and proving may take.
    pub budget: Duration,
    /// Whether certbot is stopped before the CA is asked when the proof fails.
    pub abort_certbot: bool,
    /// Whether every address in DNS must be a node's or a front's.
    pub check_dns: bool,
    /// Addresses with nodes behind them.
    pub fronts: Vec<IpAddr>,
    /// For addresses that this node cannot reach although the public can: what is asked in place of each, if anything.
    pub prove_at: BTreeMap<IpAddr, Option<IpAddr>>,
    /// The age after which an orphaned token is removed.
    pub keep_tokens: Duration,
}

/// `[deploy]`: how certificates are rolled out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeployPolicy {
    /// Which peers must have staged before any switches.
    pub require: Require,
    /// Whether one peer switches first, alone.
    pub canary: bool,
    /// How many conversations are opened at once: 1 to 500.
    pub parallel: usize,
    /// Which lineages are rolled out.
    pub lineages: Vec<Pattern>,
    /// Other names on the peers; no two lineages get one.
    pub rename: BTreeMap<LineageName, LineageName>,
    /// A lineage's share of a run's time.
    pub budget: Duration,
    /// What to do about a name that is served now and that the new certificate lacks.
    pub missing_names: MissingNames,
}

impl DeployPolicy {
    /// Whether all that certbot has is rolled out.
    pub fn is_everything(&self) -> bool {
        self.lineages.iter().any(|pattern| pattern.to_string() == "*")
    }

    /// Whether the lineage is rolled out.
    pub fn wants(&self, lineage: &LineageName) -> bool {
        self.lineages.iter().any(|pattern| pattern.matches(lineage))
    }

    /// What the lineage is called on the peers.
    pub fn name_on_peers<'a>(&'a self, lineage: &'a LineageName) -> &'a LineageName {
        self.rename.get(lineage).unwrap_or(lineage)
    }

    /// The other lineage that goes by this one's name on the peers, if it is present and rolled out.
    pub fn superseded_by(
        &self,
        lineage: &LineageName,
        is_present: impl Fn(&LineageName) -> bool,
    ) -> Option<&LineageName> {
        let goes_by_it = |(from, to): &(&LineageName, &LineageName)| *to == lineage && *from != lineage;
        let rival = self.rename.iter().find(goes_by_it).map(|(from, _)| from)?;
        let keeps_its_name = self.name_on_peers(lineage) == lineage;
        (keeps_its_name && self.wants(rival) && is_present(rival)).then_some(rival)
    }
}

/// Which peers must take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Require {
    /// Every one.
    All,
    /// Those that can be reached.
    Reachable,
}

/// What to do about a name that a peer serves and that the new certificate lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MissingNames {
    /// Say so and go on.
    Warn,
    /// Keep the old certificate.
    Refuse,
}

impl Config {
    /// Checks a configuration's text; `path` is what errors call it.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let wrong = |fault: &Fault| ConfigError::Wrong(Box::new(Diagnostic::new(fault, text, path)));
        let raw: raw::RawConfig = toml::from_str(text).map_err(|error| wrong(&Fault::from_toml(&error)))?;
        let own_name = match &raw.node.name {
            Some(name) => name.0.clone(),
            None => host_name().map_err(|source| ConfigError::HostName { path: path.into(), source })?,
        };
        check::config(raw, own_name).map_err(|fault| wrong(&fault))
    }
}

/// The system's host name; an unreadable one is as unfit as an empty one.
fn host_name() -> Result<NodeName, super::names::NameError> {
    nix::unistd::gethostname().unwrap_or_default().to_string_lossy().parse()
}
