//! The route through libssh2.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ssh2::{Channel, MethodType, Session};

use crate::model::deadline::Deadline;
use crate::model::escape::escaped;

use super::bounded::{Bounded, Halt, number};
use super::error::{LinkError, OfferedKey, Stage};
use super::identity::Credential;
use super::known_hosts::{self, KnownHosts, Verdict};
use super::said::Said;
use super::watchdog::Watchdog;
use super::{COMMAND, Destination, Stream, authenticate, connect};

/// libssh2's numbers for a connection that ended or never began to talk.
const DROPPED: [i32; 5] = [-2, -3, -7, -13, -43];
/// A far side that writes to stderr without end must not keep us from looking at the clock.
const READS_AT_MOST: usize = 16;

/// Where to, with whose key, trusting whom.
pub struct Target<'a> {
    pub to: &'a Destination,
    pub credential: &'a Credential,
    pub known_hosts_path: &'a Path,
    pub known_hosts: &'a KnownHosts,
    pub connect_timeout: Duration,
}

/// One attempt, which ends by `turn`; the stream lives until the deadline.
pub fn open(target: &Target<'_>, turn: Deadline, deadline: Deadline) -> Result<Ssh2Stream, LinkError> {
    let (user, port) = (target.to.user.as_deref().unwrap_or("root"), target.to.port.unwrap_or(22));
    let host = known_hosts::lookup_name(&target.to.host, port);
    let local = |source| LinkError::Local { host: host.clone(), source };

    let connected_by = turn.at_most(target.connect_timeout);
    let socket = Arc::new(connect::connect(&target.to.host, port, &host, connected_by)?);
    let opening = Watchdog::over(&socket, turn).map_err(local)?;
    let session = Bounded::new(&socket).map_err(|error| local(error.into()))?;
    let algorithms = algorithms(&target.known_hosts.kinds(&host));
    session.session().method_pref(MethodType::HostKey, &algorithms).map_err(|error| local(error.into()))?;
    session.run(connected_by, Session::handshake).map_err(|halt| greeting_error(halt, &session, &host))?;

    // Before anything of ours is told: from here on the far side is who it should be, or we are gone.
    check_host_key(&session, target, &host)?;
    authenticate::authenticate(&session, target.credential, user, &host, turn)?;
    let channel = start(&session, turn).map_err(|halt| start_error(halt, &host))?;
    drop(opening);
    let watchdog = Watchdog::over(&socket, deadline).map_err(local)?;
    Ok(Ssh2Stream { channel, session, deadline, said: Said::default(), _watchdog: watchdog })
}

fn start(session: &Bounded, deadline: Deadline) -> Result<Channel, Halt> {
    let mut channel = session.run(deadline, |s| s.channel_session())?;
    session.run(deadline, |_| channel.exec(COMMAND))?;
    Ok(channel)
}

/// What to ask the server for: the types that are known first, since it may have several keys; then the others, so
/// that the refusal can show what it has. No SHA-1 and no DSA.
fn algorithms(known: &[&str]) -> String {
    const ALL: [(&str, &str); 5] = [
        ("ssh-ed25519", "ssh-ed25519"),
        ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"),
        ("ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384"),
        ("ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521"),
        ("ssh-rsa", "rsa-sha2-512,rsa-sha2-256"),
    ];
    let (first, then): (Vec<_>, Vec<_>) = ALL.into_iter().partition(|(kind, _)| known.contains(kind));
    first.into_iter().chain(then).map(|(_, names)| names).collect::<Vec<_>>().join(",")
}

fn check_host_key(session: &Bounded, target: &Target<'_>, host: &str) -> Result<(), LinkError> {
    let Some((blob, _)) = session.session().host_key() else {
        return Err(LinkError::Negotiation { host: host.to_owned(), cause: "no host key was shown".to_owned() });
    };
    let offered = || {
        Box::new(OfferedKey {
            host: host.to_owned(),
            kind: escaped(known_hosts::kind_of(blob).unwrap_or("unknown")),
            fingerprint: known_hosts::fingerprint(blob),
            base64: openssl::base64::encode_block(blob),
            known_hosts: target.known_hosts_path.to_owned(),
        })
    };
    match target.known_hosts.judge(host, blob) {
        Verdict::Trusted => Ok(()),
        Verdict::Unknown => Err(LinkError::HostKeyUnknown(offered())),
        Verdict::Changed { line } => Err(LinkError::HostKeyChanged { offered: offered(), line }),
        Verdict::Revoked { line } => Err(LinkError::HostKeyRevoked { offered: offered(), line }),
        Verdict::OtherKinds(kinds) => {
            Err(LinkError::HostKeyNoUsableAlgorithm { offered: offered(), known: escaped(&kinds.join(", ")) })
        }
        Verdict::AuthorityOnly => Err(LinkError::HostKeyAuthorityOnly(offered())),
    }
}

