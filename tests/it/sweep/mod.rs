//! The kill sweep: `certcast receive` under a real transaction, killed or refused by the kernel at the n-th call of every
//! system call it makes, for every n; then `recover`, a judge that is not ours, and a second transaction.
//!
//! A case whose end state was judged before is not judged again: what follows depends on that state alone. States in the
//! middle of a switch are always judged, for there the services' state is not to be read off the disk.

mod bench;
mod cut;
mod scenario;
mod tally;
mod verdict;

use scenario::{RENEWAL, SCENARIOS};
use tally::{Size, Tally, sweep, sweep_naive};

const WORKERS: usize = 2;
/// How far apart the cases of the sample are: a minute of the whole. A prime, so that no loop of the program is in step
/// with it.
const STRIDE: usize = 397;

/// All scenarios, a few at a time.
fn sweep_all(size: Size) -> Tally {
    let queue = std::sync::Mutex::new(SCENARIOS.iter());
    let work = || {
        let mut sum = Tally::default();
        while let Some(scenario) = { queue.lock().unwrap().next() } {
            sum.add(sweep(*scenario, size));
        }
        sum
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
        let mut sum = Tally::default();
        for worker in workers {
            sum.add(worker.join().unwrap());
        }
        sum
    })
}

#[test]
fn a_sample_of_kills_and_failing_calls_leaves_every_peer_whole() {
    let tally = sweep_all(Size::Every(STRIDE));
    assert!(tally.cases > 40, "{tally}");
    assert!(tally.faults.is_empty(), "{tally}");
}

#[test]
#[ignore = "takes many minutes: run by ./tests/sweep"]
#[expect(clippy::print_stderr, reason = "the figures are what it is run for")]
fn every_kill_and_every_failing_call_leaves_every_peer_whole() {
    let tally = sweep_all(Size::Every(stride()));
    eprintln!("{tally}");
    assert!(tally.faults.is_empty(), "unsafe end states");
}

/// `CERTCAST_SWEEP_EVERY` thins the whole sweep out.
fn stride() -> usize {
    std::env::var("CERTCAST_SWEEP_EVERY").map_or(1, |text| text.parse().unwrap())
}

/// The test of the test: what unlinks and links anew, as many a deploy hook does, is caught.
#[test]
fn the_sweep_catches_a_deployment_by_unlink_and_symlink() {
    let tally = sweep_naive(RENEWAL);
    let mixed = tally.faults.iter().filter(|fault| fault.contains("links"));
    assert!(mixed.count() > 1, "{tally}");
}
