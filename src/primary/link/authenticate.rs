//! Proving to sshd who we are: once.

use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

use ssh2::PublicKey;

use crate::model::deadline::Deadline;
use crate::model::escape::escaped;

use super::bounded::{Bounded, Halt, number};
use super::error::{LinkError, Stage};
use super::identity::Credential;

const AUTHENTICATION_FAILED: i32 = -18;
const PUBLICKEY_UNVERIFIED: i32 = -19;

/// How one key fared.
enum Attempt {
    Accepted,
    /// sshd answered, and the answer was no.
    Rejected,
    /// No answer: the connection ended.
    Broken(String),
    /// The key was of no use before sshd was asked.
    Unusable(String),
    Deadline,
}

/// Authenticates with the key file, or with each of the agent's keys until one is accepted.
pub fn authenticate(
    session: &Bounded,
    credential: &Credential,
    user: &str,
    host: &str,
    deadline: Deadline,
) -> Result<(), LinkError> {
    let late = || LinkError::Deadline { host: host.to_owned(), stage: Stage::Authenticating };
    let broken = |cause| LinkError::Broken { host: host.to_owned(), stage: Stage::Authenticating, cause };
    let rejected = |tried| LinkError::Authentication { host: host.to_owned(), user: user.to_owned(), tried };
    match credential {
        Credential::File(path) => {
            match judge(session.run(deadline, |s| s.userauth_pubkey_file(user, None, path, None))) {
                Attempt::Accepted => Ok(()),
                Attempt::Rejected => Err(rejected(path.display().to_string())),
                Attempt::Broken(cause) => Err(broken(cause)),
                Attempt::Unusable(cause) => Err(LinkError::IdentityForeign { path: path.clone(), cause }),
                Attempt::Deadline => Err(late()),
            }
        }
        Credential::Agent(socket) => match through_agent(session, socket, user, deadline)? {
            (Attempt::Accepted, _) => Ok(()),
            (Attempt::Deadline, _) => Err(late()),
            (Attempt::Broken(cause), 0) => Err(broken(cause)),
            // sshd hangs up after MaxAuthTries keys.
            (_, tried) => {
                Err(rejected(format!("any of the {tried} keys that the agent at {} offers", socket.display())))
            }
        },
    }
}

/// Asks the agent for all of its keys and tries them in turn; says how the last one fared and how many were rejected.
///
/// libssh2 talks to the agent without any deadline, and an agent may wait for a person to confirm: so this runs on a
/// thread that is left behind if need be.
fn through_agent(
    session: &Bounded,
    socket: &Path,
    user: &str,
    deadline: Deadline,
) -> Result<(Attempt, usize), LinkError> {
    let failed = |cause: String| LinkError::Agent { socket: socket.to_owned(), cause };
    let (sender, receiver) = mpsc::sync_channel(1);
    let (session, path, user) = (session.clone(), socket.to_owned(), user.to_owned());
    let work = move || {
        // Nobody listens any more when the deadline has passed.
        let _ = sender.send(try_all(&session, &path, &user, deadline));
    };
    thread::Builder::new().name("ssh agent".to_owned()).spawn(work).map_err(|error| failed(error.to_string()))?;
    match receiver.recv_timeout(deadline.left()) {
        Ok(result) => result.map_err(|error| failed(escaped(error.message()))),
        Err(RecvTimeoutError::Timeout) => Ok((Attempt::Deadline, 0)),
        Err(RecvTimeoutError::Disconnected) => Err(failed("its thread ended".to_owned())),
    }
}

fn try_all(session: &Bounded, socket: &Path, user: &str, deadline: Deadline) -> Result<(Attempt, usize), ssh2::Error> {
    let mut agent = session.session().agent()?;
    agent.set_identity_path(socket)?;
    agent.connect()?;
    agent.list_identities()?;
    let mut rejected = 0;
    let keys: Vec<PublicKey> = agent.identities()?;
    for key in keys {
        match judge(session.run(deadline, |_| agent.userauth(user, &key))) {
            // A key that the agent cannot sign with says nothing about the next.
            Attempt::Rejected | Attempt::Unusable(_) => rejected += 1,
            settled => return Ok((settled, rejected)),
        }
    }
    Ok((Attempt::Rejected, rejected))
}

/// libssh2 has one number for "the signature is wrong" and "nobody answered"; only its words tell them apart.
fn judge(result: Result<(), Halt>) -> Attempt {
    match result {
        Ok(()) => Attempt::Accepted,
        Err(Halt::Deadline) => Attempt::Deadline,
        Err(Halt::Ssh(error)) => {
            let said = error.message();
            match number(&error) {
                AUTHENTICATION_FAILED => Attempt::Rejected,
                PUBLICKEY_UNVERIFIED if said.starts_with("Invalid signature") => Attempt::Rejected,
                PUBLICKEY_UNVERIFIED if said.starts_with("Waiting") => Attempt::Broken(escaped(said)),
                _ => Attempt::Unusable(escaped(said)),
            }
        }
    }
}
