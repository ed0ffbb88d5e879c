//! The verbs: one short file each, and how they report.

mod alert;
mod auth;
mod check;
mod cleanup;
mod deploy;
mod doctor;
mod documents;
mod enrol;
pub mod failure;
mod init;
mod logging;
mod metrics;
pub mod misuse;
mod peer;
mod progress;
mod receive;
mod recover;
mod rehearse;
mod report;
mod resync;
mod status;

use std::process;

use crate::cli::{Alert, Cli, Command};
use crate::command::failure::Failure;

/// Does what the command line says.
pub fn run(cli: &Cli) -> Result<process::ExitCode, Failure> {
    logging::start(cli.log.as_deref());
    let code = match &cli.command {
        Command::Auth => auth::run(&cli.config),
        Command::Cleanup => Ok(cleanup::run(&cli.config)),
        Command::Deploy => deploy::run(&cli.config),
        Command::Resync(arguments) => resync::run(&cli.config, arguments),
        // Monitoring has codes of its own.
        Command::Check(arguments) => return Ok((check::run(&cli.config, arguments) as u8).into()),
        Command::Doctor(arguments) => doctor::run(&cli.config, arguments),
        Command::Status(arguments) => status::run(&cli.config, arguments),
        Command::Receive(arguments) => receive::run(&cli.config, arguments),
        Command::Rehearse(arguments) => rehearse::run(&cli.config, arguments),
        Command::Recover => recover::run(&cli.config),
        Command::Alert(Alert::Test) => alert::test(&cli.config),
        Command::Peer(verb) => peer::run(&cli.config, verb),
        Command::Init(arguments) => init::run(&cli.config, arguments),
        Command::Enrol => enrol::run(&cli.config),
        Command::Completions { shell } => documents::completions(*shell),
        Command::Man { directory } => documents::manual(directory),
    };
    code.map(process::ExitCode::from)
}
