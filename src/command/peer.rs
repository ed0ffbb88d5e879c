//! `peer add`, `peer upgrade` and `peer remove`: what is done to a server over the person's own ssh access.

mod add;
mod host_key;
mod remove;
mod upgrade;

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow, bail};

use crate::cli::Peer as Verb;
use crate::command::failure::Failure;
use crate::command::progress::during;
use crate::command::report;
use crate::model::config::{self, Config, Peer, Transport};
use crate::model::deadline::Deadline;
use crate::model::digest::Digest;
use crate::model::exit_code::ExitCode;
use crate::model::names::{NodeName, UserName};
use crate::primary::conversation::Conversation;
use crate::primary::fleet::Fleet;
use crate::primary::link::Destination;
use crate::primary::visit::Visit;
use crate::sys::dir::make_state;
use crate::sys::lock::Lock;

const HELLO: Duration = Duration::from_secs(30);
const LOCK: Duration = Duration::from_secs(10);
const PROGRAM_AT_MOST: u64 = 256 * 1024 * 1024;

/// Does what the verb says.
pub fn run(config_path: &Path, verb: &Verb) -> Result<ExitCode, Failure> {
    match verb {
        Verb::Add(arguments) => add::run(config_path, arguments),
        Verb::Upgrade { names } => upgrade::run(config_path, names),
        Verb::Remove(arguments) => remove::run(config_path, arguments),
    }
}

/// Where a person is root on a peer.
fn destination(peer: &Peer) -> Result<Destination> {
    if peer.transport != Transport::Ssh2 {
        bail!("certcast reaches {} by another way (transport =): do it by hand, as docs/operations.md says", peer.name);
    }
    Ok(Destination { user: Some("root".into()), host: peer.ssh.host.clone(), port: peer.ssh.port })
}

/// As whom certcast comes to a peer, where that is not root.
fn login(peer: &Peer) -> Result<Option<UserName>> {
    let user = peer.ssh.user.as_deref().filter(|user| *user != "root");
    Ok(user.map(str::parse).transpose()?)
}

/// Two at once would write each other's changes to the configuration away; so it is read when nobody changes it any more.
fn lock(config_path: &Path) -> Result<(Lock, Config), Failure> {
    let state = config::load(config_path)?.node.state;
    make_state(&state)?;
    let lock = match Lock::acquire(&state.join("peers.lock"), Deadline::after(LOCK)) {
        Err(error) if error.kind() == ErrorKind::TimedOut => {
            return Err(Error::from(error).context("another 'certcast peer' is at work here").into());
        }
        lock => lock?,
    };
    Ok((lock, config::load(config_path)?))
}

fn find<'c>(config: &'c Config, name: &NodeName) -> Result<&'c Peer, Failure> {
    let known = || config.peers.iter().map(|peer| peer.name.as_str()).collect::<Vec<_>>().join(", ");
    let peer = config.peers.iter().find(|peer| peer.name == *name);
    peer.ok_or_else(|| Failure::usage(anyhow!("{name}: no such peer; the configuration has {}", known())))
}

/// This very program, and its digest.
fn this_program() -> Result<(Vec<u8>, String)> {
    let mut program = Vec::new();
    // By /proc, so that it is what runs, even where the file was replaced since.
    let file = File::open("/proc/self/exe").context("cannot read this program itself")?;
    file.take(PROGRAM_AT_MOST).read_to_end(&mut program)?;
    let digest = Digest::of(&program).to_string();
    Ok((program, digest))
}

/// Puts this very program there.
fn install(visit: &Visit<'_>, program: &[u8], digest: &str) -> Result<()> {
    let what = format!("copying certcast, {} MiB, to {}", program.len() >> 20, visit.to.host);
    during(&what, || visit.install(program, digest))
}

/// Proves that a peer answers through the restricted key, and gives the version that does.
fn hello(config: &Config, config_path: &Path, name: &NodeName) -> Result<String> {
    let fleet = Fleet::of(config, config_path)?;
    let member =
        fleet.peers.iter().find(|peer| peer.name == *name).context("the new [[peer]] is not in the configuration")?;
    let greet = || Conversation::open(&config.node.name, member, &[], Deadline::after(HELLO));
    let conversation = during(&format!("greeting {name}"), greet);
    let conversation = conversation.map_err(|error| anyhow!("{name}: {}", error.explained()))?;
    report::line(&format!("{name}  answers through its restricted key: certcast {}", conversation.version()));
    Ok(conversation.version().to_owned())
}
