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
/// A test that passes with the staged files says enough. Where it fails, the baseline is tested if it was not (`before`), to
/// know who is at fault, and if there is time: a test that hangs took it. Where nothing can be shown, the baseline's test,
/// the one after the switch and the way back are what is left.
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
    // As long again for this test, and as long for what follows.
    if deadline.left() > begun.elapsed() * 2 {
        without()?;
    }
    Err(Unwilling { step: Step::PreFlight, cause })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// How a test that says no ends, where a directory is shown in its own place.
    fn refused(before: Tests, left: Duration) -> Unwilling {
        let test = vec!["false".to_owned()];
        let service = Service {
            name: "one".into(),
            reload: test.clone(),
            test,
            probe: Vec::new(),
            joined: None,
            timeout: Duration::from_secs(60),
        };
        let home = tempfile::tempdir().unwrap();
        let overlay = [(home.path().to_owned(), home.path().to_owned())];
        run(&[service], &overlay, before, Deadline::after(left)).expect_err("this test needs root with CAP_SYS_ADMIN")
    }

    #[test]
    fn who_is_at_fault_is_asked_where_it_is_not_known_and_there_is_time() {
        let long = Duration::from_secs(60);
        let unwilling = refused(Tests::NotAsked, long);
        assert_eq!(unwilling.step, Step::Baseline);
        assert!(unwilling.cause.ends_with("(before anything was changed)"), "{}", unwilling.cause);
        assert_eq!(refused(Tests::Passed, long).step, Step::PreFlight);
        assert_eq!(refused(Tests::NotAsked, Duration::ZERO).step, Step::PreFlight);
    }
}
