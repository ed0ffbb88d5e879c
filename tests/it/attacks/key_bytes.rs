//! Where the bytes of a private key are, at any moment: in files of mode 0600 and on the wire. Nowhere else.

use std::collections::BTreeSet;

use crate::lab::{Bundle, Fault, Host, Lab, Running, until, watching};

const NAME: &str = "www.site.test";
const CALLS: &str = "trace=execve,openat,openat2,open,creat,fchmod,fchmodat,chmod,fchown,write,writev,pwrite64,sendto,sendmsg,\
                     rename,renameat,renameat2";
const JOINED: &str = "/etc/joined/www.site.test.pem";
const LOG: &str = "/var/log/certcast.log";
const BEGUN: &str = "/run/begun";
const JOURNAL: &str = "/var/log/journal";
/// All that the alerts' program was given.
const TOLD: &str = "/var/log/told";
/// A program that hears everything, and a webhook for which everything waits: nobody listens there.
const ALERTS: &str = r#"
[[alert]]
to = "exec"
argv = ["/root/tell"]
min_severity = "info"

[[alert]]
to = "webhook"
url = "http://127.0.0.1:9/hook"
min_severity = "info"
"#;

/// A line of the key's PEM that no other file has.
fn mark(bundle: &Bundle) -> String {
    let text = String::from_utf8(bundle.privkey.clone()).unwrap();
    text.lines().find(|line| line.len() == 64 && !line.contains('-')).unwrap().to_owned()
}

/// What a descriptor of a call is, as strace shows it: `4</etc/x>`.
fn target(line: &str) -> &str {
    line.split_once('<').and_then(|(_, rest)| rest.split_once(">,")).map_or("?", |(target, _)| target)
}

/// Every call that had the key in its hands is one that may: to a pipe between our own, or to a private temporary file.
fn is_kept_private(seen: &str, mark: &str) -> usize {
    let mut files = BTreeSet::new();
    for line in seen.lines().filter(|line| line.contains(mark)) {
        let short: String = line.chars().take(200).collect();
        assert!(["write(", "writev(", "sendto("].iter().any(|call| line.contains(call)), "{short}");
        let target = target(line);
        let is_pipe = target.starts_with("pipe:") || target.starts_with("UNIX") || target.starts_with("socket:");
        let is_temporary = target.contains("/.certcast-") || target.contains(".stage-") || target.contains("/.");
        assert!(is_pipe || (is_temporary && target.starts_with("/etc/")), "{target}: {short}");
        if !is_pipe {
            files.insert(target.to_owned());
        }
    }
    for file in &files {
        let name = file.rsplit('/').next().unwrap();
        let about: Vec<_> = seen.lines().filter(|line| line.contains(name)).collect();
        let made = about.iter().position(|line| line.contains("O_CREAT") && line.contains("O_EXCL")).unwrap();
        assert!(about[made].contains(", 0600"), "{}", about[made]);
        let written = about.iter().position(|line| line.contains(mark)).unwrap();
        let modes: Vec<_> = about.iter().filter(|line| line.contains("chmod(")).collect();
        assert!(made < written && modes.iter().all(|line| line.contains(", 0600)")), "{modes:?}");
    }
    files.len()
}

/// The files of a host that hold the key, each with its mode; of those that were written since the lab was there, for the
/// machine's own are below the same directories.
fn holders(host: &Host, mark: &str) -> Vec<(String, u32)> {
    let tops = ["/etc", "/var", "/run", "/root", "/tmp", "/srv", "/home", "/opt"];
    let written = ["-type", "f", "-newer", BEGUN, "-size", "-10M", "-not", "-path", "*watch*"];
    let found = host.run(["find"].into_iter().chain(tops).chain(written)).stdout();
    let holds = |path: &&str| host.exists(path) && String::from_utf8_lossy(&host.read(path)).contains(mark);
    found.lines().filter(holds).map(|path| (path.to_owned(), host.mode(path))).collect()
}

/// What journald would be given.
fn keep_a_journal(host: &Host) -> Running {
    host.write("/root/journal.py", include_str!("journal.py"));
    let journal = host.spawn(["python3", "/root/journal.py", JOURNAL]);
    until("the journal listens", || host.exists(JOURNAL) && host.text(JOURNAL).starts_with("ready"));
    journal
}

