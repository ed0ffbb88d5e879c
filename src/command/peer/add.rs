//! `peer add`: a server becomes a peer, over the person's own ssh access.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::host_key;
use crate::cli::{PeerAdd, Resync, WishArguments};
use crate::command::failure::Failure;
use crate::command::progress::during;
use crate::command::{report, resync};
use crate::model::config::{Config, Peer, SshTarget};
use crate::model::escape::escaped;
use crate::model::exit_code::ExitCode;
use crate::model::names::{NodeName, UserName};
use crate::primary::link::Destination;
use crate::primary::visit::{PROGRAM, Visit};
use crate::primary::{lineage, own_key, register};
use crate::wire::enrolment::Enrolment;

/// Makes it one, and says each thing that was done; then it gets all bundles. Killed anywhere, or failed, the next call does
/// the rest; done twice, the second time changes nothing.
pub fn run(config_path: &Path, arguments: &PeerAdd) -> Result<ExitCode, Failure> {
    let name = {
        let (_held, config) = super::lock(config_path)?;
        introduce(config_path, &config, arguments)?
    };
    let Some(name) = name else { return Ok(ExitCode::Done) };
    let wishes = WishArguments { dry_run: false, force: false, adopt: false };
    resync::run(config_path, &Resync { lineages: Vec::new(), peers: vec![name], wishes, json: false })
}

/// The new peer's name; none where nothing was to be done.
fn introduce(config_path: &Path, config: &Config, arguments: &PeerAdd) -> Result<Option<NodeName>> {
    let (ssh, dry_run) = (&arguments.to, arguments.dry_run);
    if ssh.user.as_deref().is_some_and(|user| user != "root") {
        bail!("only root may write what is to be written there: give root@{}, or set the peer up by hand", ssh.host);
    }
    let to = Destination { user: Some("root".into()), host: ssh.host.clone(), port: ssh.port };
    let known = config.peers.iter().find(|peer| peer.ssh.is_same_server(ssh));
    let user = match known {
        Some(peer) => as_it_is_noted(peer, arguments)?,
        None => arguments.sudo_user.clone(),
    };
    let prefix = if dry_run { "not done, for --dry-run: " } else { "" };
    let done = |what: &str| report::line(&format!("{}  {prefix}{what}", ssh.host));
    if dry_run && !config.ssh.identity.try_exists()? {
        let identity = config.ssh.identity.display();
        bail!("there is no key {identity} yet, and without one nothing can be looked at: run 'certcast init'");
    }
    if own_key::make(config)? {
        done(&format!("made a key for certcast: {}", config.ssh.identity.display()));
    }
    let key = own_key::public(&config.ssh.identity)?;
    if let Some(offered) = host_key::unknown(config, &to, arguments)? {
        done(&format!("pinned its host key {} in {}", offered.fingerprint, offered.known_hosts.display()));
        if dry_run {
            done("look at the server, copy this program, write its configuration, let the key in, add a [[peer]]");
            say_what_would_be_sent(config, arguments, known, done)?;
            return Ok(None);
        }
        register::pin(&offered)?;
    }
    let visit = Visit { to: &to, known_hosts: &config.ssh.known_hosts };
    let seen = during(&format!("looking at {}", ssh.host), || visit.look())?;
    let name = known.map(|peer| peer.name.clone()).or_else(|| arguments.name.clone()).or(seen.name);
    let name = name.context("its host name cannot be a node's name: give --name")?;
    if known.is_none() && (name == config.node.name || config.peers.iter().any(|peer| peer.name == name)) {
        bail!(
            "another node is called {name}: if it is this very server, its ssh = is another way to it; else give --name"
        );
    }
    let (program, digest) = super::this_program()?;
    let has_it = seen.program.as_ref() == Some(&digest);
    if !has_it {
        if !dry_run {
            super::install(&visit, &program, &digest)?;
        }
        done(&format!("copied certcast {} to {PROGRAM}", env!("CARGO_PKG_VERSION")));
    }
    if dry_run && !has_it {
        done("write its configuration, let the key in, add a [[peer]]");
        say_what_would_be_sent(config, arguments, known, done)?;
        return Ok(None);
    }
    let request = Enrolment::Join { name: name.clone(), key, user: user.clone(), dry_run };
    let enrolled = during(&format!("configuring {}", ssh.host), || visit.enrol(&request))?;
    enrolled.done.iter().for_each(|what| done(&escaped(what)));
    enrolled.notes.iter().for_each(|note| report::warn(&format!("{}: {}", ssh.host, escaped(note))));
    if known.is_some() {
        super::hello(config, config_path, &name)?;
    } else {
        let ssh = SshTarget { user: user.map_or_else(|| ssh.user.clone(), |user| Some(user.into())), ..ssh.clone() };
        let entry = register::entry(config_path, &name, &ssh, &enrolled.addresses, &arguments.lineages)?;
        if !dry_run {
            // As long as it does not answer, no hook is to wait for it.
            super::hello(&entry.config, config_path, &name)?;
            register::add(config_path, &entry)?;
        }
        let addresses: Vec<String> = entry.addresses.iter().map(ToString::to_string).collect();
        let addresses =
            if addresses.is_empty() { String::new() } else { format!(", reached at {}", addresses.join(", ")) };
        done(&format!("added [[peer]] {name} to {}{addresses}", config_path.display()));
    }
    if dry_run {
        say_what_would_be_sent(config, arguments, known, done)?;
        return Ok(None);
    }
    Ok(Some(name))
}

/// As whom certcast comes to it. What was asked for and is noted otherwise is not passed over.
fn as_it_is_noted(peer: &Peer, arguments: &PeerAdd) -> Result<Option<UserName>> {
    super::destination(peer)?;
    let user = super::login(peer)?;
    let others = [
        (arguments.name.as_ref().is_some_and(|name| *name != peer.name), "name"),
        (!arguments.lineages.is_empty() && arguments.lineages != peer.lineages, "lineages"),
        (arguments.sudo_user.is_some() && arguments.sudo_user != user, "user"),
    ];
    if let Some((_, other)) = others.iter().find(|(is_other, _)| *is_other) {
        let name = &peer.name;
        bail!(
            "it is the peer {name} already, with another {other}: change its [[peer]], or run 'certcast peer remove {name}' first"
        );
    }
    Ok(user)
}

/// With its private key.
fn say_what_would_be_sent(
    config: &Config,
    arguments: &PeerAdd,
    known: Option<&Peer>,
    done: impl Fn(&str),
) -> Result<()> {
    let is_wanted = |name: &_| match known {
        Some(peer) => peer.wants(name),
        None => arguments.lineages.is_empty() || arguments.lineages.iter().any(|pattern| pattern.matches(name)),
    };
    let all = lineage::all(&config.node.letsencrypt)?;
    for name in all.iter().filter(|name| config.deploy.wants(name) && is_wanted(name)) {
        done(&format!("sent {name}, with its private key"));
    }
    Ok(())
}
