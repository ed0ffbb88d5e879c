//! The log: the journal where there is one, or a file. Never standard output or error, which are certbot's.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Mutex;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::command::report;

/// Starts the log. Without a journal and without a file nothing is logged, and that is no error.
///
/// A log that cannot be written is said and goes no further: no certificate is to wait for it.
pub fn start(file: Option<&Path>) {
    let registry = tracing_subscriber::registry().with(LevelFilter::INFO);
    let Some(path) = file else { return registry.with(tracing_journald::layer().ok()).init() };
    match OpenOptions::new().append(true).create(true).mode(0o600).open(path) {
        Ok(file) => {
            let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(Mutex::new(file));
            // A full disk must not make it write to standard error, let alone panic there.
            registry.with(layer.log_internal_errors(false)).init();
        }
        Err(error) => {
            registry.with(tracing_journald::layer().ok()).init();
            report::complain(&format!("cannot write the log {}: {error}", path.display()));
        }
    }
}
