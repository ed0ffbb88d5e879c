//! What the primary's key can do on a peer when somebody else has it: nothing but its job.

use crate::lab::{Command, Entry, Finished, Grant, Host, Lab, Running};

const NAME: &str = "www.site.test";
const IDENTITY: &str = "/etc/certcast/id_ed25519";

/// The system's ssh with the stolen key; options go before the host, which is web2.
fn ssh(lab: &Lab, options: &[&str], words: &[&str]) -> Command {
    let fixed = ["ssh", "-F", "none", "-i", IDENTITY, "-o", "UserKnownHostsFile=/etc/certcast/known_hosts"];
    let batch = ["-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes"];
    lab.primary().command(fixed).args(batch).args(options).args(["root@192.0.2.2"]).args(words)
}

#[test]
fn a_command_sftp_and_a_terminal_are_refused_and_nothing_is_run() {
    let lab = Lab::raise().hosts(2).up();
    let peer = &lab["web2"];
    let before = peer.tree("/root");
    for words in [&["id"][..], &["touch /root/owned"], &["sh", "-c", "id"], &["certcast", "recover"]] {
        let said = ssh(&lab, &[], words).run().fails();
        assert!(!said.stdout().contains("uid=") && said.stdout().starts_with("\0certcast-wire "), "{said}");
    }
    let sftp = ["sftp", "-F", "none", "-b", "/tmp/batch", "-i", IDENTITY];
    lab.primary().write("/tmp/batch", "put /etc/hostname /root/owned\n");
    let known = ["-o", "UserKnownHostsFile=/etc/certcast/known_hosts", "root@192.0.2.2"];
    lab.primary().command(sftp).args(known).run().fails();
    ssh(&lab, &["-s"], &["sftp"]).run().fails();
    ssh(&lab, &["-tt"], &["id"]).run().fails().says("PTY allocation request failed");
    assert_eq!(peer.tree("/root"), before);
    let log = peer.sshd_log();
    let sessions: Vec<_> = log.lines().filter(|line| line.starts_with("Starting session")).collect();
    assert_eq!(sessions.len(), 7, "{log}");
    for line in sessions {
        assert!(line.contains("forced-command (key-option) '/usr/local/bin/certcast receive --role deploy'"), "{line}");
    }
}

#[test]
fn no_forwarding_of_any_kind_is_granted() {
    let lab = Lab::raise().hosts(2).up();
    lab["web2"].restart_sshd_with("X11Forwarding yes\nAllowAgentForwarding yes\nAllowTcpForwarding yes");
    lab["web2"].write("/var/www/html/secret", "secret");
    ssh(&lab, &["-W", "127.0.0.1:80"], &[]).input("GET /secret HTTP/1.0\r\n\r\n").run().fails().says("prohibited");
    ssh(&lab, &["-N", "-R", "8082:127.0.0.1:80"], &[]).run().fails().says("remote port forwarding failed");
    ssh(&lab, &["-Y"], &["id"]).env("DISPLAY", "127.0.0.1:0").run().fails().says("X11 forwarding request failed");
    let visits: [(&[&str], &[&str]); 2] = [
        (&["-N", "-L", "8083:127.0.0.1:80"], &["curl", "-s", "--max-time", "5", "http://127.0.0.1:8083/secret"]),
        (
            &["-N", "-D", "8083"],
            &["curl", "-s", "--max-time", "5", "-x", "socks5://127.0.0.1:8083", "http://127.0.0.1/secret"],
        ),
    ];
    for (options, visit) in visits {
        let tunnel: Running = ssh(&lab, options, &[]).spawn();
        lab.primary().await_listener(8083);
        let said = lab.primary().run(visit).fails();
        assert!(!said.stdout().contains("secret"), "{said}");
        tunnel.kill();
        crate::lab::until("the tunnel is gone", || !lab.primary().listens(8083));
    }
    // The same ways work with a key that is not restricted: it is the restriction that refuses.
    lab["web2"].authorize_only(&lab.identity(), Grant::Shell);
    ssh(&lab, &["-W", "127.0.0.1:80"], &[]).input("GET /secret HTTP/1.0\r\n\r\n").run().says("secret");
}

/// One frame: its length and its bytes.
pub fn frame(json: &serde_json::Value) -> Vec<u8> {
    let text = json.to_string().into_bytes();
    let length = u32::try_from(text.len()).unwrap();
    [&length.to_be_bytes()[..], &text].concat()
}

pub fn hello() -> serde_json::Value {
    serde_json::json!({"verb": "hello", "version": "9", "node": "thief", "budget_ms": 20_000})
}

/// A bundle as the primary would send it.
pub fn prepare(lab: &Lab) -> serde_json::Value {
    let bundle = lab.bundle(&[NAME]);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let files: serde_json::Map<_, _> =
        bundle.files().into_iter().map(|(file, bytes)| (file.to_owned(), text(bytes).into())).collect();
    let owned = |mode: u32| serde_json::json!({"uid": 0, "gid": 0, "mode": mode});
    serde_json::json!({
        "verb": "prepare", "transaction": "0123456789abcdef0123456789abcdef", "lineage": NAME, "number": 1,
        "files": files, "keep": [1], "refuse_missing_names": false,
        "attributes": {"directory": owned(0o755), "key": owned(0o600), "public": owned(0o644)},
        "wishes": {"force": false, "adopt": false, "dry_run": false}
    })
}

