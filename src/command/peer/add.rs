//! `peer add`: a server becomes a peer, over the person's own ssh access.

use std::io::{self, BufRead, IsTerminal, Read};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::cli::{PeerAdd, Resync, WishArguments};
use crate::command::failure::Failure;
use crate::command::{report, resync};
use crate::model::config::{self, Config};
use crate::model::deadline::Deadline;
use crate::model::escape::escaped;
use crate::model::exit_code::ExitCode;
use crate::model::names::NodeName;
use crate::primary::link::{self, Destination, LinkError, OfferedKey, Route};
use crate::primary::visit::{PROGRAM, Visit};
use crate::primary::{own_key, register};
use crate::wire::enrolment::Enrolment;

const LOOK: Duration = Duration::from_secs(30);

/// Makes it one, and says each thing that was done; then it gets all bundles. Killed anywhere, or failed, the next call does
/// the rest; done twice, the second time changes nothing.
pub fn run(config_path: &Path, arguments: &PeerAdd) -> Result<ExitCode, Failure> {
    let config = config::load(config_path)?;
    let name = introduce(config_path, &config, arguments)?;
    let Some(name) = name.filter(|_| !arguments.dry_run) else { return Ok(ExitCode::Done) };
    let config = config::load(config_path)?;
    super::hello(&config, config_path, &name)?;
    let wishes = WishArguments { dry_run: false, force: false, adopt: false };
    resync::run(config_path, &Resync { lineages: Vec::new(), peers: vec![name], wishes, json: false })
}

fn introduce(config_path: &Path, config: &Config, arguments: &PeerAdd) -> Result<Option<NodeName>> {
    let ssh = &arguments.to;
    let known = config.peers.iter().find(|peer| peer.ssh == *ssh).map(|peer| peer.name.clone());
    let to = super::destination(ssh);
    let prefix = if arguments.dry_run { "not done, for --dry-run: " } else { "" };
    let done = |what: &str| report::line(&format!("{}  {prefix}{what}", ssh.host));
    let identity = &config.ssh.identity;
    if !identity.try_exists()? {
        if arguments.dry_run {
            bail!(
                "there is no key {} yet, and without one nothing can be looked at: run 'certcast init'",
                identity.display()
            );
        }
        own_key::make(identity)?;
        done(&format!("made a key for certcast: {}", identity.display()));
    }
    let key = own_key::public(identity)?;
    if let Some(offered) = unknown_host_key(config, &to)? {
        believe(&offered, arguments)?;
        done(&format!("pinned its host key {} in {}", offered.fingerprint, offered.known_hosts.display()));
        if arguments.dry_run {
            done("look at the server, copy this program, write its configuration, let the key in, add a [[peer]]");
            return Ok(None);
        }
        register::pin(&offered)?;
    }
    let visit = Visit { to: &to, known_hosts: &config.ssh.known_hosts };
    let seen = visit.look()?;
    let name = known
        .clone()
        .or_else(|| arguments.name.clone())
        .or(seen.name)
        .context("its host name cannot be a node's name: give --name")?;
    if known.is_none() && (name == config.node.name || config.peers.iter().any(|peer| peer.name == name)) {
        bail!("another node is called {name}: give --name");
    }
    let (program, digest) = super::this_program()?;
    if seen.program.as_ref() != Some(&digest) {
        if !arguments.dry_run {
            visit.install(&program, &digest)?;
        }
        done(&format!("copied certcast {} to {PROGRAM}", env!("CARGO_PKG_VERSION")));
    }
    let enrolled = if arguments.dry_run && seen.program.as_ref() != Some(&digest) {
        done("write its configuration, let the key in");
        None
    } else {
        let enrolled = visit.enrol(&Enrolment::Join { name: name.clone(), key, dry_run: arguments.dry_run })?;
        enrolled.done.iter().for_each(|what| done(&escaped(what)));
        enrolled.notes.iter().for_each(|note| report::warn(&format!("{}: {}", ssh.host, escaped(note))));
        Some(enrolled)
    };
    if known.is_none() {
        if !arguments.dry_run {
            register::add(config_path, &name, ssh, &enrolled.map(|it| it.addresses).unwrap_or_default())?;
        }
        done(&format!("added [[peer]] {name} to {}", config_path.display()));
    }
    Ok(Some(name))
}

/// The host key that the server shows, unless it is pinned already. One that is another than the pinned one is an error.
fn unknown_host_key(config: &Config, to: &Destination) -> Result<Option<OfferedKey>> {
    let (identity, known_hosts) = (&config.ssh.identity, &config.ssh.known_hosts);
    let route = Route::Ssh2 { to, identity, known_hosts, connect_timeout: config.ssh.connect_timeout };
    match link::open(&route, Deadline::after(LOOK)) {
        // Whether the key is let in already, or not yet, its host key was believed.
        Ok(_) | Err(LinkError::Authentication { .. }) => Ok(None),
        Err(LinkError::HostKeyUnknown(offered)) => Ok(Some(*offered)),
        Err(error) => {
            let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
            Err(anyhow!("{:#}{hint}", anyhow::Error::from(error)))
        }
    }
}

/// A person says that this is the server, here or on the command line. Nothing is trusted on first use.
fn believe(offered: &OfferedKey, arguments: &PeerAdd) -> Result<()> {
    let OfferedKey { host, kind, fingerprint, .. } = offered;
    let look = "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub";
    match &arguments.host_key {
        Some(wanted) if wanted == fingerprint => return Ok(()),
        Some(wanted) => bail!("{host} shows the host key {fingerprint} ({kind}), not {wanted}: nothing was changed"),
        None if arguments.dry_run => return Ok(()),
        None if !io::stdin().is_terminal() => bail!(
            "{host} shows the host key {fingerprint} ({kind}): if `{look}` on the server itself says the same, give --host-key {fingerprint}"
        ),
        None => {}
    }
    report::line(&format!(
        "{host} shows the host key {fingerprint} ({kind}). On the server itself `{look}` shows its own."
    ));
    report::line("Is it the same? Type 'yes':");
    let mut answer = String::new();
    io::stdin().lock().take(100).read_line(&mut answer)?;
    if answer.trim() != "yes" {
        bail!("not confirmed: nothing was changed");
    }
    Ok(())
}
