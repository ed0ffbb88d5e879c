//! A compromised peer can lie about itself. It cannot change the primary, nor another peer, nor hear of what is not its.

use std::time::{Duration, Instant};

use super::frames::{all_of, changes, is_unchanged};
use crate::challenges::three_servers;
use crate::lab::{Bundle, Entry, Grant, Lab};

const NAME: &str = "www.site.test";
const HEARD: &str = "/root/heard";

/// web2 is in wrong hands from now on.
fn compromise(lab: &Lab, mode: &str) {
    let peer = &lab["web2"];
    peer.write("/root/liar.py", include_str!("liar.py"));
    peer.write(HEARD, "");
    peer.authorize_only(&lab.identity(), Grant::Forced(&format!("/usr/bin/python3 /root/liar.py {mode}")));
}

/// The primary, but for its logs, what it notes about each node, and what its own node's side notes of itself.
fn primary_of(lab: &Lab) -> Vec<Entry> {
    let tops = ["/etc", "/root", "/var/www", "/usr/local", "/tmp", "/srv", "/home", "/var/lib/certcast"];
    let notes = ["records", "runs", "outcomes", "settled", "brought"].map(|name| format!("/var/lib/certcast/{name}"));
    let is_note = |entry: &Entry| notes.iter().any(|note| entry.path.starts_with(note));
    // A lock's number is that of the last process that had it.
    let is_lock = |entry: &Entry| entry.path.extension().is_some_and(|end| end == "lock");
    all_of(lab.primary(), &tops).into_iter().filter(|entry| !is_note(entry) && !is_lock(entry)).collect()
}

fn key_lines(bundle: &Bundle) -> Vec<String> {
    let text = String::from_utf8(bundle.privkey.clone()).unwrap();
    text.lines().filter(|line| line.len() == 64).map(str::to_owned).collect()
}

#[test]
fn whatever_a_peer_answers_the_primary_and_the_other_peer_are_not_changed_by_it() {
    let (lab, _) = Lab::serving(3, NAME);
    let primary = lab.primary();
    let modes = [
        ("wrong-id", "does not fit the question"),
        ("applied-unasked", "does not fit the question"),
        ("planned-unasked", "does not fit the question"),
        ("others", "does not fit the question"),
        ("paths", "not understood"),
        ("asks", "not understood"),
        ("endless", "does not fit the question"),
        ("endless-banner", "pending"),
        ("garbage", "4294967295 bytes"),
        ("slow", "in time"),
        ("silent", "in time"),
        ("stuck", "stuck"),
    ];
    for (number, (mode, said)) in (2..).zip(modes) {
        let new = lab.issue(NAME, number, &[NAME]);
        compromise(&lab, mode);
        // Short only where all of it is waited for.
        primary.set("deploy.budget", if said == "in time" { "3s" } else { "60s" });
        let before = primary_of(&lab);
        let begun = Instant::now();
        let finished = lab.deploy(NAME);
        let text = finished.stderr();
        assert!(begun.elapsed() < Duration::from_secs(30), "{mode}: {:?}", begun.elapsed());
        assert!([Some(3), Some(5)].contains(&finished.code()), "{mode}: {finished}");
        let about: Vec<_> = text.lines().filter(|line| line.contains("web2")).collect();
        assert!(about.iter().any(|line| line.contains(said)), "{mode}: {finished}");
        assert!(!text.contains('\x1b') && text.len() < 6000, "{mode}: {} bytes", text.len());
        is_unchanged(&before, &primary_of(&lab), mode);
        assert_eq!(primary.list("/var/lib/certcast/records"), ["web1", "web2", "web3"], "{mode}");
        // A node that lies as the canary holds the others back; then the next run is theirs.
        primary.set("deploy.budget", "60s");
        lab.resync(&["--peer", "web3"]).ok();
        assert_eq!(lab["web3"].installed_leaf(NAME), Some(new.fingerprint()), "{mode}");
    }
}

#[test]
fn nothing_is_believed_of_several_lineages_that_was_not_asked_or_is_not_told_of_each() {
    let names = [NAME, "shop.site.test"];
    let lab = Lab::raise().hosts(3).up();
    // A node that lies as the canary holds the others back.
    lab.primary().set("deploy.canary", false);
    // Makes what a first run makes.
    lab.resync(&[]);
    let modes = ["together-foreign", "together-applied", "together-id", "together-short", "together-turned"];
    for (number, mode) in (1..).zip(modes) {
        let new = names.map(|name| lab.issue(name, number, &[name]));
        compromise(&lab, mode);
        let before = primary_of(&lab);
        let finished = lab.resync(&[]);
        let text = finished.stderr();
        for name in names {
            assert!(
                text.contains(&format!("web2  {name}  refused at policy, nothing changed: not today")),
                "{mode}: {finished}"
            );
        }
        let of_both = |line: &str| line.contains("prepare") && names.iter().all(|name| line.contains(name));
        assert!(lab["web2"].text(HEARD).lines().any(of_both), "{mode}");
        is_unchanged(&before, &primary_of(&lab), mode);
        for (name, bundle) in names.iter().zip(&new) {
            assert_eq!(lab["web3"].installed_leaf(name), Some(bundle.fingerprint()), "{mode}");
        }
    }
}

#[test]
fn a_peer_that_says_it_staged_for_a_dry_run_hears_no_word() {
    let lab = Lab::raise().hosts(2).up();
    lab.issue(NAME, 1, &[NAME]);
    compromise(&lab, "believable");
    lab.resync(&["--dry-run"]).fails().says("web2").says("does not fit the question");
    let heard = lab["web2"].text(HEARD);
    assert!(heard.contains(r#""dry_run":true"#) && !heard.contains(r#""verb":"commit""#), "{heard}");
}

#[test]
fn a_peer_that_lies_about_challenges_is_one_line() {
    let lab = three_servers(&[NAME]);
    compromise(&lab, "liar");
    let before = primary_of(&lab);
    let finished = lab.primary().hooks().auth(&[NAME]).cleanup(&[NAME]).run();
    let text = finished.stderr();
    assert!(text.contains("web2") && !text.contains('\x1b') && text.len() < 6000, "{finished}");
    assert!(!text.lines().any(|line| line.starts_with("certcast: web3")), "{finished}");
    lab.primary().remove("/root/certbot");
    let ours = ["/var/www/html/.well-known", "/var/lib/certcast/owed", "/var/lib/certcast/challenges"];
    let mut changed = changes(&before, &primary_of(&lab));
    changed.retain(|entry| !ours.iter().any(|path| entry.path.starts_with(path)));
    assert_eq!(changed, Vec::new());
    assert_eq!(lab["web3"].tokens(), Vec::<String>::new());
}

#[test]
fn the_key_of_a_lineage_that_is_not_for_a_peer_never_travels_to_it() {
    let lab = Lab::raise().hosts(2).up();
    lab.primary().set("peer.0.lineages", vec!["own-*".to_owned()]);
    let (own, other) = (lab.issue("own-site", 1, &["a.test"]), lab.issue("other-site", 1, &["b.test"]));
    compromise(&lab, "believable");
    for lineage in ["own-site", "other-site"] {
        lab.deploy(lineage);
    }
    lab.resync(&[]);
    lab.resync(&["--force", "--adopt", "--peer", "web2"]);
    lab.resync(&["other-site", "--peer", "web2"]);
    let heard = lab["web2"].text(HEARD);
    assert!(key_lines(&own).iter().all(|line| heard.contains(line)), "its own does travel");
    assert!(!key_lines(&other).iter().any(|line| heard.contains(line)));
    assert!(!heard.contains("other-site"), "not even the name");
}
