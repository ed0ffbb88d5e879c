//! A program of a host that waits to be followed before it begins.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;

use nix::errno::Errno;
use nix::libc;
use nix::unistd::Pid;

use super::cut::{Blow, Cut, WRITE};
use super::tracer::{self, Followed, Rules};
use crate::lab::{Command, Finished, Host, some};

/// What to put before a program's words, on a host that is prepared for it.
pub const HELD: &str = "/etc/sweep/held";
const GATE: &str = "/etc/sweep/gate";

/// Makes a host fit for [`run`].
///
/// A child that another thread has just forked holds the gate of the run before open until its exec. When that closes, `read`
/// sees an end of file and no line, and asks again.
pub fn prepare(host: &Host) {
    host.write(HELD, format!("#!/bin/sh\nuntil read _ <{GATE}; do :; done\nexec \"$@\"\n"));
    host.chmod(HELD, 0o755);
    host.run(["mkfifo", GATE]).ok();
}

/// Runs a command of which one program is [`HELD`], and follows that.
pub fn run(host: &Host, command: Command, rules: &Rules) -> (Finished, Followed) {
    let mut running = command.spawn();
    let mut gate = some("the program waits to be followed", || {
        // Without a reader there is no such device yet.
        let opened = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(host.root().join(&GATE[1..]));
        let ended = opened.is_err() && !running.is_running();
        assert!(!ended, "it ended before what is held: {}", running.stdout_so_far());
        opened.ok()
    });
    let held = youngest(running.pid());
    std::thread::scope(|scope| {
        // A thread of its own: it waits for all of its children.
        let tracer = scope.spawn(|| tracer::follow(held, rules, || gate.write_all(b"\n").unwrap()));
        let finished = running.wait();
        (finished, tracer.join().unwrap())
    })
}

/// The last of a row of programs each of which waits for the next.
fn youngest(pid: Pid) -> Pid {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children.split_whitespace().next().map_or(pid, |child| youngest(Pid::from_raw(child.parse().unwrap())))
}

/// What is cut is cut where it is said to be: without this a sweep would prove nothing.
#[test]
fn the_call_that_is_named_is_the_one_that_is_cut() {
    let lab = crate::lab::Lab::raise().host("web1").without_configuration().up();
    let host = &lab["web1"];
    prepare(host);
    let shell = |blow: Option<Blow>| {
        let cut = blow.map(|blow| Cut { call: WRITE, nth: 2, blow, at: 0 });
        let command = host.command([HELD, "sh", "-c", "echo a; echo b; echo c; /bin/echo d"]);
        let (finished, followed) = run(host, command, &Rules { cut, ..Rules::default() });
        assert_eq!(followed.is_cut, blow.is_some());
        (finished.stdout(), finished.status.signal(), followed.calls.iter().filter(|call| **call == WRITE).count())
    };
    // The last line is another program's.
    assert_eq!(shell(None), ("a\nb\nc\nd\n".into(), None, 3));
    assert_eq!(shell(Some(Blow::Kill)), ("a\n".into(), Some(9), 2));
    assert_eq!(shell(Some(Blow::Once(Errno::ENOSPC))).0, "a\nc\nd\n");
    assert_eq!(shell(Some(Blow::FromNowOn(Errno::ENOSPC))).0, "a\nd\n");
}
