use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use super::{ChildStream, End, Stream, spawn};
use crate::model::deadline::Deadline;
use crate::primary::link::LinkError;

fn run(script: &str, millis: u64) -> ChildStream {
    let argv = ["sh", "-c", script].map(str::to_owned);
    spawn(&argv, End::Kill, Deadline::after(Duration::from_millis(millis))).unwrap()
}

/// Whether a process of that number still runs (a zombie does not).
fn runs(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn both_sides_may_write_at_once_beyond_what_a_pipe_holds() {
    let mut stream = run("exec cat", 20_000);
    let sent: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).take(1_500_000).collect();
    stream.write_all(&sent).unwrap();
    let mut back = vec![0; sent.len()];
    stream.read_exact(&mut back).unwrap();
    assert!(back == sent);
}

#[test]
fn a_silent_program_and_one_that_does_not_read_end_at_the_deadline() {
    for write in [false, true] {
        let begin = Instant::now();
        let mut stream = run("exec sleep 60", 300);
        let error = loop {
            let done = if write { stream.write(&[0; 8192]) } else { stream.read(&mut [0; 10]) };
            if let Err(error) = done {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        drop(stream);
        let took = begin.elapsed();
        assert!((300..10_000).contains(&took.as_millis()), "{took:?}");
    }
}

#[test]
fn a_deadline_may_be_moved_forth_and_back() {
    let begin = Instant::now();
    let mut stream = run("read word; echo $word; exec sleep 60", 20_000);
    stream.until(Deadline::after(Duration::from_millis(100)));
    assert_eq!(stream.read(&mut [0; 5]).unwrap_err().kind(), ErrorKind::TimedOut);
    assert!(begin.elapsed() < Duration::from_secs(10));
    stream.until(Deadline::after(Duration::from_secs(20)));
    stream.write_all(b"late\n").unwrap();
    stream.read_exact(&mut [0; 5]).unwrap();
}

#[test]
fn an_endless_sender_ends_at_the_deadline_too() {
    for script in ["cat /dev/zero", "cat /dev/zero >&2; :"] {
        let begin = Instant::now();
        let mut stream = run(script, 300);
        let error = io::copy(&mut stream, &mut io::sink()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(begin.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn a_clean_end_is_an_end_and_what_was_said_is_escaped() {
    let mut stream = run("printf out; printf '\\033[31mwhy\\n' >&2; exit 3", 5000);
    let mut out = String::new();
    stream.read_to_string(&mut out).unwrap();
    assert_eq!((out.as_str(), stream.said().as_str()), ("out", "\\u{1b}[31mwhy"));
}

#[test]
fn dropping_kills_the_whole_group_and_leaves_no_zombie() {
    let mut stream = run("trap '' HUP; sleep 61 & echo $$ $!; exec sleep 61", 5000);
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        line.push(byte[0]);
    }
    let line = String::from_utf8(line).unwrap();
    let pids: Vec<&str> = line.split_whitespace().collect();
    assert!(pids.len() == 2 && pids.iter().all(|pid| runs(pid)));
    let begin = Instant::now();
    drop(stream);
    assert!(begin.elapsed() < Duration::from_secs(10));
    // The grandchild is init's to reap, which may take it a moment.
    let soon = Deadline::after(Duration::from_secs(5));
    while pids.iter().any(|pid| runs(pid)) {
        assert!(!soon.has_passed(), "{pids:?} still run");
        std::thread::yield_now();
    }
    assert!(!fs::exists(format!("/proc/{}", pids[0])).unwrap(), "the child was not reaped");
}

#[test]
fn a_program_that_ends_by_itself_at_eof_is_left_to_do_so() {
    let dir = tempfile::tempdir().unwrap();
    let mark = dir.path().join("undone");
    // It must not see SIGKILL between the end of its input and its own last act.
    let mut stream = run(&format!("echo ready; cat >/dev/null; sleep 0.05; echo done > {}", mark.display()), 5000);
    stream.read_exact(&mut [0; 6]).unwrap();
    drop(stream);
    assert_eq!(fs::read_to_string(mark).unwrap(), "done\n");
}

#[test]
fn a_program_that_is_left_may_take_longer_than_we_wait() {
    let dir = tempfile::tempdir().unwrap();
    let (mark, gate) = (dir.path().join("committed"), dir.path().join("gate"));
    let wait = format!("n=0; until [ -e {} ] || [ $n = 6000 ]; do sleep 0.01; n=$((n+1)); done", gate.display());
    let script = format!("echo ready; cat >/dev/null; {wait}; echo done > {}", mark.display());
    let argv = ["sh", "-c", &script].map(str::to_owned);
    let mut stream = spawn(&argv, End::Leave, Deadline::after(Duration::from_secs(20))).unwrap();
    stream.read_exact(&mut [0; 6]).unwrap();
    let begin = Instant::now();
    drop(stream);
    assert!(begin.elapsed() < Duration::from_secs(30), "it was waited for");
    // It goes on only now.
    fs::write(gate, "").unwrap();
    let soon = Deadline::after(Duration::from_secs(20));
    while !fs::read_to_string(&mark).is_ok_and(|text| text == "done\n") {
        assert!(!soon.has_passed(), "it was killed");
        std::thread::yield_now();
    }
}

#[test]
fn a_missing_program_is_named() {
    let soon = Deadline::after(Duration::from_secs(1));
    let Err(error) = spawn(&["/no/such/program".to_owned()], End::Kill, soon) else { panic!("it was started") };
    assert!(matches!(error, LinkError::Spawn { .. }) && error.to_string().contains("/no/such/program"), "{error}");
    assert!(matches!(spawn(&[], End::Kill, soon), Err(LinkError::Unfit { .. })));
}

#[test]
fn a_client_that_reached_nobody_is_told_from_one_that_was_refused_and_from_a_missing_receiver() {
    let refused = "echo 'ssh: connect to host web2 port 22: Connection refused' >&2";
    for (script, is_away) in [
        (format!("{refused}; exit 255"), true),
        // Its pipes end first.
        (format!("{refused}; exec >&- 2>&-; sleep 0.1; exit 255"), true),
        (format!("{refused}; exit 127"), false),
        (format!("{refused}; kill -9 $$"), false),
        ("echo 'root@web2: Permission denied (publickey).' >&2; exit 255".to_owned(), false),
        ("echo 'sh: 1: certcast: not found' >&2; exit 127".to_owned(), false),
    ] {
        let mut stream = run(&script, 5000);
        assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
        assert_eq!(stream.is_away(), is_away, "{script}");
    }
}
