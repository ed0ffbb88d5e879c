//! The kill sweep: a program killed, or refused by the kernel, at the n-th call of every system call it makes, for every n;
//! then whatever puts things right is run, a judge that is not ours looks, and the work is done again.
//!
//! A case whose end state was judged before is not judged again: what follows depends on that state alone. States in the
//! middle of a switch are judged more than once, for there the services' state is not to be read off the disk.

mod bench;
mod cut;
mod glance;
mod peer;
mod primary;
mod state;
mod tally;
mod tracer;
mod victim;

use std::sync::Mutex;

use tally::{Size, Tally};

/// How far apart the cases of the samples are: half a minute of each. Primes, so that no loop of a program is in step with them.
const PEER_STRIDE: usize = 397;
const PRIMARY_STRIDE: usize = 199;
const CORES: usize = 2;

#[test]
fn a_sample_of_kills_and_failing_calls_leaves_every_peer_whole() {
    let sum = sample(peer::scenarios(), PEER_STRIDE);
    assert!(sum.cases > 30, "{sum}");
    assert!(sum.faults.is_empty(), "{sum}");
}

#[test]
fn a_sample_of_kills_and_failing_calls_of_the_primary_is_finished_by_the_next_run() {
    let sum = sample(primary::scenarios(), PRIMARY_STRIDE);
    assert!(sum.cases > 20, "{sum}");
    assert!(sum.faults.is_empty(), "{sum}");
}

/// Few cases of each, one lab a core.
fn sample<C: Fn(Size) -> Tally>(scenarios: impl Iterator<Item = (&'static str, C)> + Send, every: usize) -> Tally {
    let scenarios = Mutex::new(scenarios);
    let work = || {
        let mut sum = Tally::default();
        while let Some((_, cut)) = { scenarios.lock().unwrap().next() } {
            sum.add(cut(Size { every, silent: 1, benches: 1 }));
        }
        sum
    };
    let mut sum = Tally::default();
    std::thread::scope(|scope| {
        let workers = [(); CORES].map(|()| scope.spawn(work));
        for worker in workers {
            sum.add(worker.join().unwrap());
        }
    });
    sum
}

#[test]
#[ignore = "takes many minutes: run by ./tests/sweep"]
#[expect(clippy::print_stderr, reason = "the figures are what it is run for")]
fn every_kill_and_every_failing_call_leaves_every_node_whole() {
    let size = Size {
        every: number("CERTCAST_SWEEP_EVERY", 1),
        silent: number("CERTCAST_SWEEP_SILENT", 1),
        benches: number("CERTCAST_SWEEP_BENCHES", 2 * CORES),
    };
    let mut sum = Tally::default();
    for (name, cut) in peer::scenarios().filter(|(name, _)| is_wanted(name)) {
        sum.add(cut(size).meant(name));
    }
    for (name, cut) in primary::scenarios().filter(|(name, _)| is_wanted(name)) {
        sum.add(cut(size).meant(name));
    }
    assert!(sum.cases > 0, "no scenario is called so");
    eprintln!("sweep: {sum}\n{} cases, {} unsafe", sum.cases, sum.faults.len());
    assert!(sum.faults.is_empty(), "unsafe end states");
}

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

fn is_wanted(name: &str) -> bool {
    std::env::var("CERTCAST_SWEEP_ONLY").map_or(true, |part| name.contains(&part))
}
