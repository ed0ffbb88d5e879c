//! Ends of a transaction that no crash alone leaves.

use std::os::unix::fs::symlink;
use std::time::Duration;

use super::*;
use crate::peer::probe::Expectation;
use crate::peer::share::Share;

const TIMEOUT: Duration = Duration::from_secs(20);

#[test]
fn a_service_that_is_well_is_told_of_the_way_back_though_another_was_ill_before() {
    let home = tempfile::tempdir_in("/dev/shm").unwrap();
    let [state, told] = ["state", "told"].map(|name| home.path().join(name));
    let mut world = World::new(Before::Number(number(1)));
    let service = |name: &str, test: &str| {
        let told = told.display();
        format!(
            "[[service]]\nname = \"{name}\"\ntest = [\"{test}\"]\nreload = [\"sh\", \"-c\", \"echo {name} >> {told}\"]\n\
             probe = []\n"
        )
    };
    let text = format!(
        "[node]\nname = \"web2\"\nletsencrypt = \"{}\"\nstate = \"{}\"\n{}{}",
        world.node.letsencrypt().path().display(),
        state.display(),
        service("ill", "false"),
        service("well", "true")
    );
    let node = Node::open(Config::parse(&text, Path::new("test.toml")).unwrap(), false).unwrap();
    world.node = node;
    world.act(Act::StageLive);
    let intent = Intent { tests_passed: false, joined: Vec::new(), ..world.intent() };
    let mut journal = Journal::begin(world.node.state(), &world.transaction, vec![intent]).unwrap();
    journal.write(&Record::Switching).unwrap();
    let held = world.node.lock(Deadline::after(TIMEOUT)).unwrap();
    let outcome = recover(&world.node, &held, false).unwrap();
    assert!(matches!(outcome, Some(Outcome::RolledBack { .. })), "{outcome:?}");
    assert_eq!(fs::read_to_string(told).unwrap(), "well\n");
}

#[test]
fn a_link_to_a_directory_is_taken_over_and_kept() {
    let mut world = World::new(Before::Foreign);
    let elsewhere = world.home.path().join("elsewhere");
    fs::rename(world.live().path(), &elsewhere).unwrap();
    symlink(&elsewhere, world.live().path()).unwrap();
    for act in [Act::Begin, Act::StageLive, Act::Switch] {
        world.act(act);
    }
    let kept = world.live().discard(&world.transaction).unwrap().unwrap();
    assert_eq!(fs::read_link(kept).unwrap(), elsewhere);
    assert_eq!(world.live().number().unwrap(), Some(number(2)));
}

#[test]
fn a_tree_that_is_not_mounted_is_not_taken_for_one_that_is_undone() {
    for before in [Before::Number(number(1)), Before::Nothing] {
        let mut world = World::new(before);
        for act in [&staged()[..], &[Act::Note(Line::Switching), Act::Switch]].concat() {
            world.act(act);
        }
        let tree = world.home.path().join("letsencrypt");
        let [mounted, elsewhere] = ["live", "elsewhere"].map(|name| tree.join(name));
        fs::rename(&mounted, &elsewhere).unwrap();
        let held = world.node.lock(Deadline::after(TIMEOUT)).unwrap();
        let halt = recover(&world.node, &held, true).unwrap_err();
        assert!(matches!(&halt.0, Outcome::Refused { cause, .. } if cause.contains("is it mounted?")), "{halt:?}");
        fs::rename(&elsewhere, &mounted).unwrap();
        drop(held);
        world.recovers_to((before != Before::Nothing).then_some(1), "mounted again");
    }
}

#[test]
fn on_the_own_node_a_lineage_that_certbot_deleted_is_not_wanted() {
    let world = World::new(Before::Nothing);
    let intent = Intent { before: Before::Certbot, joined: Vec::new(), ..world.intent() };
    Journal::begin(world.node.state(), &world.transaction, vec![intent]).unwrap();
    let held = world.node.lock(Deadline::after(TIMEOUT)).unwrap();
    recover(&world.node, &held, false).unwrap();
    assert!(!world.journal_path().exists());
}

#[test]
fn somebody_elses_tree_that_appeared_before_the_switch_stays() {
    let mut world = World::new(Before::Nothing);
    for act in [Act::Begin, Act::StageLive, Act::Note(Line::Switching)] {
        world.act(act);
    }
    fs::create_dir(world.live().path()).unwrap();
    world.act(Act::UndoLive);
    assert!(world.live().path().exists() && world.live().stage_path(&world.transaction).exists());
}

