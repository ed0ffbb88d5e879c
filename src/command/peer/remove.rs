//! `peer remove`: a server is no peer any more.

use std::path::Path;

use anyhow::Result;

use crate::cli::PeerRemove;
use crate::command::failure::Failure;
use crate::command::report;
use crate::model::config::{Config, Peer};
use crate::model::escape::escaped;
use crate::model::exit_code::ExitCode;
use crate::primary::visit::{PROGRAM, Visit};
use crate::primary::{own_key, register};
use crate::wire::enrolment::Enrolment;

/// The server first: as long as something of ours is there, the primary knows it.
pub fn run(config_path: &Path, arguments: &PeerRemove) -> Result<ExitCode, Failure> {
    let (_held, config) = super::lock(config_path)?;
    let peer = super::find(&config, &arguments.name)?;
    if !arguments.gone {
        take_leave(&config, peer)?;
    }
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
