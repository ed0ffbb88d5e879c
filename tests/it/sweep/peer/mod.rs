//! A peer under real transactions: `certcast receive` cut everywhere, then `recover` everywhere from the ends of each phase
//! that a killed `receive` left.

mod bench;
mod scenario;
mod verdict;

use std::sync::OnceLock;

use bench::{Peer, Victim};
use scenario::{RENEWAL, SCENARIOS, Scenario};

use super::cut::{Call, FAILURES, FAILURES_AGAIN, NO_FAILURES, RENAMEAT, RENAMEAT2, WAIT4};
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
    let never = scenario.no_exchange.then_some(RENAMEAT2);
    let size = Size { every: 1, silent: 1, benches: 2 };
    let plan = Plan { name: name.to_owned(), never, only, failures: &NO_FAILURES, failures_again: &NO_FAILURES, size };
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