#[test]
fn key_bytes_are_in_private_files_only_on_both_sides_and_in_no_word_that_is_said() {
    let lab = Lab::raise().hosts(2).up();
    let (primary, peer) = (lab.primary(), &lab["web2"]);
    for host in [primary, peer] {
        host.write(BEGUN, "");
    }
    let _journals = [primary, peer].map(keep_a_journal);
    primary.write("/root/tell", format!("#!/bin/sh\necho \"$*\" >>{TOLD}\nexec cat >>{TOLD}\n"));
    primary.chmod("/root/tell", 0o755);
    primary.configure(&format!("{}{ALERTS}", primary.configuration()));
    peer.mkdir("/etc/joined");
    peer.set("service.0.joined", "/etc/joined/{lineage}.pem");
    let own = ["/usr/local/bin/certcast", "--log", LOG];
    let deploy = |number: u32| {
        let seen = format!("/tmp/watch-{number}");
        let words: Vec<_> = watching(CALLS, &seen).into_iter().chain(own).map(str::to_owned).collect();
        let run =
            primary.command(words).args(["deploy"]).env("RENEWED_LINEAGE", format!("/etc/letsencrypt/live/{NAME}"));
        (run.run(), primary.text(&seen))
    };
    let mut said = String::new();
    let mut marks = Vec::new();

    // Taken; and then one that the peer stages and does not take.
    for (number, code) in [(1, 0), (2, 3)] {
        let bundle = lab.issue(NAME, number, &[NAME]);
        if number == 2 {
            peer.set("service.0.reload", vec!["sh".to_owned(), "-c".to_owned(), "echo no; exit 1".to_owned()]);
            peer.set("service.0.probe", toml::Value::Array(Vec::new()));
        }
        let watch = peer.watch_sshd(CALLS.trim_start_matches("trace="));
        let (finished, here) = deploy(number);
        let there = watch.end();
        said += &finished.clone().exits(code).to_string();
        let mark = mark(&bundle);
        assert!(there.contains(&mark) && here.contains(&mark), "the eyes are open");
        assert_eq!(is_kept_private(&here, &mark), 0, "on the primary no file is written");
        assert_eq!(is_kept_private(&there, &mark), 2, "the key's and the joined file");
        let archive = |host: &str| (format!("/etc/letsencrypt/archive/{NAME}/privkey{number}.pem"), host.to_owned()).0;
        assert_eq!(holders(primary, &mark), [(archive("web1"), 0o600)]);
        let expected = [(archive("web2"), 0o600), (JOINED.to_owned(), 0o600)];
        let left: &[_] = if number == 1 { &expected } else { &[] };
        let mut found = holders(peer, &mark);
        found.sort_by_key(|(path, _)| path.contains("joined"));
        assert_eq!(found, left);
        marks.push(mark);
    }

    // Keys that are refused are not quoted, here or there.
    let other = lab.bundle(&[NAME]).broken(Fault::OtherKey);
    let torn = lab.bundle(&[NAME]).broken(Fault::TruncatedKey);
    for bundle in [other, torn] {
        primary.install(NAME, 3, &bundle);
        said += &lab.deploy(NAME).exits(4).to_string();
        said += &lab.resync(&["--json"]).to_string();
        let text = String::from_utf8(bundle.privkey.clone()).unwrap();
        marks.extend(text.lines().filter(|line| line.len() == 64).map(str::to_owned));
    }
    said += &lab.resync(&["--json", "--peer", "web2"]).to_string();
    said += &primary.text(LOG);
    said += &peer.sshd_log();
    let (told, spool) = (primary.text(TOLD), primary.tree("/var/lib/certcast/alerts"));
    let waits = spool.into_iter().filter(|entry| entry.path.to_string_lossy().ends_with(".queue"));
    let waits: String = waits.map(|entry| String::from_utf8(entry.content.unwrap()).unwrap()).collect();
    for words in [&told, &waits] {
        assert!(["applied", "rolled-back", "lineage-unfit"].iter().all(|event| words.contains(event)), "{words}");
        said += words;
    }
    for (host, word) in [(primary, "privkey"), (peer, "rolled back")] {
        let journal = String::from_utf8_lossy(&host.read(JOURNAL)).into_owned();
        assert!(journal.contains(word), "{}: {journal}", host.name());
        said += &journal;
    }
    assert!(marks.len() >= 4 && said.contains("privkey"), "{said}");
    for mark in marks {
        assert!(!said.contains(&mark), "a key was said");
    }
}
