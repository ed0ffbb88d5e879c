//! A primary with a peer: `auth`, `cleanup`, `deploy` and `resync` cut everywhere; the nodes then decide by themselves, and
//! the next run finishes.
//!
//! The peer is reached without ssh, as a program on the primary that enters the other host: what a cut leaves is the same,
//! and thousands of runs need no handshake.

mod bench;
mod verdict;

use std::sync::OnceLock;

use bench::Primary;

use super::cut::{FAILURES, NO_FAILURES};
use super::tally::{Plan, Size, Tally, sweep};

/// Which program is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// The last `auth` call of a run; certbot ends after it.
    Auth,
    /// The same; certbot goes on to its cleanup calls.
    AuthThenCleanup,
    /// The last `cleanup` call of a run.
    Cleanup,
    /// `deploy` of a renewed lineage.
    Deploy,
    /// `resync` of one, with challenges to be withdrawn as well.
    Resync,
}

const VICTIMS: [(&str, Victim); 5] = [
    ("auth", Victim::Auth),
    ("auth with cleanup", Victim::AuthThenCleanup),
    ("cleanup", Victim::Cleanup),
    ("deploy", Victim::Deploy),
    ("resync", Victim::Resync),
];

/// All scenarios.
pub fn scenarios() -> impl Iterator<Item = (&'static str, impl Fn(Size) -> Tally + Sync)> {
    VICTIMS.iter().map(|&(name, victim)| {
        let cut = move |size| {
            let plan = Plan {
                name: name.to_owned(),
                never: None,
                only: &[],
                failures: &FAILURES,
                failures_again: &NO_FAILURES,
                size,
            };
            let versions = OnceLock::new();
            sweep(&plan, || Primary::raise(victim, &versions))
        };
        (name, cut)
    })
}