fn greeting_error(halt: Halt, session: &Bounded, host: &str) -> LinkError {
    let host = host.to_owned();
    match halt {
        Halt::Deadline => LinkError::Deadline { host, stage: Stage::Greeting },
        Halt::Ssh(error) if DROPPED.contains(&number(&error)) => {
            // A newer sshd says why in place of its greeting.
            let greeting = session.session().banner_bytes().map(String::from_utf8_lossy).unwrap_or_default();
            let cause = match greeting.as_ref() {
                "" => escaped(error.message()),
                said => format!("{}; it said: \"{}\"", escaped(error.message()), escaped(said)),
            };
            LinkError::BannerDropped { host, cause }
        }
        Halt::Ssh(error) => LinkError::Negotiation { host, cause: escaped(error.message()) },
    }
}

fn start_error(halt: Halt, host: &str) -> LinkError {
    let host = host.to_owned();
    let stage = Stage::Starting;
    match halt {
        Halt::Deadline => LinkError::Deadline { host, stage },
        Halt::Ssh(error) if DROPPED.contains(&number(&error)) => {
            LinkError::Broken { host, stage, cause: escaped(error.message()) }
        }
        Halt::Ssh(error) => LinkError::StartRefused { host, cause: escaped(error.message()) },
    }
}

/// A channel on its own connection.
pub struct Ssh2Stream {
    channel: Channel,
    session: Bounded,
    deadline: Deadline,
    said: Said,
    _watchdog: Watchdog,
}

impl Ssh2Stream {
    /// Takes what has come on stderr; says whether anything has. It shares stdout's window, so it must not pile up.
    fn hear(channel: &Channel, said: &mut Said) -> bool {
        let mut buffer = [0; 4096];
        let mut heard = false;
        for _ in 0..READS_AT_MOST {
            let Ok(length @ 1..) = channel.stderr().read(&mut buffer) else { break };
            said.hear(&buffer[..length]);
            heard = true;
        }
        heard
    }
}

impl Stream for Ssh2Stream {
    fn until(&mut self, deadline: Deadline) {
        self.deadline = deadline;
    }

    fn said(&mut self) -> String {
        Self::hear(&self.channel, &mut self.said);
        self.said.shown()
    }

    /// sshd let us in and started something: whatever ended, the peer is there. A connection that dies is an error.
    fn is_away(&mut self) -> bool {
        false
    }
}

impl Read for Ssh2Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let (channel, said) = (&mut self.channel, &mut self.said);
        let deadline = self.deadline;
        let length = self.session.run(deadline, |_| {
            loop {
                // Stdout last: each of the two takes in what has come for both, and no wait on the socket would
                // notice stdout that looking for stderr had brought along.
                let heard = Self::hear(channel, said);
                match channel.read(buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock && heard && !deadline.has_passed() => {}
                    done => return done,
                }
            }
        });
        match length.map_err(as_io_error)? {
            // libssh2 also reads nothing from a connection that has broken.
            0 if !channel.eof() && !Self::hear(channel, said) => Err(io::ErrorKind::ConnectionAborted.into()),
            length => Ok(length),
        }
    }
}

impl Write for Ssh2Stream {
    /// libssh2 takes in what has come before it sends, so a far side that writes as well is not held up.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let channel = &mut self.channel;
        match self.session.run(self.deadline, |_| channel.write(bytes)).map_err(as_io_error)? {
            0 => Err(io::ErrorKind::ConnectionAborted.into()),
            length => Ok(length),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        // Nothing is kept back on this side.
        Ok(())
    }
}

fn as_io_error(halt: Halt<io::Error>) -> io::Error {
    match halt {
        Halt::Deadline => io::ErrorKind::TimedOut.into(),
        Halt::Ssh(error) => io::Error::new(io::ErrorKind::ConnectionAborted, error),
    }
}

impl Drop for Ssh2Stream {
    /// Says goodbye if that needs no wait, then cuts: what libssh2 does afterwards to free itself cannot block.
    fn drop(&mut self) {
        // Neither failure matters: the far side sees the end in any case.
        let _ = self.channel.close();
        let _ = self.session.socket().shutdown(Shutdown::Both);
    }
}
