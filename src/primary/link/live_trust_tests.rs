//! Who is trusted and who is let in. The judge is a real sshd's own log.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::identity::{Credential, read_known_hosts};
use super::sshd_fixture::{LONG, Sshd, Wish, echoes, keygen, refused, within};
use super::{LinkError, Stage, Stream, ssh2};
use crate::model::deadline::Deadline;

#[test]
fn a_host_key_that_is_not_pinned_is_never_authenticated_to() {
    let sshd = Sshd::start(&Wish::default());
    let (name, key) = (sshd.name(), sshd.host_key());
    keygen(&sshd.path("other"), "ed25519", "");
    keygen(&sshd.path("ecdsa"), "ecdsa", "");
    let other = fs::read_to_string(sshd.path("other.pub")).unwrap();
    let ecdsa = fs::read_to_string(sshd.path("ecdsa.pub")).unwrap();
    let is = |test: fn(&LinkError) -> bool| test;
    let cases = [
        (format!("127.0.0.1 {key}"), is(|e| matches!(e, LinkError::HostKeyUnknown(_)))),
        (format!("{name} {other}"), is(|e| matches!(e, LinkError::HostKeyChanged { line: 1, .. }))),
        (format!("{name} {key}@revoked * {key}"), is(|e| matches!(e, LinkError::HostKeyRevoked { line: 2, .. }))),
        (format!("{name} {ecdsa}"), is(|e| matches!(e, LinkError::HostKeyNoUsableAlgorithm { .. }))),
        (format!("@cert-authority * {key}"), is(|e| matches!(e, LinkError::HostKeyAuthorityOnly(_)))),
        (String::new(), is(|e| matches!(e, LinkError::HostKeyUnknown(_)))),
    ];
    let count = cases.len();
    for (file, expected) in cases {
        sshd.trust(&file);
        let error = refused(sshd.open(LONG));
        assert!(expected(&error), "{file}: {error:?}");
        let (line, hint) = (error.to_string(), error.hint().unwrap());
        assert!(line.starts_with(&name) && line.contains("known_hosts") && !line.contains('\n'), "{line}");
        assert!(!hint.contains('\n'), "{hint}");
    }
    let closed = |log: &[String]| log.iter().filter(|line| line.contains("Connection closed by")).count() == count;
    sshd.wait_for("each connection was closed", closed);
    assert_eq!((sshd.logged("Connection from"), sshd.logged("publickey")), (count, 0), "something was tried");
}

#[test]
fn the_hint_for_an_unknown_key_pins_exactly_the_key_whose_fingerprint_it_shows() {
    let sshd = Sshd::start(&Wish::default());
    sshd.trust("");
    let LinkError::HostKeyUnknown(offered) = refused(sshd.open(LONG)) else { panic!("another error") };
    let shown = Command::new("ssh-keygen").arg("-lf").arg(sshd.path("host.pub")).output().unwrap();
    assert!(String::from_utf8_lossy(&shown.stdout).contains(&offered.fingerprint));
    let hint = LinkError::HostKeyUnknown(offered).hint().unwrap();
    let paste = hint.split('`').nth(3).unwrap();
    assert!(Command::new("sh").args(["-c", paste]).status().unwrap().success(), "{paste}");
    echoes(&mut *sshd.open(LONG).unwrap(), 1);
}

#[test]
fn a_wrong_key_is_tried_exactly_once() {
    let sshd = Sshd::start(&Wish::default());
    keygen(&sshd.path("stranger"), "ed25519", "");
    let error = refused(sshd.open_with(&sshd.path("stranger"), LONG));
    assert!(matches!(&error, LinkError::Authentication { user, .. } if user == "root"), "{error:?}");
    sshd.wait_for("the connection was closed", |log| log.iter().any(|line| line.contains("Connection closed by")));
    assert_eq!((sshd.logged("Connection from"), sshd.logged("Failed publickey"), sshd.logged("Accepted")), (1, 1, 0));
}

