//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::model::challenge::Thumbprint;
use crate::model::config::{self, Pattern, SshTarget};
use crate::model::names::{Identifier, LineageName, NodeName, UserName};
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

const HOOKS: &str = "\
Example:
  certbot certonly --manual --preferred-challenges http \\
      --manual-auth-hook '/usr/local/bin/certcast auth' \\
      --manual-cleanup-hook '/usr/local/bin/certcast cleanup' \\
      --deploy-hook '/usr/local/bin/certcast deploy' -d www.example.com";
const RESYNC: &str = "\
Examples:
  certcast resync --dry-run   # tells what is out of line, and changes nothing
  certcast resync             # by hand, or from a timer
  certcast resync --peer web2 www.example.com";
const STATUS: &str = "\
Examples:
  certcast status
  certcast status --watch
  certcast status --html /var/www/html/certcast.html
  certcast status --json www.example.com | jq '.[] | select(.state != \"in-line\")'";
const CHECK: &str = "\
Exit codes: 0 ok, 1 warning, 2 critical, 3 unknown, also for a wrong command line.
Examples:
  certcast check --warning 20 --critical 7
  certcast check --metrics /var/lib/prometheus/node-exporter/certcast.prom";
const DOCTOR: &str = "\
Exit codes: 0 nothing was found, 1 something was, 2 a wrong command line or configuration.
Examples:
  certcast doctor
  certcast doctor --json www.example.com | jq -r '.[] | select(.severity == \"error\") | .what'";
const REHEARSE: &str = "\
Example:
  certcast rehearse www.example.com example.com";
const RECEIVE: &str = "\
Examples of lines in authorized_keys:
  restrict,command=\"/usr/local/bin/certcast receive --role deploy\" ssh-ed25519 KEY
  restrict,command=\"/usr/local/bin/certcast receive --role deploy --only www.example.com\" ssh-ed25519 KEY";
const INIT: &str = "\
Examples:
  certcast init www.example.com example.com
  certcast init --install-hooks www.example.com   # a certificate that certbot has already";
const PEER_ADD: &str = "\
Examples:
  certcast peer add root@192.0.2.2
  certcast peer add --host-key SHA256:FINGERPRINT --name web3 root@web3.example.com:2222";
const ALERT_TEST: &str = "\
Example:
  certcast alert test";
const COMPLETIONS: &str = "\
Example:
  certcast completions bash >/etc/bash_completion.d/certcast";

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// certbot's --manual-auth-hook: publish the challenge on every node and prove it is served there.
    #[command(after_help = HOOKS)]
    Auth,
    /// certbot's --manual-cleanup-hook: remove the challenge everywhere.
    #[command(after_help = HOOKS)]
    Cleanup,
    /// certbot's --deploy-hook: bring every node to the certificate it has just renewed.
    #[command(after_help = HOOKS)]
    Deploy,
    /// Compare all nodes with this one and bring what differs in line.
    #[command(after_help = RESYNC)]
    Resync(Resync),
    /// Show what each node has and serves of each certificate, and change nothing.
    #[command(after_help = STATUS)]
    Status(Status),
    /// One line and an exit code as monitoring plugins have them, and metrics for Prometheus.
    #[command(after_help = CHECK)]
    Check(Check),
    /// Look at everything that can go wrong, on all nodes, and say the remedy for each thing found.
    #[command(after_help = DOCTOR)]
    Doctor(Doctor),
    /// Publish, prove and remove a made-up challenge: what certbot will find, on any day and without a CA.
    #[command(after_help = REHEARSE)]
    Rehearse(Rehearse),
    /// About alerts.
    #[command(subcommand)]
    Alert(Alert),
    /// The peer's side of a conversation, on standard input and output. For `authorized_keys`.
    #[command(after_help = RECEIVE)]
    Receive(Receive),
    /// Finish or undo what a crash left on this node. Run it before the services start.
    Recover,
    /// Make this server the primary: a configuration of what is found here, and a key; and say what comes next.
    #[command(after_help = INIT)]
    Init(Init),
    /// Make a server a peer.
    #[command(subcommand)]
    Peer(Peer),
    /// What `peer add` and `peer remove` run on a peer.
    #[command(hide = true)]
    Enrol,
    /// Print what makes a shell complete certcast's commands and options.
    #[command(after_help = COMPLETIONS)]
    Completions {
        /// For which shell.
        shell: Shell,
    },
    /// Write the manual: a page for certcast(1) and one for each command.
    Man {
        /// The directory; it must be there.
        directory: PathBuf,
    },
}

