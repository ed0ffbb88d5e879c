//! The services' tests with the staged files in place of the visible ones, in a mount namespace that
//! nobody else sees.

use std::path::PathBuf;
use std::time::Instant;

use crate::model::config::Service;
use crate::model::deadline::Deadline;
use crate::model::outcome::Step;
use crate::peer::baseline::{self, Tests};
use crate::peer::service::{self, Unwilling};
use crate::sys::mount_namespace::{OverlayError, with_overlaid};

/// Runs the tests; notes say what could not be looked at.
///
/// A test that passes with the staged files says enough. Where it fails, or the files cannot be shown, the baseline is
/// tested if it was not (`before`), to know who is at fault; unless there is no time for it, as where a test hangs.
/// Where the kernel allows no namespace, the test after the switch and its undoing are what is left.
pub fn run(
    services: &[Service],
    overlay: &[(PathBuf, PathBuf)],
    before: Tests,
    deadline: Deadline,
) -> Result<Vec<String>, Unwilling> {
    let without = || if before == Tests::NotAsked { baseline::test(services) } else { Ok(()) };
    if services.is_empty() || overlay.is_empty() {
        return without().map(|()| Vec::new());
    }
    let begun = Instant::now();
    let cause = match with_overlaid(overlay, || service::test(services)) {
        Ok(Ok(_)) => return Ok(Vec::new()),
        Err(OverlayError::NotPermitted) => {
            return without().map(|()| vec!["no pre-flight: this node allows no mount namespace".into()]);
        }
        Ok(Err(unwilling)) => unwilling.cause,
        Err(error) => format!("{:#}", anyhow::Error::from(error)),
    };
    if deadline.left() > begun.elapsed() * 2 {
        without()?;
    }
    Err(Unwilling { step: Step::PreFlight, cause })
}
