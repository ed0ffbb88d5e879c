//! `enrol`: what `peer add` and `peer remove` run on the server that is a peer, or is to become one.

use std::io::{self, BufRead, Read};
use std::path::Path;

use anyhow::Context;

use crate::command::failure::Failure;
use crate::command::report;
use crate::model::exit_code::ExitCode;
use crate::peer::enrol;

const REQUEST_AT_MOST: u64 = 64 * 1024;

/// A request on standard input, the answer on standard output.
pub fn run(config: &Path) -> Result<ExitCode, Failure> {
    let mut line = String::new();
    io::stdin().lock().take(REQUEST_AT_MOST).read_line(&mut line)?;
    let request = serde_json::from_str(&line).context("this is for 'certcast peer add', which sends a line of JSON")?;
    let enrolled = enrol::enrol(config, &request)?;
    report::line(&serde_json::to_string(&enrolled).map_err(anyhow::Error::from)?);
    Ok(ExitCode::Done)
}
