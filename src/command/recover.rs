//! `recover`: what a crash left is finished or undone, before the services start.

use std::path::Path;
use std::time::Duration;

use crate::command::failure::Failure;
use crate::command::report;
use crate::model::config;
use crate::model::deadline::Deadline;
use crate::model::exit_code::ExitCode;
use crate::model::outcome::Outcome;
use crate::peer::halt::Halt;
use crate::peer::journal::Journal;
use crate::peer::node::Node;
use crate::peer::recovery;

/// The lock of a dead process is free at once. A living holder is no crash: it sees to itself, and nothing may wait for
/// it here, for systemd runs this before the service starts, and the holder may be waiting for just that.
const LOCK: Duration = Duration::from_secs(1);

/// Finishes or undoes.
pub fn run(config: &Path) -> Result<ExitCode, Failure> {
    let node = Node::open(config::load(config)?, false)?;
    let recovered = node.lock(Deadline::after(LOCK)).and_then(|held| recovery::recover(&node, &held, true));
    let outcome = match recovered {
        Ok(None) => return Ok(ExitCode::Done),
        Ok(Some(outcome)) if !Journal::is_there(node.state()) => {
            tracing::info!(%outcome, "recovered");
            report::line(&format!("recovered: {outcome}"));
            return Ok(ExitCode::Done);
        }
        Err(Halt(Outcome::Pending { .. })) => {
            report::line("a transaction is under way here: nothing is to be recovered while it runs");
            return Ok(ExitCode::Done);
        }
        Ok(Some(outcome)) | Err(Halt(outcome)) => outcome,
    };
    report::complain(&format!("not recovered: {outcome}"));
    Ok(match outcome {
        Outcome::Stuck { .. } => ExitCode::Stuck,
        _ => ExitCode::Failed,
    })
}
