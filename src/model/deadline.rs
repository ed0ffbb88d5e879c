//! A moment after which waiting ends.

use std::time::{Duration, Instant};

/// A moment on the monotonic clock. Every wait takes one; none is endless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// So long from now.
    pub fn after(budget: Duration) -> Self {
        Deadline(Instant::now() + budget)
    }

    /// What is left; zero when it has passed.
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether nothing is left.
    pub fn has_passed(self) -> bool {
        self.left().is_zero()
    }

    /// This deadline or one so long from now, whichever is earlier.
    #[must_use]
    pub fn at_most(self, budget: Duration) -> Self {
        self.min(Deadline::after(budget))
    }
}
