//! `receive`: the peer's side of a conversation.

use std::path::Path;

use crate::cli::Receive;
use crate::command::failure::Failure;
use crate::model::config;
use crate::model::exit_code::ExitCode;
use crate::peer::node::Node;
use crate::peer::policy::{Grant, Role};
use crate::peer::session;

/// Serves one conversation on standard input and output.
pub fn run(config: &Path, arguments: &Receive) -> Result<ExitCode, Failure> {
    let is_own = arguments.role == Role::Own;
    let grant = Grant {
        role: arguments.role,
        only: arguments.only.clone(),
        accounts: arguments.accounts.clone(),
        // Who says `--force` is root on this very node.
        allow_force: arguments.allow_force || is_own,
    };
    let mut config = config::load(config)?;
    if let Some(letsencrypt) = arguments.letsencrypt.as_ref().filter(|_| is_own) {
        config.node.letsencrypt.clone_from(letsencrypt);
    }
    let node = Node::open(config, is_own)?;
    let (mut input, mut output, limit) = session::standard_streams()?;
    session::serve(&node, &grant, &mut input, &mut output, &limit)?;
    Ok(ExitCode::Done)
}
