use std::fs;

use super::*;

const PRINT: &str = "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI";

fn challenge(n: u8) -> Challenge {
    let token = format!("{n:0>43}");
    Challenge::new("a.example".parse().unwrap(), token.parse().unwrap(), &format!("{token}.{PRINT}")).unwrap()
}

fn runs() -> (tempfile::TempDir, Runs, ProcessId) {
    let home = tempfile::tempdir().unwrap();
    let runs = Runs::open(home.path()).unwrap();
    let alive = ancestry::process(i32::try_from(std::process::id()).unwrap()).unwrap();
    (home, runs, alive)
}

#[test]
fn a_run_is_clean_when_each_challenge_is_in_whatever_order() {
    let (home, runs, run) = runs();
    for n in 1..=3 {
        runs.record(&run, &challenge(n)).unwrap();
    }
    runs.mark_published(&run).unwrap();
    assert_eq!(runs.mark_cleaned(&run, challenge(3).token()).unwrap(), Progress::MoreToClean);
    assert_eq!(runs.mark_cleaned(&run, challenge(1).token()).unwrap(), Progress::MoreToClean);
    assert_eq!(runs.mark_cleaned(&run, challenge(1).token()).unwrap(), Progress::MoreToClean);
    let Progress::AllClean(all) = runs.mark_cleaned(&run, challenge(2).token()).unwrap() else { panic!() };
    assert_eq!(all.len(), 3);
    runs.forget(&run).unwrap();
    assert!(runs.challenges(&run).unwrap().is_empty());
    runs.forget(&run).unwrap();
    assert_eq!(fs::read_dir(home.path().join("runs")).unwrap().count(), 0);
}

#[test]
fn many_may_forget_the_same_at_once_and_what_an_earlier_call_left_is_no_obstacle() {
    let (home, runs, run) = runs();
    for _ in 0..30 {
        for n in 1..=9 {
            runs.record(&run, &challenge(n)).unwrap();
        }
        let left = home.path().join("runs").join(format!("{FORGOTTEN}{run}"));
        fs::create_dir(&left).unwrap();
        fs::write(left.join("x"), "").unwrap();
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..4).map(|_| scope.spawn(|| runs.forget(&run))).collect();
            for one in all {
                one.join().unwrap().unwrap();
            }
        });
        assert_eq!(fs::read_dir(home.path().join("runs")).unwrap().count(), 0);
    }
}

#[test]
fn a_run_that_never_published_has_nothing_to_withdraw() {
    let (_home, runs, run) = runs();
    runs.record(&run, &challenge(1)).unwrap();
    assert_eq!(runs.mark_cleaned(&run, challenge(1).token()).unwrap(), Progress::NeverPublished);
}

#[test]
fn only_a_dead_certbot_leaves_orphans() {
    let (_home, runs, alive) = runs();
    let dead = ProcessId { started: alive.started + 1, ..alive };
    runs.record(&alive, &challenge(1)).unwrap();
    runs.record(&dead, &challenge(2)).unwrap();
    assert_eq!(runs.orphans(), [(dead, vec![challenge(2)])]);
}

#[test]
fn an_orphan_that_cannot_be_read_waits_and_what_is_left_of_forgotten_ones_goes() {
    let (home, runs, alive) = runs();
    let dead = ProcessId { started: alive.started + 1, ..alive };
    runs.record(&dead, &challenge(1)).unwrap();
    let records = home.path().join("runs");
    // A link is not followed: the disk does not give the record away.
    let record = records.join(dead.to_string()).join(challenge(2).token().as_str());
    std::os::unix::fs::symlink("elsewhere", &record).unwrap();
    fs::create_dir(records.join(format!("{FORGOTTEN}1-1"))).unwrap();
    fs::write(records.join(format!("{FORGOTTEN}1-1/x")), "").unwrap();
    assert_eq!(runs.orphans(), []);
    assert_eq!(fs::read_dir(&records).unwrap().count(), 1);
    fs::remove_file(record).unwrap();
    assert_eq!(runs.orphans(), [(dead, vec![challenge(1)])]);
}

#[test]
fn debts_stay_until_they_are_settled_and_damage_is_passed_over() {
    let (home, runs, _) = runs();
    let node: NodeName = "web2".parse().unwrap();
    let debts = [1, 2].map(|n| Withdrawal::of(&challenge(n)));
    runs.owe(&[(&node, debts.to_vec())]).unwrap();
    fs::write(home.path().join("owed/web2").join(challenge(3).token().as_str()), "{torn").unwrap();
    let killed = home.path().join("owed/web2/.certcast-0123456789abcdef.tmp");
    fs::write(&killed, "half").unwrap();
    assert_eq!(runs.owed(&node), debts);
    assert!(!killed.exists());
    runs.settled(&node, &debts[..1]).unwrap();
    assert_eq!(runs.owed(&node), debts[1..]);
}

