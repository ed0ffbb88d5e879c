//! What makes a server a peer, and what ends that. What is there already stays; done twice, the second time changes nothing.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::model::config;
use crate::model::deadline::Deadline;
use crate::model::names::{NodeName, UserName};
use crate::model::public_key::PublicKey;
use crate::peer::authorized_keys::AuthorizedKeys;
use crate::peer::found;
use crate::peer::journal::Journal;
use crate::peer::login::Login;
use crate::peer::node::Node;
use crate::sys::addresses;
use crate::wire::enrolment::{Enrolled, Enrolment};

/// A conversation under way is waited for.
const LOCK: Duration = Duration::from_secs(30);
const DEFAULT_STATE: &str = "/var/lib/certcast";

/// Does what is asked.
pub fn enrol(config: &Path, request: &Enrolment) -> Result<Enrolled> {
    match request {
        Enrolment::Join { name, key, user, dry_run } => join(config, name, key, user.as_ref(), *dry_run),
        Enrolment::Leave { key, user } => leave(config, key, user.as_ref()),
    }
}

fn join(config: &Path, name: &NodeName, key: &PublicKey, user: Option<&UserName>, dry_run: bool) -> Result<Enrolled> {
    let mut enrolled = Enrolled { addresses: addresses::global()?, ..Enrolled::default() };
    let login = user.map(Login::new).transpose()?;
    // What is wrong with it is found before anything is written.
    keys(login.as_ref())?.letting_in(key)?;
    configure(config, name, dry_run, &mut enrolled)?;
    if let Some(login) = &login {
        login.make(dry_run, &mut enrolled.done)?;
    }
    // Read again: that took its time, and somebody may have written to it.
    let keys = keys(login.as_ref())?;
    if let Some(text) = keys.letting_in(key)? {
        let (call, path) = (keys.call(), keys.path().display());
        enrolled.done.push(format!("let the primary's key call '{call}' and nothing else: {path}"));
        if !dry_run {
            keys.write(&text)?;
        }
    }
    Ok(enrolled)
}

fn keys(login: Option<&Login<'_>>) -> Result<AuthorizedKeys> {
    login.map_or_else(AuthorizedKeys::read, Login::keys)
}

fn configure(path: &Path, name: &NodeName, dry_run: bool, enrolled: &mut Enrolled) -> Result<()> {
    if let Some(found) = found::configure(path, name, "", dry_run)? {
        enrolled.done.push(format!("wrote {}: {}", path.display(), found.summary));
        enrolled.notes.extend(found.notes);
    } else if !config::load(path)?.peers.is_empty() {
        bail!("{} there has peers of its own: that server is a primary; set it up by hand", path.display());
    }
    Ok(())
}

/// Certificates stay: services use them.
fn leave(path: &Path, key: &PublicKey, user: Option<&UserName>) -> Result<Enrolled> {
    let mut enrolled = Enrolled::default();
    let login = user.map(Login::new).transpose()?;
    let node = if found::is_there(path)? { Some(Node::open(config::load(path)?, false)?) } else { None };
    let _held = match &node {
        Some(node) => Some(node.lock(Deadline::after(LOCK)).map_err(|halt| anyhow::anyhow!("{}", halt.0))?),
        None => None,
    };
    if node.as_ref().is_some_and(|node| Journal::is_there(node.state())) {
        bail!(
            "a transaction is open there, and without certcast nobody would end it: run 'certcast recover' there first"
        );
    }
    let keys = keys(login.as_ref())?;
    match keys.shutting_out(key) {
        Some(text) => {
            keys.write(&text)?;
            enrolled.done.push(format!("took the primary's key out of {}", keys.path().display()));
        }
        None => enrolled.notes.push(format!("{} did not have the primary's key", keys.path().display())),
    }
    if let Some(login) = login.filter(|_| !keys.has_others(key)) {
        login.remove(&mut enrolled.done)?;
    }
    enrolled.is_used = keys.has_others(key)
        || keys.others_come()?
        || node.as_ref().is_some_and(|node| !node.config().peers.is_empty());
    if enrolled.is_used {
        enrolled.notes.push("another primary comes here, or this is one: all else of certcast stays".into());
        return Ok(enrolled);
    }
    let Some(node) = node else { return Ok(enrolled) };
    if node.state() == Path::new(DEFAULT_STATE) {
        fs::remove_dir_all(node.state()).with_context(|| format!("cannot remove {DEFAULT_STATE}"))?;
        enrolled.done.push(format!("removed {DEFAULT_STATE}"));
    } else {
        // Whoever named it may keep more there.
        enrolled.notes.push(format!("{} stays: remove it when nothing else is in it", node.state().display()));
    }
    fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
    enrolled.done.push(format!("removed {}", path.display()));
    if let Some(directory) = path.parent() {
        // Where something else is in it, it stays.
        _ = fs::remove_dir(directory);
    }
    enrolled.notes.push(format!("the certificates in {} stay: services use them", node.letsencrypt().path().display()));
    Ok(enrolled)
}
