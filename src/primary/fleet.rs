//! All nodes of a site: the primary's own, reached without ssh, and the peers.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::model::config::{Config, Peer, Transport};
use crate::model::deadline::Deadline;
use crate::model::names::{Identifier, LineageName, NodeName};
use crate::primary::link::{Destination, Route};
use crate::sys::addresses;

/// A node thread only waits for its peer; 200 of them should cost next to nothing.
const STACK: usize = 512 * 1024;

/// One node, and how to reach it.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its name.
    pub name: NodeName,
    /// Where the public reaches it.
    pub addresses: Vec<IpAddr>,
    /// Whether they are merely those of this machine's interfaces, of which the public may reach some.
    pub addresses_are_guessed: bool,
    reach: Reach,
    wanted: Option<Peer>,
}

#[derive(Clone, Debug)]
enum Reach {
    Ssh2 { to: Destination, identity: PathBuf, known_hosts: PathBuf, connect_timeout: Duration },
    SystemSsh { to: Destination, connect_timeout: Duration },
    Local { argv: Vec<String> },
}

impl Member {
    /// Whether it is this node.
    pub fn is_own(&self) -> bool {
        self.wanted.is_none()
    }

    /// How to reach it.
    pub fn route(&self) -> Route<'_> {
        match &self.reach {
            Reach::Ssh2 { to, identity, known_hosts, connect_timeout } => {
                Route::Ssh2 { to, identity, known_hosts, connect_timeout: *connect_timeout }
            }
            Reach::SystemSsh { to, connect_timeout } => Route::SystemSsh { to, connect_timeout: *connect_timeout },
            Reach::Local { argv } => Route::Local { argv },
        }
    }

    /// The host of its sshd; none when it is reached without ssh.
    pub fn host(&self) -> Option<&str> {
        match &self.reach {
            Reach::Ssh2 { to, .. } | Reach::SystemSsh { to, .. } => Some(&to.host),
            Reach::Local { .. } => None,
        }
    }

    /// Whether a lineage, by its name on the primary, is meant for this node.
    pub fn wants(&self, lineage: &LineageName) -> bool {
        self.wanted.as_ref().is_none_or(|peer| peer.wants(lineage))
    }

    /// Whether the CA may ask this node for the name, so that it gets its challenges.
    pub fn answers_for(&self, name: &Identifier) -> bool {
        self.wanted.as_ref().is_none_or(|peer| peer.answers_for(name))
    }

    /// Whether it may for one of them at least.
    pub fn answers_for_any(&self, names: &[Identifier]) -> bool {
        names.iter().any(|name| self.answers_for(name))
    }
}

/// The site.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// The node this program runs on.
    pub own: Member,
    /// All others.
    pub peers: Vec<Member>,
}

impl Fleet {
    /// The site that a configuration describes.
    pub fn of(config: &Config, path: &Path) -> io::Result<Fleet> {
        let program = std::env::current_exe()?.to_string_lossy().into_owned();
        let receive = |role: &str, config: &Path| {
            let config = config.to_string_lossy().into_owned();
            vec![program.clone(), "--config".into(), config, "receive".into(), "--role".into(), role.into()]
        };
        let own_addresses = match config.node.addresses.as_slice() {
            [] => addresses::global()?,
            given => given.to_vec(),
        };
        let own = Member {
            name: config.node.name.clone(),
            addresses: own_addresses,
            addresses_are_guessed: config.node.addresses.is_empty(),
            reach: Reach::Local { argv: receive("own", path) },
            wanted: None,
        };
        let member = |peer: &Peer| {
            let to = || Destination { user: peer.ssh.user.clone(), host: peer.ssh.host.clone(), port: peer.ssh.port };
            let reach = match peer.transport {
                Transport::Ssh2 => Reach::Ssh2 {
                    to: to(),
                    identity: config.ssh.identity.clone(),
                    known_hosts: config.ssh.known_hosts.clone(),
                    connect_timeout: config.ssh.connect_timeout,
                },
                Transport::SystemSsh => Reach::SystemSsh { to: to(), connect_timeout: config.ssh.connect_timeout },
                Transport::Local if peer.receive.is_empty() => {
                    Reach::Local { argv: receive("deploy", peer.config.as_deref().unwrap_or(path)) }
                }
                Transport::Local => Reach::Local { argv: peer.receive.clone() },
            };
            Member {
                name: peer.name.clone(),
                addresses: peer.addresses.clone(),
                addresses_are_guessed: false,
                reach,
                wanted: Some(peer.clone()),
            }
        };
        Ok(Fleet { own, peers: config.peers.iter().map(member).collect() })
    }

