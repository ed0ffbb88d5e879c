//! The routes against a real sshd.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::sshd_fixture::{LONG, Sshd, Wish, echoes, keygen, refused, within};
use super::{Destination, LinkError, Route, Stage, Stream, child, open, system_ssh};
use crate::model::deadline::Deadline;

#[test]
fn the_right_key_is_let_in_and_bytes_go_both_ways() {
    let sshd = Sshd::start(&Wish::default());
    let mut stream = sshd.open(LONG).unwrap();
    echoes(&mut *stream, 100_000);
    // More than any pipe or socket buffer holds, written whole before a byte of the echo is read.
    echoes(&mut *stream, 1_500_000);
    drop(stream);
    sshd.wait_for("the far side saw the end", |log| log.iter().any(|line| line.contains("Close session")));
    assert_eq!(sshd.logged("Accepted publickey"), 1);
}

#[test]
fn every_type_of_host_key_and_identity_works() {
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let sshd = Sshd::start(&Wish { host_key: kind, ..Wish::default() });
        let identity = sshd.path(kind);
        keygen(&identity, kind, "");
        sshd.accept(&identity, "/bin/cat");
        echoes(&mut *sshd.open_with(&identity, LONG).unwrap(), 100);
    }
}

#[test]
#[ignore = "a measurement that means something only with the machine for itself"]
fn opening_takes_no_forty_millisecond_stall() {
    let sshd = Sshd::start(&Wish::default());
    // The quickest of many counts; with the stall each would have 40 ms more (measured: 31 ms without, 79 ms with).
    let took = || {
        let begin = Instant::now();
        let stream = sshd.open(LONG).unwrap();
        let took = begin.elapsed();
        drop(stream);
        took
    };
    let soon = Deadline::after(LONG);
    let mut best = took();
    while best.as_millis() >= 60 && !soon.has_passed() {
        best = best.min(took());
    }
    within(best, 0..60);
}

/// Opens to a port of which only the test knows what is behind it.
fn open_to_port(port: u16, deadline: Duration, connect_timeout: Duration) -> (LinkError, Duration) {
    let dir = tempfile::tempdir().unwrap();
    keygen(&dir.path().join("key"), "ed25519", "");
    let to = Destination { user: None, host: "127.0.0.1".to_owned(), port: Some(port) };
    let (identity, known_hosts) = (&dir.path().join("key"), &dir.path().join("none"));
    let begin = Instant::now();
    let error =
        refused(open(&Route::Ssh2 { to: &to, identity, known_hosts, connect_timeout }, Deadline::after(deadline)));
    (error, begin.elapsed())
}

#[test]
fn a_closed_port_is_reported_after_a_third_of_the_time() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (error, took) = open_to_port(port, Duration::from_secs(3), LONG);
    assert!(matches!(error, LinkError::Refused { address, .. } if address.port() == port), "{error:?}");
    within(took, 300..15_000);
}

#[test]
fn a_black_hole_ends_at_the_earlier_of_connect_timeout_and_deadline() {
    let hole = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = hole.local_addr().unwrap().port();
    for (deadline, connect_timeout, range) in [(1500, 60_000, 1500..20_000), (9000, 3500, 3500..8900)] {
        let (error, took) = open_to_port(port, Duration::from_millis(deadline), Duration::from_millis(connect_timeout));
        assert!(matches!(error, LinkError::Deadline { stage: Stage::Greeting, .. }), "{error:?}");
        within(took, range);
    }
}

#[test]
fn a_greeting_without_end_is_cut_at_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let flood = thread::spawn(move || {
        let (mut peer, _) = listener.accept().unwrap();
        // A closed far side with a full window is noticed late by the kernel.
        peer.set_write_timeout(Some(Duration::from_secs(3))).unwrap();
        let lines = b"not ssh\n".repeat(10_000);
        while peer.write_all(&lines).is_ok() {}
    });
    let (error, took) = open_to_port(port, Duration::from_secs(1), LONG);
    assert!(matches!(error, LinkError::Deadline { stage: Stage::Greeting, .. }), "{error:?}");
    within(took, 1000..20_000);
    flood.join().unwrap();
}

