use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use proptest::prelude::{ProptestConfig, any, proptest};

use super::{KnownHosts, Verdict, fingerprint, lookup_name, names};

const ED: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g";
const OTHER_ED: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICAfHh0cGxoZGBcWFRQTEhEQDw4NDAsKCQgHBgUEAwIB";

fn keygen(arguments: &[&str], file: &Path) -> Output {
    Command::new("ssh-keygen").args(arguments).arg("-f").arg(file).output().unwrap()
}

fn blob(line: &str) -> Vec<u8> {
    super::decoded(line.split(' ').nth(1).unwrap()).unwrap()
}

fn judge(file: &str, name: &str, key: &str) -> Verdict {
    KnownHosts::parse(file.as_bytes()).judge(name, &blob(key))
}

#[test]
fn host_patterns_mean_what_ssh_keygen_takes_them_for() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("known_hosts");
    let patterns = [
        "web2",
        "WEB2",
        "web2,web3",
        "web?",
        "web*",
        "*",
        "*2",
        "w*b*2",
        "!web2,*",
        "*,!web2",
        "!web3",
        "[web2]:2222",
        "[web2]:22",
        "[*]:2222",
        "[web*]:*",
        "192.0.2.1",
        "2001:db8::1",
        "fe80::1%eth0",
        "[2001:db8::1]:2222",
        "web2,",
        ",web2",
        "web",
        "web22",
        "*.a.example,!b.a.example",
        "a**b",
        "**",
        "?",
        "",
        "we[b]2",
    ];
    let asked = [
        "web2",
        "web3",
        "web",
        "[web2]:2222",
        "[web3]:22222",
        "192.0.2.1",
        "2001:db8::1",
        "fe80::1%eth0",
        "[2001:db8::1]:2222",
        "b.a.example",
        "c.a.example",
        "aab",
        "a",
    ];
    for pattern in patterns {
        fs::write(&file, format!("{pattern} {ED}\n")).unwrap();
        for name in asked {
            let theirs = keygen(&["-F", name], &file).status.success();
            let ours = judge(&fs::read_to_string(&file).unwrap(), name, ED) == Verdict::Trusted;
            assert_eq!(ours, theirs, "{pattern:?} for {name:?}");
        }
    }
}

#[test]
fn names_hashed_by_ssh_keygen_are_found_under_their_own_name_only() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("known_hosts");
    let hosts = ["web2", "[web2]:2222", "2001:db8::1", "fe80::1%eth0"];
    fs::write(&file, hosts.map(|host| format!("{host} {ED}\n")).concat()).unwrap();
    assert!(keygen(&["-H"], &file).status.success());
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("|1|") && !text.contains("web2"));
    for host in hosts {
        assert_eq!(judge(&text, host, ED), Verdict::Trusted, "{host}");
    }
    for stranger in ["web3", "[web2]:22", "2001:db8::2"] {
        assert_eq!(judge(&text, stranger, ED), Verdict::Unknown, "{stranger}");
    }
    // ssh compares a hashed field whole: a list behind it makes it no name.
    let listed = text.lines().next().unwrap().replacen("= ssh", "=,web3 ssh", 1);
    assert_eq!(judge(&listed, "web2", ED), Verdict::Unknown);
}

#[test]
fn verdicts() {
    let line = |hosts: &str| format!("{hosts} {ED}\n");
    let changed = |line| Verdict::Changed { line };
    for (file, name, key, verdict) in [
        (line("a"), "a", ED, Verdict::Trusted),
        (line("b"), "a", ED, Verdict::Unknown),
        (String::new(), "a", ED, Verdict::Unknown),
        (line("a"), "a", OTHER_ED, changed(1)),
        (format!("# old\n\n{}a {OTHER_ED}\n", line("a")), "a", OTHER_ED, Verdict::Trusted),
        // From a port there is no way back to the bare host, nor the other way round.
        (line("a"), "[a]:2222", ED, Verdict::Unknown),
        (line("[a]:2222"), "a", ED, Verdict::Unknown),
        // A revoked key is revoked, before and after a line that trusts it, also by a pattern.
        (format!("@revoked * {ED}\n{}", line("a")), "a", ED, Verdict::Revoked { line: 1 }),
        (format!("{}@revoked a {ED}\n", line("a")), "a", ED, Verdict::Revoked { line: 2 }),
        (format!("{}@revoked b {ED}\n", line("a")), "a", ED, Verdict::Trusted),
        (format!("a {OTHER_ED}\n@revoked a {ED}\n"), "a", OTHER_ED, Verdict::Trusted),
        // A certificate authority's key is not a host's key.
        (format!("@cert-authority * {ED}\n"), "a", ED, Verdict::AuthorityOnly),
        (format!("@cert-authority b {ED}\n"), "a", ED, Verdict::Unknown),
        (format!("@cert-authority * {ED}\n{}", line("a")), "a", ED, Verdict::Trusted),
        (format!("@cert-authority * {OTHER_ED}\n{}", line("a")), "a", OTHER_ED, changed(2)),
        // Damage is passed over, and does not hide what follows.
        (
            format!("@wrong a {ED}\na\na ssh-ed25519\na ssh-ed25519 !!!!\na ssh-rsa {}\n", &ED[12..]),
            "a",
            ED,
            Verdict::Unknown,
        ),
        (format!("a ssh-ed25519 AAAA\n\u{0}\n\t \n{}", line("a")), "a", ED, Verdict::Trusted),
        (format!("  a\t\t{ED} a comment\r\n"), "a", ED, Verdict::Trusted),
    ] {
        assert_eq!(judge(&file, name, key), verdict, "{file:?} for {name}");
    }
}

#[test]
fn a_key_of_another_type_is_neither_unknown_nor_changed() {
    let rsa = {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("key");
        assert!(keygen(&["-q", "-N", "", "-t", "ecdsa"], &key).status.success());
        fs::read_to_string(key.with_extension("pub")).unwrap()
    };
    let file = format!("a {rsa}");
    assert_eq!(judge(&file, "a", ED), Verdict::OtherKinds(vec!["ecdsa-sha2-nistp256".to_owned()]));
    assert_eq!(KnownHosts::parse(file.as_bytes()).kinds("a"), ["ecdsa-sha2-nistp256"]);
}

#[test]
fn fingerprints_are_those_of_ssh_keygen() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key.pub");
    fs::write(&file, ED).unwrap();
    let shown = String::from_utf8(keygen(&["-l"], &file).stdout).unwrap();
    assert_eq!(shown.split(' ').nth(1), Some(fingerprint(&blob(ED)).as_str()));
}

#[test]
fn lookup_names_are_lower_case_and_carry_only_an_unusual_port() {
    assert_eq!(lookup_name("Web2", 22), "web2");
    assert_eq!(lookup_name("fe80::1%eth0", 2222), "[fe80::1%eth0]:2222");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_are_too_strange(text in any::<Vec<u8>>(), name in ".*") {
        KnownHosts::parse(&text).judge(&name, &text);
        names(&String::from_utf8_lossy(&text), &name);
    }
}

#[test]
fn a_pattern_of_many_stars_ends_soon() {
    let begin = std::time::Instant::now();
    assert!(!names(&format!("{}x", "*a".repeat(2000)), &"a".repeat(4000)));
    assert!(begin.elapsed().as_secs() < 20);
}
