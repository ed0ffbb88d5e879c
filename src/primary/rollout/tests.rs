use std::time::Duration;

use super::*;
use crate::model::outcome::Step;

const LONG: Duration = Duration::from_secs(20);

/// What a node will do, in the order in which it reports.
enum Act {
    /// Stages; after the word to commit it ends so.
    Stages(usize, Outcome),
    /// Stages these lineages; after the word to commit it ends so.
    StagesThese(usize, &'static [&'static str], Outcome),
    /// Ends without having staged.
    Ends(usize, Outcome),
    /// The same, and not before another one was told to commit.
    EndsLate(usize, Outcome),
}

fn applied() -> Outcome {
    Outcome::Applied { notes: Vec::new() }
}

fn rolled_back() -> Outcome {
    Outcome::RolledBack { step: Step::Reload, cause: "no".into() }
}

fn pending() -> Outcome {
    Outcome::Pending { cause: "gone".into() }
}

fn run(rules: Rules, nodes: usize, acts: Vec<Act>) -> (Vec<usize>, Vec<Outcome>) {
    run_with(rules, &vec![false; nodes], acts)
}

/// Runs a coordinator against nodes that report one after another; returns the order of commits and all outcomes.
fn run_with(rules: Rules, doubtful: &[bool], acts: Vec<Act>) -> (Vec<usize>, Vec<Outcome>) {
    let nodes = doubtful.len();
    let names: Vec<NodeName> = (0..nodes).map(|n| format!("web{n}").parse().unwrap()).collect();
    let (events, inbox) = mpsc::channel();
    let (words, ears): (Vec<_>, Vec<_>) = (0..nodes).map(|_| mpsc::channel()).unzip();
    let seats = vec![Seat::Staging; nodes];
    let proven = BTreeSet::new();
    let is_late = acts.iter().any(|act| matches!(act, Act::EndsLate(..)));
    let sound_until = Deadline::after(if is_late { Duration::from_millis(20) } else { LONG });
    let (names, held_back) = (&names, None);
    let coordinator =
        Coordinator { rules, names, doubtful, sound_until, words, seats, canary: None, proven, held_back };
    let (order, commits) = mpsc::channel();
    let mut early = Vec::new();
    let parts = thread::scope(|scope| {
        let running = scope.spawn(move || coordinator.run(&inbox));
        let mut ears: Vec<_> = ears.into_iter().map(Some).collect();
        for act in acts {
            let (index, lineages, outcome) = match act {
                Act::Ends(index, outcome) => {
                    events.send(Event::Ended(index, Part::Ended(outcome))).unwrap();
                    continue;
                }
                Act::EndsLate(index, outcome) => {
                    early.extend(commits.recv_timeout(LONG));
                    events.send(Event::Ended(index, Part::Ended(outcome))).unwrap();
                    continue;
                }
                Act::Stages(index, outcome) => (index, &["www"][..], outcome),
                Act::StagesThese(index, lineages, outcome) => (index, lineages, outcome),
            };
            let lineages = lineages.iter().map(|name| name.parse().unwrap()).collect();
            events.send(Event::Staged(index, lineages)).unwrap();
            let (ear, events, order) = (ears[index].take().unwrap(), events.clone(), order.clone());
            scope.spawn(move || {
                let part = match ear.recv().unwrap() {
                    Word::Commit(_) => {
                        order.send(index).unwrap();
                        Part::Concluded(outcome)
                    }
                    Word::Abort(cause) => Part::HeldBack(cause),
                };
                events.send(Event::Ended(index, part)).unwrap();
            });
        }
        drop((events, order));
        running.join().unwrap()
    });
    assert_eq!(early.is_empty(), !is_late, "nobody was told to commit in time");
    let outcomes = parts.into_iter().map(|part| match part {
        Part::Concluded(outcome) | Part::Ended(outcome) => outcome,
        Part::HeldBack(cause) => Outcome::Pending { cause },
        Part::Planned(_) | Part::Left => panic!("nothing was planned or left"),
    });
    (early.into_iter().chain(commits).collect(), outcomes.collect())
}

const CANARY: Rules = Rules { require: Require::Reachable, canary: true };

#[test]
fn one_node_commits_first_and_then_the_rest() {
    let acts = vec![Act::Stages(1, applied()), Act::Stages(0, applied()), Act::Stages(2, applied())];
    let (order, outcomes) = run(CANARY, 3, acts);
    assert_eq!(order[0], 1, "the first that has staged");
    assert_eq!(order.len(), 3);
    assert!(outcomes.iter().all(Outcome::is_in_sync));
}

