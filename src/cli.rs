//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::model::challenge::Thumbprint;
use crate::model::config;
use crate::model::names::{Identifier, LineageName, NodeName};
use crate::peer::policy::Role;

/// One certificate, many servers: certbot's HTTP-01 behind round-robin DNS, and every server on the same certificate.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Cli {
    /// The configuration file.
    #[arg(long, global = true, env = "CERTCAST_CONFIG", default_value = config::DEFAULT_PATH, value_name = "FILE")]
    pub config: PathBuf,
    /// Write the log to this file instead of the journal.
    #[arg(long, global = true, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// certbot's --manual-auth-hook: publish the challenge on every node and prove it is served there.
    Auth,
    /// certbot's --manual-cleanup-hook: remove the challenge everywhere.
    Cleanup,
    /// certbot's --deploy-hook: bring every node to the certificate it has just renewed.
    Deploy,
    /// Compare all nodes with this one and bring what differs in line.
    Resync(Resync),
    /// Publish, prove and remove a made-up challenge: what certbot will find, on any day and without a CA.
    Rehearse(Rehearse),
    /// The peer's side of a conversation, on standard input and output. For `authorized_keys`.
    Receive(Receive),
    /// Finish or undo what a crash left on this node. Run it before the services start.
    Recover,
}

/// The arguments of `resync`.
#[derive(Args, Debug)]
pub struct Resync {
    /// Only these lineages; all by default.
    pub lineages: Vec<LineageName>,
    /// Only this peer. May be given several times.
    #[arg(long = "peer", value_name = "NAME")]
    pub peers: Vec<NodeName>,
    /// What else is asked for.
    #[command(flatten)]
    pub wishes: WishArguments,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// What a person may ask of `resync`.
#[derive(Args, Clone, Copy, Debug)]
pub struct WishArguments {
    /// Show what would change and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Send what a peer takes for a step back (an older certificate, say), where it allows that (receive --allow-force).
    #[arg(long)]
    pub force: bool,
    /// Take over a hand-made live/NAME on peers, keeping a backup beside it.
    #[arg(long)]
    pub adopt: bool,
}

/// The arguments of `rehearse`.
#[derive(Args, Debug)]
pub struct Rehearse {
    /// The names that a certificate is to be for.
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<Identifier>,
    /// The ACME account to do it for, where a key is for some only; certbot's own by default.
    #[arg(long, value_name = "THUMBPRINT")]
    pub account: Option<Thumbprint>,
}

/// The arguments of `receive`: what the caller may do.
#[derive(Args, Debug)]
pub struct Receive {
    /// What the key is for.
    #[arg(long, value_enum)]
    pub role: Role,
    /// Only these lineages; all by default.
    #[arg(long, value_name = "LINEAGE", num_args = 1..)]
    pub only: Vec<LineageName>,
    /// certbot's directory, where it is another than the configured one. With --role own only.
    #[arg(long, hide = true)]
    pub letsencrypt: Option<PathBuf>,
    /// Only challenges of these ACME accounts; all by default.
    #[arg(long = "account", value_name = "THUMBPRINT")]
    pub accounts: Vec<Thumbprint>,
    /// Let `resync --force` take this node a step back: to an older certificate, one it does not trust, one for other names.
    #[arg(long)]
    pub allow_force: bool,
}
