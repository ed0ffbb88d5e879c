//! The log: the journal where there is one, or a file. Never standard output or error, which are certbot's.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Mutex;

use anyhow::Context;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::command::failure::Failure;

/// Starts the log. Without a journal and without a file nothing is logged, and that is no error.
pub fn start(file: Option<&Path>) -> Result<(), Failure> {
    let registry = tracing_subscriber::registry().with(LevelFilter::INFO);
    match file {
        Some(path) => {
            let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
            let file = file.with_context(|| format!("cannot write the log {}", path.display()));
            let layer = tracing_subscriber::fmt::layer()
                .with_ansi(false)
                .with_writer(Mutex::new(file.map_err(Failure::usage)?));
            registry.with(layer).init();
        }
        None => registry.with(tracing_journald::layer().ok()).init(),
    }
    Ok(())
}
