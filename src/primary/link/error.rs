//! Why no stream to a peer could be opened, and what to do about it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

use crate::model::exposure::Exposure;

/// Which part of opening a connection did not end well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Asking for the host's addresses.
    Resolving,
    /// The TCP connection.
    Connecting,
    /// sshd's greeting and the key exchange.
    Greeting,
    /// Proving who we are.
    Authenticating,
    /// Opening the channel and starting the receiver.
    Starting,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Resolving => "looking up its address",
            Stage::Connecting => "connecting",
            Stage::Greeting => "waiting for sshd's greeting and key exchange",
            Stage::Authenticating => "authenticating",
            Stage::Starting => "starting the receiver",
        })
    }
}

/// The host key that a peer showed, and where it was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedKey {
    /// The peer as `known_hosts` writes it: `host` or `[host]:port`.
    pub host: String,
    /// The key's type, as in `ssh-ed25519`.
    pub kind: String,
    /// `SHA256:…`, as `ssh-keygen -l` shows it.
    pub fingerprint: String,
    /// The key itself, as `known_hosts` writes it.
    pub base64: String,
    /// The file that decides.
    pub known_hosts: PathBuf,
}

/// Why there is no stream. `host` is written as in `known_hosts`: `host` or `[host]:port`.
#[derive(Debug, Error)]
pub enum LinkError {
    /// The name has no address, or no resolver answers.
    #[error("{host}: its address was not found")]
    Resolve {
        /// Which peer.
        host: String,
        /// What the resolver said.
        #[source]
        source: io::Error,
    },
    /// Nothing listens there.
    #[error("{host}: connection refused by {address}")]
    Refused {
        /// Which peer.
        host: String,
        /// Its last address tried.
        address: SocketAddr,
    },
    /// No way there.
    #[error("{host}: {address} cannot be reached")]
    Unreachable {
        /// Which peer.
        host: String,
        /// Its last address tried.
        address: SocketAddr,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// No answer in time.
    #[error("{host}: no answer in time while {stage}")]
    Deadline {
        /// Which peer.
        host: String,
        /// Waiting for what.
        stage: Stage,
    },
    /// sshd hung up before authentication: `MaxStartups`, a penalty, a restart.
    #[error("{host}: the connection was dropped before authentication ({cause})")]
    BannerDropped {
        /// Which peer.
        host: String,
        /// What was seen, escaped.
        cause: String,
    },
    /// No algorithm in common, or a broken key exchange.
    #[error("{host}: no common ssh algorithms, or the key exchange failed ({cause})")]
    Negotiation {
        /// Which peer.
        host: String,
        /// What libssh2 says.
        cause: String,
    },
    /// The connection ended after the key exchange.
    #[error("{host}: the ssh connection broke while {stage} ({cause})")]
    Broken {
        /// Which peer.
        host: String,
        /// When.
        stage: Stage,
        /// What libssh2 says.
        cause: String,
    },
    /// Never seen before. Nothing is trusted on first use.
    #[error("{}: its host key {} is not in {}", .0.host, .0.fingerprint, .0.known_hosts.display())]
    HostKeyUnknown(Box<OfferedKey>),
    /// Another key of that type is known.
    #[error("{}: its host key is now {}, not the one in {} line {line}", offered.host, offered.fingerprint, offered.known_hosts.display())]
    HostKeyChanged {
        /// What it shows now.
        offered: Box<OfferedKey>,
        /// Where the key is that was expected.
        line: usize,
    },
    /// Marked `@revoked`.
    #[error("{}: its host key {} is marked @revoked in {} line {line}", offered.host, offered.fingerprint, offered.known_hosts.display())]
    HostKeyRevoked {
        /// What it shows.
        offered: Box<OfferedKey>,
        /// Where the mark is.
        line: usize,
    },
    /// Keys are known for the host, but of types that it does not offer or that libssh2 cannot use.
    #[error("{}: it shows a key of type {} ({}), but {} only has {known} for it", offered.host, offered.kind, offered.fingerprint, offered.known_hosts.display())]
    HostKeyNoUsableAlgorithm {
        /// What it shows.
        offered: Box<OfferedKey>,
        /// The types that are known, with commas.
        known: String,
    },
    /// Only `@cert-authority` lines match, which this transport cannot check.
    #[error("{}: {} only has @cert-authority lines for it, which transport \"ssh2\" cannot check", .0.host, .0.known_hosts.display())]
    HostKeyAuthorityOnly(Box<OfferedKey>),
    /// The file is there but cannot be used.
    #[error("{}: the known hosts cannot be read", path.display())]
    KnownHosts {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others could plant a key, or use ours.
    #[error("{}: {exposure}", path.display())]
    Exposed {
        /// The known hosts or the identity.
        path: PathBuf,
        /// How.
        exposure: Exposure,
    },
    /// sshd does not accept the key. Never tried again: sshd may lock us out for it.
    #[error("{host}: sshd does not let {user} in with {tried}")]
    Authentication {
        /// Which peer.
        host: String,
        /// As whom.
        user: String,
        /// The identity's path, or how many keys of the agent.
        tried: String,
    },
    /// No identity, and no agent.
    #[error("{}: the identity does not exist, and no ssh agent is there", path.display())]
    IdentityMissing {
        /// Which file.
        path: PathBuf,
    },
    /// Cannot be read.
    #[error("{}: the identity cannot be read", path.display())]
    IdentityUnreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Needs a passphrase, and no agent holds it.
    #[error("{}: the identity is encrypted, and no ssh agent is there", path.display())]
    IdentityEncrypted {
        /// Which file.
        path: PathBuf,
    },
    /// A private key that is not private.
    #[error("{}: others may read or write the identity (mode {mode:04o})", path.display())]
    IdentityOpenToOthers {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not a private key that libssh2 reads.
    #[error("{}: the identity is no private key that can be used ({cause})", path.display())]
    IdentityForeign {
        /// Which file.
        path: PathBuf,
        /// What libssh2 says.
        cause: String,
    },
    /// The agent does not work.
    #[error("{}: the ssh agent does not answer as one ({cause})", socket.display())]
    Agent {
        /// Its socket.
        socket: PathBuf,
        /// What libssh2 says.
        cause: String,
    },
    /// sshd let us in but does not start anything.
    #[error("{host}: sshd refuses to start the receiver ({cause})")]
    StartRefused {
        /// Which peer.
        host: String,
        /// What libssh2 says.
        cause: String,
    },
    /// A program could not be started here.
    #[error("{program}: cannot be started")]
    Spawn {
        /// Which.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Would be an option or no name at all.
    #[error("\"{text}\": not a {what} that ssh can be given")]
    Unfit {
        /// Host or user.
        what: &'static str,
        /// The text, escaped.
        text: String,
    },
    /// This process lacks something.
    #[error("{host}: the connection cannot be set up on this side")]
    Local {
        /// Which peer.
        host: String,
        /// What the kernel or libssh2 said.
        #[source]
        source: io::Error,
    },
}

impl LinkError {
    /// Whether the same attempt may succeed a moment later with nobody changing anything.
    pub fn is_transient(&self) -> bool {
        use LinkError::{BannerDropped, Deadline, Refused, Resolve, Unreachable};
        matches!(self, Resolve { .. } | Refused { .. } | Unreachable { .. } | Deadline { .. } | BannerDropped { .. })
    }
}
