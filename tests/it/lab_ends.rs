//! The end of a lab: nothing of it stays on the machine, however its test dies.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::Stdio;

use crate::lab::{Lab, until};

/// Set for the process that is to be killed in `nothing_is_left_of_a_killed_test`.
const VICTIM: &str = "CERTCAST_TEST_VICTIM";

#[test]
fn nothing_is_left_of_a_killed_test() {
    if std::env::var_os(VICTIM).is_some() {
        raise_and_wait_for_death();
    }
    let mounts = || std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let interfaces = || std::fs::read_to_string("/proc/self/net/dev").unwrap().lines().count();
    let before = (mounts(), interfaces());
    let mut victim = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "lab_ends::nothing_is_left_of_a_killed_test", "--nocapture"])
        .env(VICTIM, "yes")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(victim.stdout.take().unwrap()).lines();
    let init =
        said.map_while(Result::ok).find_map(|line| line.strip_prefix("process 1 is ").map(str::to_owned)).unwrap();

    let space = std::fs::read_link(format!("/proc/{init}/ns/pid")).unwrap();
    let inhabitants = || -> BTreeSet<String> {
        let all = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        all.filter(|pid| std::fs::read_link(format!("/proc/{pid}/ns/pid")).is_ok_and(|other| other == space)).collect()
    };
    let families = |pids: &BTreeSet<String>, kind: &str| -> BTreeSet<PathBuf> {
        pids.iter().filter_map(|pid| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok()).collect()
    };
    let alive = inhabitants();
    assert!(alive.len() > 10, "three hosts with sshd and nginx are more than {alive:?}");
    let (nets, roots) = (families(&alive, "net"), families(&alive, "mnt"));
    assert_eq!((nets.len(), roots.len()), (5, 5), "three hosts, DNS, process 1");

    // Held open, so that a lab raised meanwhile by another test does not get the same numbers.
    let hold = |kind: &str| alive.iter().map(|pid| std::fs::File::open(format!("/proc/{pid}/ns/{kind}"))).collect();
    let open_spaces: Vec<Vec<std::io::Result<std::fs::File>>> = ["net", "mnt", "pid"].map(hold).into();

    victim.kill().unwrap();
    victim.wait().unwrap();
    until("the lab's process 1 is gone", || !PathBuf::from(format!("/proc/{init}")).exists());
    assert_eq!(inhabitants(), BTreeSet::new());
    // A namespace without a name lives in its processes only; nobody else may have come to hold one.
    let everyone =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    assert!(families(&everyone, "net").is_disjoint(&nets));
    assert!(families(&everyone, "mnt").is_disjoint(&roots));
    assert_eq!((mounts(), interfaces()), before, "the machine itself is as it was");
    drop(open_spaces);
}

fn raise_and_wait_for_death() -> ! {
    let lab = Lab::raise().hosts(3).up();
    writeln!(std::io::stdout(), "\nprocess 1 is {}", lab.init()).unwrap();
    loop {
        std::thread::park();
    }
}