/// Sends bytes after a good banner and hello, and returns what the receiver answered.
pub fn send(lab: &Lab, bytes: &[u8]) -> Finished {
    let start = [b"\0certcast-wire 1 1\n", frame(&hello()).as_slice()].concat();
    ssh(lab, &[], &["certcast", "receive"]).input([start.as_slice(), bytes].concat()).run()
}

/// The peer but for its logs and what its receiver notes of itself.
pub fn everything(peer: &Host) -> Vec<Entry> {
    ["/etc", "/root", "/var/www", "/usr/local", "/tmp", "/srv", "/home"].iter().flat_map(|top| peer.tree(top)).collect()
}

pub fn with(mut json: serde_json::Value, place: &str, value: impl Into<serde_json::Value>) -> serde_json::Value {
    *json.pointer_mut(place).unwrap() = value.into();
    json
}

#[test]
fn hand_made_frames_are_rejected_with_an_answer_and_change_nothing() {
    let lab = Lab::raise().hosts(2).up();
    let peer = &lab["web2"];
    // By hand, and yet good: what is refused below is refused for what it says. Not committed, it is undone.
    let said = send(&lab, &frame(&prepare(&lab)));
    assert!(said.stdout().contains(r#""answer":"prepared""#), "{said}");
    crate::lab::until("it is undone", || peer.processes("certcast receive").is_empty());
    let before = everything(peer);

    let bad = prepare(&lab);
    let mut frames = Vec::new();
    for name in ["../../../root", "a/../../b", "/etc/cron.d", "..", ".hidden", "-rf", "a\0b", "a\nb", ""] {
        frames.push((frame(&with(bad.clone(), "/lineage", name)), "lineage name"));
    }
    for (place, mode) in [("directory", 0o777), ("key", 0o644), ("key", 0o4600), ("public", 0o666), ("public", 0o755)] {
        frames.push((frame(&with(bad.clone(), &format!("/attributes/{place}/mode"), mode)), "mode "));
    }
    frames
        .push((frame(&with(bad.clone(), "/transaction", "../../../../../../../../../../../etc/x")), "32 hexadecimal"));
    frames.push((frame(&with(bad.clone(), "/number", 0)), "nonzero"));
    frames.push((frame(&with(bad.clone(), "/verb", "shell")), "unknown variant"));
    frames.push((frame(&with(bad.clone(), "/files/privkey", "-----BEGIN GARBAGE-----")), "privkey.pem"));
    frames.push((frame(&hello()), "second hello"));
    frames.push((frame(&serde_json::json!({"verb": "commit", "transaction": "0".repeat(32)})), "not prepared"));
    frames.push((u32::MAX.to_be_bytes().to_vec(), "4294967295 bytes"));
    frames.push((b"\0\0\0\x10garbage garbage!".to_vec(), "not understood"));
    for (bytes, why) in frames {
        let said = send(&lab, &bytes);
        let answers = said.stdout();
        let refused = answers.contains(r#""answer":"rejected""#) || answers.contains(r#""outcome":"refused""#);
        assert!(refused && answers.contains(why), "not refused for {why:?}: {said}");
    }
    let torn = &frame(&bad)[..400];
    assert!(!send(&lab, torn).stdout().contains("prepared"));
    let noise = ssh(&lab, &[], &[]).input(vec![b'x'; 100_000]).run();
    noise.fails().says("does not speak certcast's protocol");
    assert_eq!(everything(peer), before);
    assert!(!peer.exists("/var/lib/certcast/transaction.journal"));
}

#[test]
fn a_key_does_only_what_its_role_and_its_lineages_allow() {
    let lab = Lab::raise().hosts(2).up();
    let (peer, key) = (&lab["web2"], lab.identity());
    let before = peer.certificates();
    let is_rejected = |json: &serde_json::Value, why: &str| {
        let said = send(&lab, &frame(json));
        assert!(said.stdout().contains(r#""answer":"rejected""#) && said.stdout().contains(why), "{said}");
        assert_eq!(peer.certificates(), before);
    };
    let compare = |lineage: &str| serde_json::json!({"verb": "compare", "lineages": [lineage]});
    peer.authorize_only(&key, Grant::Receive { role: "challenge", only: &[] });
    is_rejected(&prepare(&lab), "--role challenge");
    is_rejected(&compare(NAME), "--role challenge");

    peer.authorize_only(&key, Grant::Receive { role: "deploy", only: &["other.test", "third.test"] });
    // Another's lineage is passed over, and the conversation goes on to the key's own.
    let asked = [compare(NAME), prepare(&lab), compare("third.test")];
    let said = send(&lab, &asked.iter().flat_map(frame).collect::<Vec<_>>());
    let answers = said.stdout();
    let null = |lineage: &str| format!(r#"{{"lineage":"{lineage}","version":null}}"#);
    assert!(answers.contains(&null(NAME)) && answers.contains(&null("third.test")), "{said}");
    assert!(answers.contains(r#""outcome":"refused","step":"policy""#) && answers.contains("--only"), "{said}");
    assert!(!answers.contains(r#""answer":"rejected""#), "{said}");
    assert_eq!(peer.certificates(), before);
    lab.issue(NAME, 1, &[NAME]);
    lab.deploy(NAME).exits(3).says("web2").says("refused at policy").says("--only");
    lab.issue("other.test", 1, &[NAME]);
    lab.deploy("other.test").exits(0);
    assert!(peer.exists("/etc/letsencrypt/live/other.test"));
}
