//! When a certificate ends too soon: certbot should have renewed it, and has failed for days.

/// certbot renews a third of a certificate's life before its end, 30 days of 90.
const DAYS_AT_LEAST: i64 = 20;
/// Of a certificate that lives shorter, such a part of its life.
const PART_OF_LIFE: i64 = 4;
const DAY: i64 = 24 * 60 * 60;

/// Whole days from then to then; below zero when it is over.
pub fn days(from: i64, to: i64) -> i64 {
    to.saturating_sub(from).div_euclid(DAY)
}

/// How many days a certificate that lives so many should have left at least.
pub fn days_at_least(life: i64) -> i64 {
    DAYS_AT_LEAST.min(life / PART_OF_LIFE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_life_is_no_trouble_by_itself() {
        assert_eq!([90, 45, 7, 0].map(days_at_least), [20, 11, 1, 0]);
        assert_eq!((days(0, DAY), days(0, DAY - 1), days(1, 0)), (1, 0, -1));
    }
}