#[test]
fn a_far_side_that_stops_ends_reads_and_writes_at_the_deadline() {
    for write in [false, true] {
        let sshd = Sshd::start(&Wish::default());
        let begin = Instant::now();
        let mut stream = sshd.open(Duration::from_millis(2500)).unwrap();
        echoes(&mut *stream, 10);
        assert!(sshd.signal_sessions(Signal::SIGSTOP, "sshd") > 0);
        let error = loop {
            let done = if write { stream.write(&[0; 8192]) } else { stream.read(&mut [0; 10]) };
            if let Err(error) = done {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        drop(stream);
        within(begin.elapsed(), 2490..25_000);
    }
}

#[test]
fn dropping_a_stream_to_a_far_side_that_stopped_takes_no_time() {
    let sshd = Sshd::start(&Wish::default());
    let mut stream = sshd.open(LONG).unwrap();
    echoes(&mut *stream, 10);
    assert!(sshd.signal_sessions(Signal::SIGSTOP, "sshd") > 0);
    let begin = Instant::now();
    drop(stream);
    // With a goodbye that waits for the far side it would be LONG.
    within(begin.elapsed(), 0..10_000);
}

#[test]
fn connections_that_max_startups_drops_are_tried_again() {
    let sshd = Sshd::start(&Wish { options: &["MaxStartups 1"], ..Wish::default() });
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| echoes(&mut *sshd.open(LONG).unwrap(), 10));
        }
    });
    assert_eq!(sshd.logged("Accepted publickey"), 8);
    assert!(sshd.logged("drop connection") > 0, "sshd never dropped one: nothing was shown");
}

#[test]
fn the_systems_ssh_works_and_says_why_it_does_not() {
    let sshd = Sshd::start(&Wish::default());
    let config = format!(
        "Host web2\n HostName 127.0.0.1\n Port {}\n User root\n IdentityFile {}\n IdentitiesOnly yes\n UserKnownHostsFile {}\n GlobalKnownHostsFile none\n",
        sshd.to.port.unwrap(),
        sshd.path("user").display(),
        sshd.path("known_hosts").display(),
    );
    fs::write(sshd.path("ssh_config"), config).unwrap();
    let alias = Destination { user: None, host: "web2".to_owned(), port: None };
    let mut argv = system_ssh::argv(&alias, LONG);
    // ssh takes its configuration from the home directory in the user database, whatever HOME says.
    argv.splice(1..1, ["-F".to_owned(), sshd.path("ssh_config").display().to_string()]);
    echoes(&mut child::spawn(&argv, child::End::Kill, Deadline::after(LONG)).unwrap(), 1_500_000);
    sshd.trust("");
    let mut stream = child::spawn(&argv, child::End::Kill, Deadline::after(LONG)).unwrap();
    assert_eq!(stream.read(&mut [0; 10]).unwrap(), 0);
    assert!(stream.said().contains("Host key verification failed"), "{}", stream.said());
    assert_eq!(sshd.logged("Accepted publickey"), 1);
}

#[test]
fn a_receiver_that_dies_is_an_end_and_a_connection_that_dies_is_not() {
    let sshd = Sshd::start(&Wish::default());
    let mut stream = sshd.open(LONG).unwrap();
    echoes(&mut *stream, 10);
    assert_eq!(sshd.signal_sessions(Signal::SIGKILL, "cat"), 1);
    assert_eq!(stream.read(&mut [0; 10]).unwrap(), 0);
    let mut stream = sshd.open(LONG).unwrap();
    echoes(&mut *stream, 10);
    assert!(sshd.signal_sessions(Signal::SIGKILL, "sshd") > 0);
    assert_eq!(stream.read(&mut [0; 10]).unwrap_err().kind(), ErrorKind::ConnectionAborted);
}

#[test]
fn a_far_side_that_floods_stderr_neither_stalls_stdout_nor_fills_memory() {
    let receiver = "echo why >&2; head -c 9000000 /dev/zero >&2; echo out; head -c 5000000 /dev/zero >&2";
    let sshd = Sshd::start(&Wish { receiver, ..Wish::default() });
    let mut stream = sshd.open(LONG).unwrap();
    let mut out = String::new();
    stream.read_to_string(&mut out).unwrap();
    assert_eq!(out, "out\n");
    let said = stream.said();
    assert!(said.starts_with("why\\u{a}") && said.len() < 5000, "{said}");
}

#[test]
fn what_ssh_could_take_for_an_option_is_no_destination() {
    for (user, host) in
        [("root", "-oProxyCommand=x"), ("-x", "a"), ("root", ""), ("root", "a b"), ("root", "a\n"), ("root", "x@a")]
    {
        let to = Destination { user: Some(user.to_owned()), host: host.to_owned(), port: None };
        let error = refused(open(&Route::SystemSsh { to: &to, connect_timeout: LONG }, Deadline::after(LONG)));
        assert!(matches!(error, LinkError::Unfit { .. }), "{error:?}");
    }
}
