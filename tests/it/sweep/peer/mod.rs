//! A peer under real transactions: `certcast receive` cut everywhere, then `recover` everywhere from the ends of each phase
//! that a killed `receive` left.

mod bench;
mod scenario;
mod verdict;

use std::sync::OnceLock;

use bench::{Peer, Victim};
use scenario::{JOINED, RENEWAL, SCENARIOS, Scenario};

use super::cut::{
    Call, FAILURES, FAILURES_AGAIN, FSYNC, Failures, NO_FAILURES, ONE_FAILURE, RENAMEAT, RENAMEAT2, WAIT4,
};
use super::tally::{Plan, Size, Tally, sweep};

/// All scenarios.
pub fn scenarios() -> impl Iterator<Item = (&'static str, impl Fn(Size) -> Tally + Sync)> {
    let plan = |scenario: &Scenario, size| Plan {
        name: scenario.name.to_owned(),
        never: scenario.no_exchange.then_some(RENAMEAT2),
        only: &[],
        failures: &FAILURES,
        failures_again: &FAILURES_AGAIN,
        size,
    };
    SCENARIOS
        .iter()
        .map(move |scenario| (scenario.name, move |size| run(&plan(scenario, size), scenario, Victim::Receive)))
}

fn run(plan: &Plan, scenario: &Scenario, victim: Victim) -> Tally {
    let versions = OnceLock::new();
    sweep(plan, || Peer::raise(*scenario, victim, &versions))
}

/// The tests of the test: what is broken on purpose is killed at a few calls.
fn broken(name: &str, scenario: Scenario, victim: Victim, only: &'static [Call]) -> Tally {
    cut_at(name, scenario, victim, only, &NO_FAILURES, 1)
}

/// Of a few calls every n-th case is cut: it is killed there, or the call fails.
fn cut_at(
    name: &str,
    scenario: Scenario,
    victim: Victim,
    only: &'static [Call],
    failures: &'static Failures,
    every: usize,
) -> Tally {
    let never = scenario.no_exchange.then_some(RENAMEAT2);
    let size = Size { every, silent: 1, benches: 2 };
    let plan = Plan { name: name.to_owned(), never, only, failures, failures_again: &NO_FAILURES, size };
    run(&plan, &scenario, victim)
}

/// How many faults speak of something.
fn faults(tally: &Tally, of: &str) -> usize {
    tally.faults.iter().filter(|fault| fault.contains(of)).count()
}

/// As many a deploy hook does it. It is cut between its commands: inside of them is not the shell.
#[test]
fn the_sweep_catches_a_deployment_by_unlink_and_symlink() {
    let tally = broken("by unlink and symlink", RENEWAL, Victim::Naive, &[WAIT4]);
    assert!(faults(&tally, "links") > 1, "{tally}");
}

#[test]
fn the_sweep_catches_a_receiver_without_a_journal() {
    let scenario = Scenario { no_journal: true, ..RENEWAL };
    let tally = broken("without a journal", scenario, Victim::Receive, &[RENAMEAT, RENAMEAT2]);
    assert!(faults(&tally, "the archive holds") > 1 && faults(&tally, "left over in") > 1, "{tally}");
}

#[test]
fn the_sweep_catches_a_receiver_without_exchange_and_journal() {
    let scenario = Scenario { no_exchange: true, no_journal: true, ..RENEWAL };
    let tally = broken("without exchange and journal", scenario, Victim::Receive, &[RENAMEAT]);
    assert!(faults(&tally, "the links show") > 1, "{tally}");
}

/// Whatever it leaves looks well: only its own word tells it from one that has looked.
#[test]
fn the_sweep_catches_a_receiver_that_takes_a_failed_sync_for_done() {
    let scenario = Scenario { blind: true, ..RENEWAL };
    let tally = cut_at("blind to failures", scenario, Victim::Receive, &[FSYNC], &ONE_FAILURE, 3);
    assert!(faults(&tally, "may not be on the disk") > 1, "{tally}");
    assert_eq!(faults(&tally, "may not be on the disk"), tally.faults.len(), "{tally}");
}

#[test]
fn a_receiver_takes_no_failed_sync_for_done() {
    let tally = cut_at("syncs that fail", JOINED, Victim::Receive, &[FSYNC], &ONE_FAILURE, 3);
    assert!(tally.cases > 13, "{tally}");
    assert!(tally.faults.is_empty(), "{tally}");
}