/// The arguments of `init`.
#[derive(Args, Debug)]
pub struct Init {
    /// The names that the certificate is to be for; the first one is the lineage's.
    #[arg(required_unless_present = "install_hooks", value_name = "NAME")]
    pub names: Vec<Identifier>,
    /// Have a lineage that certbot has already renewed by certcast's hooks: its renewal configuration is changed, tried, and
    /// taken back where it does not stand the trial.
    #[arg(long, value_name = "LINEAGE", conflicts_with = "names")]
    pub install_hooks: Option<LineageName>,
}

/// The verbs about alerts.
#[derive(Debug, Subcommand)]
pub enum Alert {
    /// Send a test alert by every route of the configuration, and say how each went.
    #[command(after_help = ALERT_TEST)]
    Test,
}

/// The verbs about peers.
#[derive(Debug, Subcommand)]
pub enum Peer {
    /// Make a server a peer over your own ssh access: this program, its configuration, one restricted key; then send what is here.
    #[command(after_help = PEER_ADD)]
    Add(PeerAdd),
    /// Put this program on peers that have another, over your own ssh access, and see that it answers.
    Upgrade {
        /// Which; all by default.
        #[arg(value_name = "NAME")]
        names: Vec<NodeName>,
    },
    /// Take all of certcast from a server over your own ssh access, but for the certificates, and forget it here.
    Remove(PeerRemove),
}

/// The arguments of `peer remove`.
#[derive(Args, Debug)]
pub struct PeerRemove {
    /// Which.
    pub name: NodeName,
    /// The server is gone for good: forget it here, without going there.
    #[arg(long)]
    pub gone: bool,
}

/// The arguments of `peer add`.
#[derive(Args, Debug)]
pub struct PeerAdd {
    /// Where you log in as root, and where certcast will: root@HOST or root@HOST:PORT.
    #[arg(value_name = "root@HOST")]
    pub to: SshTarget,
    /// Its name in messages; its host name by default.
    #[arg(long)]
    pub name: Option<NodeName>,
    /// Send it only these lineages; by default all that deploy.lineages has. May be given several times.
    #[arg(long = "lineage", value_name = "PATTERN")]
    pub lineages: Vec<Pattern>,
    /// Its host key's fingerprint, as `ssh-keygen -l` shows it on the server itself; else you are asked.
    #[arg(long, value_name = "SHA256:…")]
    pub host_key: Option<String>,
    /// Let certcast in as this user, who is made and may run the receiver as root by one sudo rule, instead of as root.
    #[arg(long, value_name = "USER")]
    pub sudo_user: Option<UserName>,
    /// Show what would be done and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// The arguments of `resync`.
#[derive(Args, Debug)]
pub struct Resync {
    /// Only these lineages; all by default.
    #[arg(value_name = "LINEAGE")]
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

/// The arguments of `status`.
#[derive(Args, Debug)]
pub struct Status {
    /// Only these lineages; all by default.
    #[arg(value_name = "LINEAGE")]
    pub lineages: Vec<LineageName>,
    /// Write the same as a page for a browser to this file too.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Show it again every so many seconds (10), until it is ended by Ctrl-C.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "10",
          value_parser = clap::value_parser!(u16).range(1..), conflicts_with = "json")]
    pub watch: Option<u16>,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// The arguments of `check`.
#[derive(Args, Debug)]
pub struct Check {
    /// Only these lineages; all by default.
    #[arg(value_name = "LINEAGE")]
    pub lineages: Vec<LineageName>,
    /// Warn when a certificate on a node ends in fewer days than this.
    #[arg(long, value_name = "DAYS", default_value_t = 20)]
    pub warning: i64,
    /// It is critical when a certificate on a node ends in fewer days than this.
    #[arg(long, value_name = "DAYS", default_value_t = 7)]
    pub critical: i64,
    /// Write metrics to this file too, for `node_exporter`'s textfile collector.
    #[arg(long, value_name = "FILE")]
    pub metrics: Option<PathBuf>,
}

/// The arguments of `doctor`.
#[derive(Args, Debug)]
pub struct Doctor {
    /// Only these lineages; all by default.
    #[arg(value_name = "LINEAGE")]
    pub lineages: Vec<LineageName>,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
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
