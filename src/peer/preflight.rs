//! The services' tests with the staged files in place of the visible ones, in a mount namespace that
//! nobody else sees.

use std::path::PathBuf;

use crate::model::config::Service;
use crate::model::outcome::Step;
use crate::peer::service::{self, Unwilling};
use crate::sys::mount_namespace::{OverlayError, with_overlaid};

/// Runs the tests; notes say what could not be looked at.
///
/// Where the kernel allows no namespace, the test after the switch and its undoing are what is left.
pub fn run(services: &[Service], overlay: &[(PathBuf, PathBuf)]) -> Result<Vec<String>, Unwilling> {
    if services.is_empty() || overlay.is_empty() {
        return Ok(Vec::new());
    }
    match with_overlaid(overlay, || service::test(services)) {
        Ok(result) => result.map(|_| Vec::new()),
        Err(OverlayError::NotPermitted) => Ok(vec!["no pre-flight: this node allows no mount namespace".into()]),
        Err(error) => Err(Unwilling { step: Step::PreFlight, cause: format!("{:#}", anyhow::Error::from(error)) }),
    }
}
