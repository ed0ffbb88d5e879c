//! Trying again, with growing pauses that are not the same for everybody.

use std::thread;
use std::time::Duration;

use crate::model::deadline::Deadline;

use super::error::LinkError;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// However long a conversation may take: many lineages make that long, and a dead peer none the livelier.
const DEAD_AT_MOST: Duration = Duration::from_secs(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Tries until it succeeds, fails for good, or there is no time for another attempt.
///
/// A peer that lives but drops connections is tried until the deadline; one that seems dead for a third of the time
/// that there was at the start, at most for [`DEAD_AT_MOST`], so that it is reported soon.
pub fn while_transient<T>(
    deadline: Deadline,
    mut attempt: impl FnMut() -> Result<T, LinkError>,
) -> Result<T, LinkError> {
    let for_the_dead = deadline.at_most(DEAD_AT_MOST.min(deadline.left() / 3));
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match attempt() {
            Err(error) if error.is_transient() => error,
            done => return done,
        };
        let patience = if matches!(error, LinkError::BannerDropped { .. }) { deadline } else { for_the_dead };
        if patience.left() < FIRST_PAUSE {
            return Err(error);
        }
        // Never past the half of what is left, so that the last attempts come late and not never.
        thread::sleep(jittered(pause).min(patience.left() / 2));
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Between half and one and a half of it: fifty connections that were dropped together must not come back together.
fn jittered(pause: Duration) -> Duration {
    let mut byte = [0];
    // Without randomness the pause is merely not jittered.
    let share = openssl::rand::rand_bytes(&mut byte).map_or(128, |()| u32::from(byte[0]));
    pause / 2 + pause * share / 256
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::time::Instant;

    fn dropped() -> LinkError {
        LinkError::BannerDropped { host: "a".to_owned(), cause: String::new() }
    }

    fn dead() -> LinkError {
        LinkError::Resolve { host: "a".to_owned(), source: io::Error::other("no") }
    }

    #[test]
    fn a_dead_peer_gets_a_third_of_the_time_and_a_busy_one_all_of_it() {
        for (error, least, most) in [(dead as fn() -> LinkError, 0, 2500), (dropped, 2900, 30_000)] {
            let (begin, mut attempts) = (Instant::now(), 0);
            let result: Result<(), _> = while_transient(Deadline::after(Duration::from_secs(3)), || {
                attempts += 1;
                Err(error())
            });
            let took = begin.elapsed().as_millis();
            assert!(result.is_err() && attempts > 1 && (least..=most).contains(&took), "{attempts} in {took} ms");
        }
    }

    #[test]
    fn a_failed_authentication_is_never_tried_again() {
        let mut attempts = 0;
        let result: Result<(), _> = while_transient(Deadline::after(Duration::from_secs(60)), || {
            attempts += 1;
            Err(LinkError::Authentication { host: "a".into(), user: "root".into(), tried: "k".into() })
        });
        assert!(result.is_err() && attempts == 1);
    }

    #[test]
    fn pauses_differ() {
        let pauses: std::collections::HashSet<_> = (0..64).map(|_| jittered(LONGEST_PAUSE)).collect();
        assert!(pauses.len() > 8 && pauses.iter().all(|p| (1000..3000).contains(&p.as_millis())));
    }
}
