//! The `certcast` program: parse, run, report.

use std::process::ExitCode;

use certcast::cli::Cli;
use certcast::command;
use clap::Parser;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return command::misuse::report(&error, std::env::args_os()),
    };
    match command::run(&cli) {
        Ok(code) => code,
        Err(failure) => {
            failure.report();
            failure.code.into()
        }
    }
}
