//! `exec`: a program of one's own: the notice as JSON on its standard input, 1 or 0 as its last argument.

use super::notice::Notice;
use super::route::SendError;
use crate::model::deadline::Deadline;
use crate::sys::process::Run;

/// Runs it once.
pub fn send(argv: &[String], notice: &Notice, deadline: Deadline) -> Result<(), SendError> {
    let input = serde_json::to_vec(notice).map_err(|error| SendError::Refused(error.to_string()))?;
    let argv: Vec<String> = argv.iter().cloned().chain([notice.state.to_string()]).collect();
    match Run::new(&argv, deadline).with_input(&input).run() {
        Ok(finished) if finished.status.success() => Ok(()),
        Ok(finished) => Err(SendError::Refused(format!("it failed ({}): {}", finished.status, finished.output.trim()))),
        Err(error) => Err(SendError::Unreached(format!("{:#}", anyhow::Error::from(error)))),
    }
}