#[test]
fn a_tree_that_shows_no_one_version_in_full_is_somebody_elses() {
    for (change, why) in [(None, "some of its four links are missing"), (Some(2), "show different versions")] {
        let world = World::new(Before::Number(number(1)));
        let link = world.live().path().join("chain.pem");
        fs::remove_file(&link).unwrap();
        if let Some(number) = change {
            symlink(format!("../../archive/a.example/chain{number}.pem"), &link).unwrap();
        }
        let found = world.live().number().unwrap_err().to_string();
        assert!(found.contains(why), "{found}");
    }
}

#[test]
fn a_damaged_journal_needs_a_person_and_one_that_cannot_be_read_another_try() {
    let world = World::new(Before::Nothing);
    let held = world.node.lock(Deadline::after(TIMEOUT)).unwrap();
    fs::write(world.journal_path(), "rotten\n").unwrap();
    let halt = recover(&world.node, &held, true).unwrap_err();
    assert!(matches!(&halt.0, Outcome::Stuck { remedy, .. } if remedy[0].starts_with("ls -lA ")), "{halt:?}");
    fs::remove_file(world.journal_path()).unwrap();
    fs::create_dir(world.journal_path()).unwrap();
    let halt = recover(&world.node, &held, true).unwrap_err();
    assert!(matches!(&halt.0, Outcome::Refused { .. }), "{halt:?}");
}

#[test]
fn on_the_way_back_only_a_service_that_was_well_is_waited_for() {
    let closed = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (ill, well) = (closed(), closed());
    for (place, is_waited_for) in [(ill, false), (well, true)] {
        let mut world = World::new(Before::Number(number(1)));
        let service = |test: &str, at: std::net::SocketAddr| {
            format!("[[service]]\nname = \"{test}\"\ntest = [\"{test}\"]\nreload = [\"true\"]\nprobe = [\"{at}\"]\n")
        };
        let tree = world.node.letsencrypt().path().to_owned();
        let text = format!(
            "[node]\nname = \"web2\"\nletsencrypt = {tree:?}\nstate = {:?}\n{}{}",
            world.home.path().join("another"),
            service("false", ill),
            service("true", well)
        );
        world.node = Node::open(Config::parse(&text, Path::new("test.toml")).unwrap(), false).unwrap();
        let expectations = vec![Expectation { address: place, name: "a.example".parse().unwrap() }];
        let old_leaf = Some(Digest::of(b"1"));
        let intent = Intent { tests_passed: false, joined: Vec::new(), expectations, old_leaf, ..world.intent() };
        let mut journal = Journal::begin(world.node.state(), &world.transaction, vec![intent]).unwrap();
        journal.write(&Record::Switching).unwrap();
        let outcome = Ending::of(&world.node, journal).unwrap().undo(Step::Reload, "why".into(), Reload::Back);
        assert_eq!(matches!(outcome, Outcome::Stuck { .. }), is_waited_for, "{outcome:?}");
    }
}

#[test]
fn what_stays_stuck_says_why_and_its_journal_does_not_grow() {
    let mut world = World::new(Before::Number(number(1)));
    for act in [Act::Begin, Act::StageLive, Act::Note(Line::Switching), Act::Switch] {
        world.act(act);
    }
    // Neither of the two directories shows the old version, and links cannot be made in a file's place.
    fs::remove_dir_all(world.live().path()).unwrap();
    fs::remove_dir_all(world.live().stage_path(&world.transaction)).unwrap();
    let held = world.node.lock(Deadline::after(TIMEOUT)).unwrap();
    let stuck = || match recover(&world.node, &held, true) {
        Ok(Some(Outcome::Stuck { cause, .. })) => cause,
        other => panic!("{other:?}"),
    };
    stuck();
    let length = || fs::metadata(world.journal_path()).unwrap().len();
    let (first, why) = (length(), stuck());
    stuck();
    assert_eq!(length(), first);
    assert!(why.contains("was cut off; then undoing failed"), "{why}");
}

#[test]
fn links_of_different_versions_that_were_taken_over_are_kept() {
    let mut world = World::new(Before::Number(number(1)));
    let link = world.live().path().join("chain.pem");
    fs::remove_file(&link).unwrap();
    symlink("../../archive/a.example/chain7.pem", link).unwrap();
    world.before = Before::Foreign;
    for act in [Act::Begin, Act::StageLive, Act::Switch] {
        world.act(act);
    }
    world.act(Act::Note(Line::Switching));
    world.act(Act::Note(Line::Confirmed));
    let held = world.node.lock(Deadline::after(TIMEOUT)).unwrap();
    let outcome = recover(&world.node, &held, false).unwrap();
    let Some(Outcome::Applied { notes }) = outcome else { panic!("{outcome:?}") };
    let kept = world.live().path().with_file_name(format!(".a.example.replaced-{}", world.transaction));
    assert!(notes.iter().any(|note| note.contains(&*kept.to_string_lossy())), "{notes:?}");
    assert_eq!(fs::read_link(kept.join("chain.pem")).unwrap(), Path::new("../../archive/a.example/chain7.pem"));
}

