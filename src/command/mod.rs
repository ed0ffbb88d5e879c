//! The verbs: one short file each, and how they report.

mod auth;
mod cleanup;
mod deploy;
mod documents;
pub mod failure;
mod logging;
mod receive;
mod recover;
mod rehearse;
mod report;
mod resync;
mod status;

use crate::cli::{Cli, Command};
use crate::command::failure::Failure;
use crate::model::exit_code::ExitCode;

/// Does what the command line says.
pub fn run(cli: &Cli) -> Result<ExitCode, Failure> {
    logging::start(cli.log.as_deref());
    match &cli.command {
        Command::Auth => auth::run(&cli.config),
        Command::Cleanup => Ok(cleanup::run(&cli.config)),
        Command::Deploy => deploy::run(&cli.config),
        Command::Resync(arguments) => resync::run(&cli.config, arguments),
        Command::Status(arguments) => status::run(&cli.config, arguments),
        Command::Receive(arguments) => receive::run(&cli.config, arguments),
        Command::Rehearse(arguments) => rehearse::run(&cli.config, arguments),
        Command::Recover => recover::run(&cli.config),
        Command::Completions { shell } => documents::completions(*shell),
        Command::Man { directory } => documents::manual(directory),
    }
}
