//! The `certcast` program: parse, run, report.

use std::process::ExitCode;

use certcast::cli::Cli;
use certcast::command;
use clap::Parser;

fn main() -> ExitCode {
    match command::run(&Cli::parse()) {
        Ok(code) => code,
        Err(failure) => {
            failure.report();
            failure.code.into()
        }
    }
}
