//! How the primary gets a byte stream to a peer's `certcast receive`.
//!
//! Three routes, one stream: libssh2 ([`Route::Ssh2`]), the system's own `ssh` ([`Route::SystemSsh`]) and a
//! subprocess on this node ([`Route::Local`]). What the stream carries is the wire's business.
//!
//! A stream belongs to one thread. While one side writes, what the other side sends meanwhile is taken in and kept
//! (libssh2: its 2 MiB window; pipes: as much), so both may write at once up to that size; beyond it the write ends at
//! the deadline. The largest frame is 1 MiB, so no two frames can lock each other.

mod authenticate;
mod bounded;
mod child;
mod connect;
mod error;
mod hint;
mod identity;
pub mod known_hosts;
mod retry;
mod said;
mod ssh2;
mod system_ssh;
mod watchdog;

use std::env;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::deadline::Deadline;
use crate::model::pasteable::pasteable;

pub use error::{LinkError, OfferedKey, Stage};
pub use hint::host_key_file;
pub use system_ssh::client as ssh_client;

/// The command that ssh is asked for. The peer's forced command ignores it; without one it is what should run.
const COMMAND: &str = "certcast receive";

/// A conversation's bytes, both ways.
///
/// Every read and write ends by the deadline with [`TimedOut`](std::io::ErrorKind::TimedOut); the stream is of no use
/// afterwards. A read of nothing is the far side's clean end. Dropping it closes it at once: the far side sees EOF.
pub trait Stream: Read + Write + Send {
    /// Moves the deadline of what follows, as within one conversation some answers may take less time than others.
    fn until(&mut self, deadline: Deadline);

    /// What the far side wrote to stderr so far, escaped and capped, for error messages.
    fn said(&mut self) -> String;

    /// Asked where the stream ended without a word of our protocol: whether that was because the peer is away. False where
    /// somebody is there who refuses, has no receiver, or where the route cannot tell.
    fn is_away(&mut self) -> bool;
}

/// Where a peer is. What is absent is left to ssh's defaults, or to `ssh_config` with the system's ssh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// As whom; with libssh2 `root` when absent.
    pub user: Option<String>,
    /// A name, a v4 or v6 address, `fe80::1%eth0`; with the system's ssh also an alias.
    pub host: String,
    /// With libssh2 22 when absent.
    pub port: Option<u16>,
}

impl Destination {
    /// Refuses what ssh could take for an option, or what cannot be a host or user.
    fn check(&self) -> Result<(), LinkError> {
        let fit = |text: &str| {
            !text.is_empty()
                && text.len() <= 255
                && !text.starts_with('-')
                && text.chars().all(|c| c.is_ascii_graphic())
        };
        let unfit = |what, text: &str| Err(LinkError::Unfit { what, text: crate::model::escape::escaped(text) });
        if !fit(&self.host) || self.host.contains(['@', '/', '\'', '"', '*', '?', '!', ',']) {
            return unfit("host", &self.host);
        }
        match &self.user {
            Some(user) if !fit(user) => unfit("user", user),
            _ => Ok(()),
        }
    }
}

/// The way to a peer.
#[derive(Clone, Copy, Debug)]
pub enum Route<'a> {
    /// libssh2, in this process.
    Ssh2 {
        /// Where.
        to: &'a Destination,
        /// The private key; an agent stands in for one that is encrypted or not there.
        identity: &'a Path,
        /// The host keys that are trusted. No other is, ever.
        known_hosts: &'a Path,
        /// For one attempt's TCP connection and key exchange.
        connect_timeout: Duration,
    },
    /// The system's `ssh` with the user's `ssh_config`: jumps, certificates, hardware keys.
    SystemSsh {
        /// Where.
        to: &'a Destination,
        /// For one attempt's TCP connection and key exchange.
        connect_timeout: Duration,
    },
    /// A program on this node.
    Local {
        /// The program and its arguments.
        argv: &'a [String],
    },
    /// A program on this node that nobody needs when the stream has ended.
    Client {
        /// The program and its arguments.
        argv: &'a [String],
    },
}

impl Route<'_> {
    /// What a person does to see for himself why nothing that speaks our protocol answers.
    pub fn trial(&self) -> String {
        match self {
            Route::Ssh2 { .. } => {
                "run there by hand what authorized_keys names for this key: it should be 'certcast receive'".to_owned()
            }
            Route::SystemSsh { to, .. } => format!(
                "run here `{}`: it should answer certcast-wire, and what it says instead is ssh's own",
                pasteable(&system_ssh::trial(to))
            ),
            Route::Local { argv } | Route::Client { argv } => {
                format!("run here `{}`: it should answer certcast-wire", pasteable(argv))
            }
        }
    }
}

/// Opens a stream that is tried, and lives, until the deadline at most.
pub fn open(route: &Route<'_>, deadline: Deadline) -> Result<Box<dyn Stream>, LinkError> {
    open_for_a_turn(route, deadline, deadline)
}

/// Opens a stream that lives until the deadline at most.
///
/// With libssh2, it is open by `turn`; what passes by itself (a full `MaxStartups`, a restart) is tried again until then, a dead
/// peer only during the first third of that time; a failed authentication or host key never. With the other routes an
/// `Ok` only says that the program runs: why ssh failed is in [`Stream::said`] after EOF.
pub fn open_for_a_turn(route: &Route<'_>, turn: Deadline, deadline: Deadline) -> Result<Box<dyn Stream>, LinkError> {
    match route {
        Route::Ssh2 { to, identity, known_hosts, connect_timeout } => {
            to.check()?;
            let agent = env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty()).map(PathBuf::from);
            let target = ssh2::Target {
                to,
                credential: &identity::choose(identity, agent.as_deref())?,
                known_hosts_path: known_hosts,
                known_hosts: &identity::read_known_hosts(known_hosts)?,
                connect_timeout: *connect_timeout,
            };
            let stream = retry::while_transient(turn, || ssh2::open(&target, turn, deadline))?;
            Ok(Box::new(stream))
        }
        Route::SystemSsh { to, connect_timeout } => {
            to.check()?;
            let limit = deadline.left().min(*connect_timeout);
            Ok(Box::new(child::spawn(&system_ssh::argv(to, limit), child::End::Kill, deadline)?))
        }
        Route::Local { argv } => Ok(Box::new(child::spawn(argv, child::End::Leave, deadline)?)),
        Route::Client { argv } => Ok(Box::new(child::spawn(argv, child::End::Kill, deadline)?)),
    }
}

#[cfg(test)]
mod live_tests;
#[cfg(test)]
mod live_trust_tests;
#[cfg(test)]
mod sshd_fixture;