#[test]
fn an_identity_that_is_no_use_is_found_before_anybody_is_called() {
    let sshd = Sshd::start(&Wish::default());
    fs::set_permissions(sshd.path("user"), Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(refused(sshd.open(LONG)), LinkError::IdentityOpenToOthers { mode: 0o644, .. }));
    keygen(&sshd.path("locked"), "ed25519", "a passphrase");
    assert!(matches!(refused(sshd.open_with(&sshd.path("locked"), LONG)), LinkError::IdentityEncrypted { .. }));
    assert!(matches!(refused(sshd.open_with(&sshd.path("none"), LONG)), LinkError::IdentityMissing { .. }));
    assert_eq!(sshd.logged("Connection from"), 0);
    fs::write(sshd.path("junk"), "no key").unwrap();
    fs::set_permissions(sshd.path("junk"), Permissions::from_mode(0o600)).unwrap();
    assert!(matches!(refused(sshd.open_with(&sshd.path("junk"), LONG)), LinkError::IdentityForeign { .. }));
}

/// An agent holding these keys, ended with the closure.
fn with_agent(sshd: &Sshd, keys: &[&str], work: impl FnOnce(&Path)) {
    let socket = sshd.path("agent");
    let mut agent = Command::new("ssh-agent").args(["-D", "-a"]).arg(&socket).stdout(Stdio::null()).spawn().unwrap();
    let soon = Deadline::after(LONG);
    while !socket.exists() && !soon.has_passed() {
        thread::yield_now();
    }
    for key in keys {
        let added =
            Command::new("ssh-add").arg("-q").arg(sshd.path(key)).env("SSH_AUTH_SOCK", &socket).status().unwrap();
        assert!(added.success());
    }
    work(&socket);
    agent.kill().unwrap();
    agent.wait().unwrap();
    fs::remove_file(socket).unwrap();
}

fn open_through(sshd: &Sshd, agent: &Path, deadline: Duration) -> Result<Box<dyn Stream>, LinkError> {
    let target = ssh2::Target {
        to: &sshd.to,
        credential: &Credential::Agent(agent.to_owned()),
        known_hosts_path: &sshd.path("known_hosts"),
        known_hosts: &read_known_hosts(&sshd.path("known_hosts")).unwrap(),
        connect_timeout: LONG,
    };
    let deadline = Deadline::after(deadline);
    ssh2::open(&target, deadline, deadline).map(|stream| Box::new(stream) as Box<dyn Stream>)
}

#[test]
fn the_last_of_an_agents_three_keys_is_found_and_none_of_two_is_refused() {
    let sshd = Sshd::start(&Wish::default());
    keygen(&sshd.path("one"), "ed25519", "");
    keygen(&sshd.path("two"), "rsa", "");
    with_agent(&sshd, &["one", "two", "user"], |agent| {
        echoes(&mut *open_through(&sshd, agent, LONG).unwrap(), 10);
        assert_eq!((sshd.logged("Failed publickey"), sshd.logged("Accepted publickey")), (2, 1));
    });
    with_agent(&sshd, &["one", "two"], |agent| {
        let error = refused(open_through(&sshd, agent, LONG));
        assert!(error.to_string().contains("any of the 2 keys"), "{error}");
    });
    let error = refused(open_through(&sshd, &sshd.path("no-agent"), LONG));
    assert!(matches!(error, LinkError::Agent { .. }), "{error:?}");
}

#[test]
fn an_agent_that_never_answers_is_left_at_the_deadline() {
    let sshd = Sshd::start(&Wish::default());
    let _silent = UnixListener::bind(sshd.path("silent")).unwrap();
    let begin = Instant::now();
    let error = refused(open_through(&sshd, &sshd.path("silent"), Duration::from_millis(1500)));
    assert!(matches!(error, LinkError::Deadline { stage: Stage::Authenticating, .. }), "{error:?}");
    within(begin.elapsed(), 1490..15_000);
}
