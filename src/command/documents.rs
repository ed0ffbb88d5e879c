//! `completions` and `man`: made from the same definitions as `--help`.

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::command::failure::Failure;
use crate::model::exit_code::ExitCode;

/// To standard output: where a shell looks for it is the packager's knowledge.
pub fn completions(shell: Shell) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "certcast", &mut script);
    std::io::stdout().write_all(&script).context("cannot write to standard output")?;
    Ok(ExitCode::Done)
}

/// `certcast.1`, `certcast-resync.1` and so on.
pub fn manual(directory: &Path) -> Result<ExitCode, Failure> {
    clap_mangen::generate_to(Cli::command(), directory)
        .with_context(|| format!("cannot write the manual to {}", directory.display()))?;
    Ok(ExitCode::Done)
}
