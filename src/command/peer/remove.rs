//! `peer remove`: a server is no peer any more.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::cli::PeerRemove;
use crate::command::failure::Failure;
use crate::command::progress::during;
use crate::command::report;
use crate::model::config::{Config, Peer};
use crate::model::deadline::Deadline;
use crate::model::escape::escaped;
use crate::model::exit_code::ExitCode;
use crate::primary::lineage::{self, Lineage};
use crate::primary::visit::{PROGRAM, Visit};
use crate::primary::{dns, own_key, register};
use crate::wire::enrolment::Enrolment;

const LOOK: Duration = Duration::from_secs(10);
/// A sample says enough.
const NAMES_AT_MOST: usize = 100;

/// The server first: as long as something of ours is there, the primary knows it.
pub fn run(config_path: &Path, arguments: &PeerRemove) -> Result<ExitCode, Failure> {
    let (_held, config) = super::lock(config_path)?;
    let peer = super::find(&config, &arguments.name)?;
    if !arguments.gone {
        take_leave(&config, peer)?;
    }
    warn_of_dns(&config, peer);
    let is_forgotten = register::remove(config_path, &config, peer)?;
    report::line(&format!("{}  removed its [[peer]] from {}", peer.name, config_path.display()));
    if is_forgotten {
        report::line(&format!("{}  removed its host key", peer.name));
    } else {
        let file = config.ssh.known_hosts.display();
        report::warn(&format!(
            "{}: {file} has its host key in a line with other hosts, or hashed: remove it there",
            peer.name
        ));
    }
    Ok(ExitCode::Done)
}

/// A CA goes on asking an address that DNS has, and finds no challenge there any more.
fn warn_of_dns(config: &Config, peer: &Peer) {
    let now = jiff::Timestamp::now().as_second();
    let tree = &config.node.letsencrypt;
    let lineages = lineage::all(tree).unwrap_or_default();
    let wanted = lineages.iter().filter(|name| config.deploy.wants(name));
    let lineages: Vec<Lineage> = wanted.filter_map(|name| Lineage::read(tree, name, now).ok()).collect();
    let names = lineages.iter().flat_map(|lineage| lineage.bundle.names()).filter(|name| !name.is_wildcard());
    let names: Vec<_> = names.take(NAMES_AT_MOST).cloned().collect();
    let records = during("asking DNS", || dns::lookup_all(&names, Deadline::after(LOOK)));
    let is_its = |address: &&IpAddr| peer.addresses.contains(address) || peer.ssh.address() == Some(**address);
    let listed =
        names.iter().zip(&records).find_map(|(name, found)| Some((name, found.as_ref().ok()?.iter().find(is_its)?)));
    if let Some((name, address)) = listed {
        report::warn(&format!(
            "DNS lists {address} for {name} still: the CA may ask there, and the renewal fails; take it out of DNS now"
        ));
    }
}

fn take_leave(config: &Config, peer: &Peer) -> Result<()> {
    let (key, user) = (own_key::public(&config.ssh.identity)?, super::login(peer)?);
    let visit = Visit { to: &super::destination(peer)?, known_hosts: &config.ssh.known_hosts };
    // Without the program nobody would take the key out.
    if visit.look()?.program.is_none() {
        let (program, digest) = super::this_program()?;
        super::install(&visit, &program, &digest)?;
    }
    let enrolled = visit.enrol(&Enrolment::Leave { key, user })?;
    enrolled.done.iter().for_each(|what| report::line(&format!("{}  {}", peer.name, escaped(what))));
    enrolled.notes.iter().for_each(|note| report::warn(&format!("{}: {}", peer.name, escaped(note))));
    if !enrolled.is_used {
        visit.uninstall()?;
        report::line(&format!("{}  removed {PROGRAM}", peer.name));
    }
    Ok(())
}
