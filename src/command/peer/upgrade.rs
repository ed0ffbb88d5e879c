//! `peer upgrade`: this program, on peers that have another.

use std::path::Path;

use anyhow::Result;

use crate::command::failure::Failure;
use crate::command::report;
use crate::model::config::{self, Config, Peer};
use crate::model::exit_code::ExitCode;
use crate::model::names::NodeName;
use crate::primary::visit::{PROGRAM, Visit};

/// One after the other, and no further than to the first that fails: the others have what worked.
pub fn run(config_path: &Path, names: &[NodeName]) -> Result<ExitCode, Failure> {
    let config = config::load(config_path)?;
    let chosen: Vec<&Peer> = match names {
        [] => config.peers.iter().collect(),
        names => names.iter().map(|name| super::find(&config, name)).collect::<Result<_, _>>()?,
    };
    let (program, digest) = super::this_program()?;
    for peer in chosen {
        upgrade(&config, config_path, peer, &program, &digest)?;
    }
    Ok(ExitCode::Done)
}

fn upgrade(config: &Config, config_path: &Path, peer: &Peer, program: &[u8], digest: &str) -> Result<()> {
    let visit = Visit { to: &super::destination(&peer.ssh), known_hosts: &config.ssh.known_hosts };
    if visit.look()?.program.as_deref() == Some(digest) {
        report::line(&format!("{}  has this program already", peer.name));
        return Ok(());
    }
    visit.install(program, digest)?;
    report::line(&format!("{}  copied certcast {} to {PROGRAM}", peer.name, env!("CARGO_PKG_VERSION")));
    super::hello(config, config_path, &peer.name)
}