#[test]
fn a_place_that_the_new_files_killed_is_not_passed_over_on_the_way_back() {
    let mut world = World::new(Before::Number(number(1)));
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let place = Expectation { address: free, name: "a.example".parse().unwrap() };
    world.act(Act::StageLive);
    world.act(Act::Switch);
    let old_leaf = Some(Digest::of(b"1"));
    let intent = Intent { expectations: vec![place], old_leaf, joined: Vec::new(), ..world.intent() };
    let mut journal = Journal::begin(world.node.state(), &world.transaction, vec![intent]).unwrap();
    journal.write(&Record::Switching).unwrap();
    let outcome = Ending::of(&world.node, journal).unwrap().undo(Step::Reload, "it died".into(), Reload::Back);
    assert!(matches!(&outcome, Outcome::Stuck { cause, .. } if cause.contains("nothing listens")), "{outcome:?}");
    // The first cause is kept apart from what came of it.
    let noted = fs::read_to_string(world.journal_path()).unwrap();
    assert!(noted.contains(r#""record":"undoing","step":"reload","cause":"it died""#), "{noted}");
}

#[test]
fn a_place_that_had_the_new_leaf_before_need_not_show_the_old_one() {
    let mut world = World::new(Before::Number(number(1)));
    world.act(Act::StageLive);
    let [old, place, other] = [443, 993, 25]
        .map(|port| Expectation { address: ([192, 0, 2, 1], port).into(), name: "a.example".parse().unwrap() });
    let leaf = Digest::of(b"1");
    let expectations = vec![old.clone(), place.clone()];
    let intent = Intent { expectations, ahead: vec![place.clone(), other], old_leaf: Some(leaf), ..world.intent() };
    let journal = Journal::begin(world.node.state(), &world.transaction, vec![intent.clone()]).unwrap();
    let back = |intent: &Intent| Share::of(&world.node, &journal, intent).unwrap().expects_back();
    assert_eq!(back(&intent), [(old, Some(leaf)), (place, None)]);
    assert_eq!(back(&Intent { old_leaf: None, ..intent }), []);
}

#[test]
fn a_joined_file_whose_directory_is_not_mounted_is_not_taken_for_undone() {
    let mut world = World::new(Before::Number(number(1)));
    for act in [&staged()[..], &[Act::Note(Line::Switching), Act::Switch, Act::SwitchJoined]].concat() {
        world.act(act);
    }
    let [mounted, elsewhere] = ["joined", "elsewhere"].map(|name| world.home.path().join(name));
    fs::rename(&mounted, &elsewhere).unwrap();
    let held = world.node.lock(Deadline::after(TIMEOUT)).unwrap();
    let halt = recover(&world.node, &held, true).unwrap_err();
    assert!(
        halt.0.to_string().contains(&format!("an open transaction needs {}: is it", mounted.display())),
        "{halt:?}"
    );
    fs::rename(&elsewhere, &mounted).unwrap();
    drop(held);
    world.recovers_to(Some(1), "mounted again");
}

/// Runs the commands that a message gives, but for those of certcast.
fn pasted(told: &str, home: &Path) {
    let commands = told.split('\'').skip(1).step_by(2).filter(|command| !command.starts_with("certcast "));
    for command in commands {
        let command = command.replace(" /root/", &format!(" {}", home.display()));
        assert!(std::process::Command::new("sh").args(["-c", &command]).status().unwrap().success(), "{command}");
    }
}

#[test]
fn what_a_person_removed_ends_with_the_commands_that_the_message_gives() {
    let switched = [Act::Note(Line::Switching), Act::Switch, Act::SwitchJoined];
    for before in [Before::Number(number(1)), Before::Nothing, Before::Foreign] {
        for (removed, switch) in
            ["letsencrypt/archive/a.example", "joined"].map(|it| [(it, &[][..]), (it, &switched)]).concat()
        {
            let mut world = World::new(before);
            for act in [&staged()[..], switch].concat() {
                world.act(act);
            }
            fs::remove_dir_all(world.home.path().join(removed)).unwrap();
            let held = world.node.lock(Deadline::after(TIMEOUT)).unwrap();
            // Before the switch a first tree, or one to be taken over, needs no archive.
            let told = recover(&world.node, &held, false).err().map_or(String::new(), |halt| halt.0.to_string());
            assert!(!told.is_empty() || switch.is_empty());
            pasted(&told, world.home.path());
            let outcome = recover(&world.node, &held, false).unwrap();
            assert!(!world.journal_path().exists(), "{before:?} {removed} {switch:?}: {told} {outcome:?}");
            let is_back = before == Before::Foreign && world.live().path().join("cert.pem").is_file();
            assert!(before != Before::Foreign || is_back || told.contains("mv "), "{removed}: the old tree is lost");
        }
    }
}

#[test]
fn a_version_whose_files_are_gone_is_not_gone_back_to() {
    let mut world = World::new(Before::Number(number(1)));
    let confirmed = [Act::Note(Line::Switching), Act::Switch, Act::DiscardLive];
    [&staged()[..=4], &[Act::StageLive], &confirmed].concat().into_iter().for_each(|act| world.act(act));
    world.archive().prune(number(1)).unwrap();
    world.act(Act::StageJoined);
    let held = world.node.lock(Deadline::after(TIMEOUT)).unwrap();
    let outcome = recover(&world.node, &held, true).unwrap();
    assert!(
        matches!(&outcome, Some(Outcome::Stuck { cause, .. }) if cause.contains("to go back to, is not whole")),
        "{outcome:?}"
    );
    assert_eq!(world.live().number().unwrap(), Some(number(2)));
    assert!(world.archive().read(number(2)).unwrap().is_some());
}

#[test]
fn a_tree_that_was_taken_over_and_is_gone_is_not_gone_back_to() {
    let mut world = World::new(Before::Foreign);
    for act in [&staged()[..], &[Act::Note(Line::Switching), Act::Switch, Act::SwitchJoined]].concat() {
        world.act(act);
    }
    let joined = || fs::read(world.joined_path(world.lineage())).unwrap();
    let new = joined();
    world.live().keep(&world.transaction).unwrap();
    fs::write(world.live().path().join("notes"), "somebody's").unwrap();
    let held = world.node.lock(Deadline::after(TIMEOUT)).unwrap();
    let outcome = recover(&world.node, &held, true).unwrap();
    assert!(
        matches!(&outcome, Some(Outcome::Stuck { cause, .. }) if cause.contains("to go back to, is not where it was")),
        "{outcome:?}"
    );
    let shown = fs::read_link(world.live().path().join("cert.pem")).unwrap();
    assert!(shown.ends_with("cert2.pem"), "{shown:?}");
    assert!(joined() == new, "a part of it went back");
}

#[test]
fn files_that_the_visible_links_name_stay_whoever_made_the_links() {
    let mut world = World::new(Before::Number(number(1)));
    for act in [&staged()[..], &[Act::Note(Line::Switching), Act::Switch, Act::Note(Line::Undoing)]].concat() {
        world.act(act);
    }
    world.act(Act::UndoJoined);
    world.act(Act::UndoLive);
    world.act(Act::Note(Line::Undone));
    // Somebody made them so before the recovery.
    for part in Part::ALL {
        let link = world.live().path().join(part.link());
        fs::remove_file(&link).unwrap();
        symlink(format!("../../archive/a.example/{}", part.file(number(2))), link).unwrap();
    }
    let held = world.node.lock(Deadline::after(TIMEOUT)).unwrap();
    recover(&world.node, &held, true).unwrap();
    assert!(!world.journal_path().exists());
    assert!(world.archive().read(number(2)).unwrap().is_some());
}

#[test]
fn what_a_killed_call_left_of_a_record_goes_whether_a_transaction_is_open_or_not() {
    for is_open in [false, true] {
        let mut world = World::new(Before::Nothing);
        let kept = world.node.state().join("brought");
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join(".certcast-0123456789abcdef.tmp"), "").unwrap();
        if is_open {
            world.act(Act::Begin);
        }
        let held = world.node.lock(Deadline::after(TIMEOUT)).unwrap();
        assert_eq!(recover(&world.node, &held, false).is_ok_and(|done| done.is_none()), !is_open);
        assert_eq!(fs::read_dir(kept).unwrap().count(), 0);
    }
}

#[test]
fn a_service_whose_test_fails_or_can_never_be_run_is_ill() {
    let text =
        "[node]\nname = \"web2\"\n[[service]]\nname = \"a\"\ntest = [\"true\"]\nreload = [\"true\"]\nprobe = []\n";
    let mut service = Config::parse(text, Path::new("test.toml")).unwrap().services.remove(0);
    let mut is_ill = |test: &[&str]| {
        service.test = test.iter().map(|&word| word.to_owned()).collect();
        service::is_ill(&service)
    };
    assert!(!is_ill(&["true"]) && is_ill(&["false"]) && is_ill(&["/no/such/program"]) && is_ill(&["/etc/passwd"]));
    // More than the kernel passes on.
    assert!(is_ill(&["true", &"x".repeat(1 << 20)]));
}