    /// All nodes, the own one first.
    pub fn all(&self) -> impl Iterator<Item = &Member> {
        std::iter::once(&self.own).chain(&self.peers)
    }

    /// The same site for a certbot that was run with another directory (its --config-dir).
    #[must_use]
    pub fn with_letsencrypt(mut self, letsencrypt: &Path) -> Fleet {
        if let Reach::Local { argv } = &mut self.own.reach {
            argv.extend(["--letsencrypt".into(), letsencrypt.to_string_lossy().into_owned()]);
        }
        self
    }
}

/// Does the same for many nodes at once, a thread each, and returns the results in their order.
pub fn for_each<T: Send, R: Send>(items: Vec<T>, act: impl Fn(T) -> R + Sync) -> io::Result<Vec<R>> {
    thread::scope(|scope| {
        let act = &act;
        let threads: Vec<_> = items
            .into_iter()
            .map(|item| thread::Builder::new().stack_size(STACK).spawn_scoped(scope, move || act(item)))
            .collect::<io::Result<_>>()?;
        Ok(threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect())
    })
}

/// A number of places: so many handshakes at a time.
#[derive(Debug)]
pub struct Places {
    all: usize,
    free: Mutex<usize>,
    freed: Condvar,
    /// Who has not had a place.
    to_come: AtomicUsize,
}

impl Places {
    /// So many, for so many who come.
    pub fn new(places: usize, comers: usize) -> Places {
        Places { all: places, free: Mutex::new(places), freed: Condvar::new(), to_come: AtomicUsize::new(comers) }
    }

    /// Does something while holding a place, by a part of the time that is left: one that says nothing must not use up the
    /// time of all who wait for its place.
    pub fn share<R>(&self, deadline: Deadline, act: impl FnOnce(Deadline) -> R) -> R {
        self.with(|| {
            let waves = self.to_come().div_ceil(self.all).max(1);
            act(deadline.at_most(deadline.left() / u32::try_from(waves).unwrap_or(u32::MAX)))
        })
    }

    /// One who was to come does not: the others have more time.
    pub fn one_less(&self) {
        self.to_come();
    }

    /// How many have not had a place, with the one who has it now.
    fn to_come(&self) -> usize {
        let one_less = |to_come: usize| to_come.checked_sub(1);
        self.to_come.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).unwrap_or_default()
    }

    /// Does something while holding a place. What it does has a deadline of its own.
    pub fn with<R>(&self, act: impl FnOnce() -> R) -> R {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self.freed.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        drop(free);
        let result = act();
        *self.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.freed.notify_one();
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_a_place_that_others_wait_for_has_a_part_of_the_time_and_the_last_one_has_all_of_it() {
        let hour = Duration::from_secs(3600);
        let deadline = Deadline::after(hour);
        let minutes = |places: &Places| places.share(deadline, |turn| (turn.left().as_secs() + 30) / 60);
        let places = Places::new(2, 5);
        assert_eq!([(); 5].map(|()| minutes(&places)), [20, 30, 30, 60, 60]);
        assert_eq!(minutes(&places), 60, "one more than was said");
        let places = Places::new(1, 3);
        places.one_less();
        assert_eq!([minutes(&places), minutes(&places)], [30, 60]);
    }
}