#[test]
fn a_canary_that_fails_holds_back_all_others_and_is_named() {
    let acts = vec![Act::Stages(0, rolled_back()), Act::Stages(1, applied()), Act::Stages(2, applied())];
    let (order, outcomes) = run(CANARY, 3, acts);
    assert_eq!(order, [0]);
    for outcome in &outcomes[1..] {
        assert!(matches!(outcome, Outcome::Pending { cause } if cause.contains("web0")), "{outcome}");
    }
}

#[test]
fn a_canary_that_is_lost_is_replaced() {
    let acts = vec![Act::Stages(0, pending()), Act::Stages(1, applied()), Act::Stages(2, applied())];
    let (order, outcomes) = run(CANARY, 3, acts);
    assert_eq!(order[..2], [0, 1]);
    assert_eq!(outcomes, [pending(), applied(), applied()]);
}

#[test]
fn a_doubtful_node_is_canary_only_when_there_is_no_other() {
    let acts = || vec![Act::Stages(0, applied()), Act::Stages(1, applied()), Act::Stages(2, applied())];
    assert_eq!(run_with(CANARY, &[true, true, false], acts()).0[0], 2);
    assert_eq!(run_with(CANARY, &[true, true, true], acts()).0[0], 0);
    let others_gone = vec![Act::Stages(0, applied()), Act::Ends(1, pending()), Act::Ends(2, pending())];
    assert_eq!(run_with(CANARY, &[true, false, false], others_gone).0, [0]);
}

#[test]
fn a_doubtful_node_waits_no_longer_for_another_than_leaves_time_for_itself() {
    let acts = vec![Act::Stages(0, applied()), Act::EndsLate(1, pending())];
    assert_eq!(run_with(CANARY, &[true, false], acts), (vec![0], vec![applied(), pending()]));
}

#[test]
fn a_node_that_does_not_stage_holds_nobody_back() {
    let refused = Outcome::Refused { step: Step::Baseline, cause: "nginx -t".into() };
    let acts = vec![Act::Ends(0, refused.clone()), Act::Stages(1, applied()), Act::Ends(2, pending())];
    assert_eq!(run(CANARY, 3, acts), (vec![1], vec![refused, applied(), pending()]));
}

#[test]
fn require_all_commits_nobody_unless_everybody_has_staged() {
    let rules = Rules { require: Require::All, canary: true };
    let acts = vec![Act::Stages(0, applied()), Act::Stages(1, applied()), Act::Ends(2, pending())];
    let (order, outcomes) = run(rules, 3, acts);
    assert!(order.is_empty());
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Pending { .. })), "{outcomes:?}");
    let acts = vec![Act::Ends(0, Outcome::Unchanged), Act::Stages(1, applied()), Act::Stages(2, applied())];
    assert_eq!(run(rules, 3, acts).0.len(), 2);
}

#[test]
fn without_a_canary_a_failing_node_holds_nobody_back() {
    let rules = Rules { require: Require::Reachable, canary: false };
    let acts = vec![Act::Stages(0, rolled_back()), Act::Stages(1, applied()), Act::Stages(2, applied())];
    let (order, outcomes) = run(rules, 3, acts);
    assert_eq!(order.len(), 3);
    assert_eq!(outcomes, [rolled_back(), applied(), applied()]);
}

#[test]
fn a_node_with_a_lineage_that_no_canary_had_is_a_canary_too() {
    let acts = |second| {
        vec![
            Act::StagesThese(0, &["a", "b"], applied()),
            Act::StagesThese(1, &["b", "c"], second),
            Act::StagesThese(2, &["c"], applied()),
            Act::StagesThese(3, &["a"], applied()),
        ]
    };
    let (order, outcomes) = run(CANARY, 4, acts(applied()));
    assert!(outcomes.iter().all(Outcome::is_in_sync));
    let place = |node| order.iter().position(|other| *other == node).unwrap();
    assert!(place(0) < place(1) && place(1) < place(2) && place(0) < place(3), "{order:?}");
    let (order, outcomes) = run(CANARY, 4, acts(rolled_back()));
    assert!(!order.contains(&2));
    assert!(matches!(&outcomes[2], Outcome::Pending { cause } if cause.contains("web1")), "{:?}", outcomes[2]);
}