#[test]
fn what_several_nodes_owe_is_each_ones_own() {
    let (_home, runs, _) = runs();
    let nodes: Vec<NodeName> = ["web1", "web2", "web3"].map(|name| name.parse().unwrap()).into();
    let debt = |n| Withdrawal::of(&challenge(n));
    let all = vec![debt(1), debt(2)];
    // web1 was owed one of them before, and web3 is owed one only.
    runs.owe(&[(&nodes[0], vec![debt(2)])]).unwrap();
    runs.owe(&[(&nodes[2], vec![debt(2)]), (&nodes[0], all.clone()), (&nodes[1], all.clone())]).unwrap();
    let owed = |at: usize| runs.owed(&nodes[at]).into_iter().collect::<BTreeSet<_>>();
    let both: BTreeSet<_> = all.iter().cloned().collect();
    assert_eq!((owed(0), owed(1), owed(2)), (both.clone(), both, [debt(2)].into()));
    runs.settled(&nodes[2], &[debt(2)]).unwrap();
    runs.settled(&nodes[0], &all).unwrap();
    assert_eq!((owed(0).len(), owed(1).len(), owed(2).len()), (0, 2, 0));
}

#[test]
fn what_certbot_is_done_with_is_told_from_what_it_asks_for_now() {
    let (home, runs, run) = runs();
    for n in 1..=3 {
        runs.record(&run, &challenge(n)).unwrap();
    }
    for n in [1, 2] {
        runs.mark_cleaned(&run, challenge(n).token()).unwrap();
    }
    // Asked for again.
    runs.record(&run, &challenge(2)).unwrap();
    assert_eq!(runs.cleaned(&run).unwrap(), [challenge(1)]);
    runs.forget_cleaned(&run, &[challenge(1)]).unwrap();
    assert_eq!(runs.cleaned(&run).unwrap(), []);
    assert_eq!(runs.challenges(&run).unwrap().len(), 2);
    assert_eq!(fs::read_dir(home.path().join("runs").join(run.to_string())).unwrap().count(), 2, "with their marks");
}

#[test]
fn challenges_are_in_the_order_of_their_names_whatever_their_tokens_are() {
    let (_home, runs, run) = runs();
    for name in ["c.example", "a.example", "192.0.2.1", "b.example"] {
        let token = Token::random().unwrap();
        let made = Challenge::new(name.parse().unwrap(), token.clone(), &format!("{token}.{PRINT}")).unwrap();
        runs.record(&run, &made).unwrap();
    }
    let names: Vec<_> = runs.challenges(&run).unwrap().iter().map(|one| one.name().to_string()).collect();
    assert_eq!(names, ["a.example", "b.example", "c.example", "192.0.2.1"]);
}

#[test]
fn of_debts_without_end_the_newest_are_kept_and_can_be_read() {
    let (home, runs, _) = runs();
    let node: NodeName = "web2".parse().unwrap();
    runs.owe(&[(&node, [1, 2].map(|n| Withdrawal::of(&challenge(n))).to_vec())]).unwrap();
    let owed = home.path().join("owed/web2");
    for n in 2..DEBTS_AT_MOST {
        fs::write(owed.join(format!("{n:x>43}")), "").unwrap();
    }
    let hour_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    for n in [1, 2] {
        let file = fs::File::options().write(true).open(owed.join(challenge(n).token().as_str())).unwrap();
        file.set_modified(hour_ago).unwrap();
    }
    // One that is there already needs no place.
    runs.owe(&[(&node, [2, 3].map(|n| Withdrawal::of(&challenge(n))).to_vec())]).unwrap();
    assert_eq!(fs::read_dir(&owed).unwrap().count(), DEBTS_AT_MOST);
    assert_eq!(runs.owed(&node), [2, 3].map(|n| Withdrawal::of(&challenge(n))));
}

#[test]
fn a_disk_that_does_not_say_whether_anything_was_published_is_taken_to_say_yes() {
    let (home, runs, run) = runs();
    assert!(!runs.is_published(&run), "of a run that left nothing nothing was published");
    runs.record(&run, &challenge(1)).unwrap();
    assert!(!runs.is_published(&run));
    // A link is not followed: an error that says nothing of what is there.
    let record = home.path().join("runs").join(run.to_string());
    fs::rename(&record, home.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(home.path().join("elsewhere"), &record).unwrap();
    assert!(runs.is_published(&run));
}
