//! Waiting for something to become true, with an end.

use std::time::Duration;

use certcast::model::deadline::Deadline;

/// How long a daemon of the lab may take for anything.
pub const PATIENCE: Duration = Duration::from_secs(60);

const BETWEEN_LOOKS: Duration = Duration::from_millis(3);

/// Looks again and again until `true`; panics with what was waited for when [`PATIENCE`] ends.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    some(what, || is_so().then_some(()));
}

/// Looks again and again until there is something.
pub fn some<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Deadline::after(PATIENCE);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(!deadline.has_passed(), "waited {PATIENCE:?} in vain: {what}");
        std::thread::sleep(BETWEEN_LOOKS);
    }
}
