//! `peer upgrade`: this program, on peers that have another.

use std::path::Path;

use anyhow::{Result, bail};

use crate::command::failure::Failure;
use crate::command::report;
use crate::model::config::{self, Config, Peer};
use crate::model::exit_code::ExitCode;
use crate::model::names::NodeName;
use crate::primary::visit::{PROGRAM, Visit};

/// One after the other; one that fails does not hold the others up.
pub fn run(config_path: &Path, names: &[NodeName]) -> Result<ExitCode, Failure> {
    let config = config::load(config_path)?;
    let chosen: Vec<&Peer> = match names {
        [] => config.peers.iter().collect(),
        names => names.iter().map(|name| super::find(&config, name)).collect::<Result<_, _>>()?,
    };
    let (program, digest) = super::this_program()?;
    let mut well = 0;
    for peer in &chosen {
        match upgrade(&config, config_path, peer, &program, &digest) {
            Ok(()) => well += 1,
            Err(error) => report::complain(&format!("{}: {error:#}", peer.name)),
        }
    }
    Ok(ExitCode::of(chosen.len(), well, false))
}

fn upgrade(config: &Config, config_path: &Path, peer: &Peer, program: &[u8], digest: &str) -> Result<()> {
    let visit = Visit { to: &super::destination(peer)?, known_hosts: &config.ssh.known_hosts };
    let own = env!("CARGO_PKG_VERSION");
    if visit.look()?.program.as_deref() == Some(digest) {
        report::line(&format!("{}  has this program already", peer.name));
    } else {
        super::install(&visit, program, digest)?;
        report::line(&format!("{}  copied certcast {own} to {PROGRAM}", peer.name));
    }
    // A package's program is elsewhere, and a line of authorized_keys may name that.
    let answering = super::hello(config, config_path, &peer.name)?;
    if answering != own {
        bail!(
            "it is certcast {answering} that answers, not {own}: its line in authorized_keys names another program than {PROGRAM}"
        );
    }
    Ok(())
}
