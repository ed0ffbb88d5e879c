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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_so_long_from_now_and_the_earlier_one_counts() {
        let (hour, minute) = (Duration::from_secs(3600), Duration::from_secs(60));
        let late = Deadline::after(hour);
        assert!(!late.has_passed() && late.left() <= hour && late.left() + minute > hour);
        assert!(late.at_most(minute) < late && late.at_most(2 * hour) == late);
        let now = Deadline::after(Duration::ZERO);
        assert!(now.has_passed() && now.left().is_zero() && now.at_most(hour) == now);
    }
}
