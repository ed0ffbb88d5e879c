//! Two lineages in one transaction: wherever it is cut, both are of one version afterwards.

use super::*;
use crate::peer::policy::{Grant, Role};

/// What is done, and to which of the two lineages.
type Step = (usize, Act);

fn of_each(acts: &[Act]) -> Vec<Step> {
    (0..2).flat_map(|at| acts.iter().map(move |act| (at, *act))).collect()
}

fn note(line: Line) -> Vec<Step> {
    vec![(0, Act::Note(line))]
}

fn ways(before: Before) -> Vec<Vec<Step>> {
    let begun = [vec![(0, Act::Begin)], of_each(&staged()[1..]), note(Line::Switching)].concat();
    let back = || [of_each(&[Act::UndoJoined, Act::UndoLive]), of_each(&[Act::RemoveArchive])].concat();
    let away = of_each(&[Act::DiscardLiveInPart, Act::DiscardLive, Act::DiscardJoined]);
    let ends = [
        [note(Line::Confirmed), of_each(&[Act::DiscardLive, Act::KeepJoined, Act::DiscardJoined])].concat(),
        [note(Line::Undoing), back(), note(Line::Undone), away].concat(),
        [note(Line::Undoing), note(Line::Stuck), back(), note(Line::Undone)].concat(),
    ];
    let mut switches = vec![of_each(&[Act::Switch, Act::SwitchJoined])];
    if matches!(before, Before::Number(_)) {
        // The second one cut in the middle of its links.
        switches.extend((0..=4).map(|links| {
            let whole = [(0, Act::Relink(4)), (0, Act::SwitchJoined)];
            [&whole[..], &[(1, Act::Relink(links))]].concat()
        }));
    }
    let mut ways = Vec::new();
    for (which, switch) in switches.into_iter().enumerate() {
        // What was cut off in the switch can be undone, but is never confirmed.
        ways.extend(ends.iter().skip(which.min(1)).map(|end| [&begun[..], &switch, end].concat()));
    }
    ways
}

#[test]
fn every_state_of_two_lineages_recovers_to_one_version_of_both() {
    for before in [Before::Number(number(1)), Before::Nothing, Before::Foreign] {
        let old = (before != Before::Nothing).then_some(1);
        let states: BTreeSet<Vec<Step>> =
            ways(before).iter().flat_map(|way| (1..=way.len()).map(|done| way[..done].to_vec())).collect();
        assert!(states.len() > 40, "{}", states.len());
        for steps in states {
            let (last, done) = steps.split_last().unwrap();
            let is_note = matches!(last.1, Act::Note(_) | Act::Begin);
            for is_torn in if is_note { &[false, true][..] } else { &[false] } {
                let mut world = World::of(&["a.example", "b.example"], before);
                for (at, act) in done.iter().chain([last]) {
                    world.at = *at;
                    world.act(*act);
                }
                if *is_torn {
                    // In the last byte: of the lines with which it begins the others are whole.
                    let whole = fs::metadata(world.journal_path()).unwrap().len();
                    cut(&world.journal_path(), whole - 1);
                }
                let noted = if *is_torn { done } else { &steps[..] };
                let version = if noted.contains(&(0, Act::Note(Line::Confirmed))) { Some(2) } else { old };
                world.recovers_to(version, &format!("{steps:?}, torn: {is_torn}"));
            }
        }
    }
}

#[test]
fn both_lineages_are_told_of_and_a_key_for_one_of_them_is_not_told_of_the_other() {
    let mut world = World::of(&["a.example", "b.example"], Before::Number(number(1)));
    world.act(Act::Begin);
    let open = Journal::lineages(world.node.state()).unwrap();
    assert_eq!(open, world.lineages);
    fs::create_dir(world.live().stage_path(&world.transaction)).unwrap();
    // Neither can be undone nor given up: the archive is away.
    let archive = world.home.path().join("letsencrypt/archive");
    fs::rename(&archive, archive.with_file_name("elsewhere")).unwrap();
    let told = |only: &[&str]| {
        let only = only.iter().map(|name| name.parse().unwrap()).collect();
        let grant = Grant { role: Role::Deploy, only, accounts: Vec::new(), allow_force: false };
        let Err(Halt(outcome)) = world.node.hold(Deadline::after(std::time::Duration::from_secs(20)), &grant) else {
            panic!("it was recovered")
        };
        outcome.to_string()
    };
    assert!(told(&[]).contains("is it mounted?"), "{}", told(&[]));
    let of_another = "an earlier transaction of another lineage";
    assert!(told(&["a.example"]).contains(of_another), "{}", told(&["a.example"]));
    assert!(!told(&["a.example", "b.example"]).contains(of_another));
}
