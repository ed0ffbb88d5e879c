//! `alert test`: a made-up alert by every route, and how each went.

use std::path::Path;

use anyhow::anyhow;

use crate::command::failure::Failure;
use crate::command::report;
use crate::model::config;
use crate::model::exit_code::ExitCode;
use crate::primary::alert;

/// A line a route: what arrived on standard output, what did not on standard error.
pub fn test(config_path: &Path) -> Result<ExitCode, Failure> {
    let config = config::load(config_path)?;
    if config.alerts.is_empty() {
        return Err(Failure::usage(anyhow!("there is no [[alert]] in {}", config_path.display())));
    }
    let went = alert::test(&config)?;
    for (label, result) in &went {
        match result {
            Ok(()) => report::line(&format!("{label}  took it")),
            Err(error) => report::complain(&format!("{label}: {error}")),
        }
    }
    Ok(ExitCode::of(went.len(), went.iter().filter(|(_, result)| result.is_ok()).count(), false))
}
