//! Disks that take nothing: nothing is changed, nothing is left, and the message names the path and the cause.

use crate::lab::{Bundle, Entry, Grant, Lab};

const NAME: &str = "www.site.test";
const TREE: &str = "/etc/letsencrypt";
const STATE: &str = "/var/lib/certcast";
const JOINED: &str = "/etc/joined";

/// All that a transaction may touch on web2, but for the process number in the lock.
fn everything(lab: &Lab) -> Vec<(&'static str, Entry)> {
    let below = |top: &'static str| lab["web2"].tree(top).into_iter().map(move |entry| (top, entry));
    let mut all: Vec<_> = [TREE, STATE, JOINED].into_iter().flat_map(below).collect();
    all.retain(|(_, entry)| !entry.path.ends_with("transaction.lock"));
    all
}

/// A deployment of what is new on the primary is refused by web2 with these words and has left no trace there.
fn is_refused(lab: &Lab, old: &Bundle, words: &[&str]) {
    let (before, reloads) = (everything(lab), lab["web2"].nginx_reloads());
    let said = lab.deploy(NAME).exits(3).stderr();
    let line = said.lines().find(|line| line.contains("web2  ")).unwrap_or_else(|| panic!("{said}"));
    for word in words.iter().chain(&["refused at stage, nothing changed: "]) {
        assert!(line.contains(word), "{word:?} is not in: {said}");
    }
    assert!(!line.contains("recover"), "something is left over: {said}");
    assert!(everything(lab) == before, "something was changed for {words:?}");
    assert_eq!(lab["web2"].nginx_reloads(), reloads);
    lab["web2"].serves(lab, NAME, old);
}

/// web2 with a joined file, so that there are three places to write to; the primary has a newer version.
fn behind() -> (Lab, Bundle, Bundle) {
    let (lab, old) = Lab::serving(2, NAME);
    lab["web2"].mkdir(JOINED);
    lab["web2"].set("service.0.joined", "/etc/joined/{lineage}.pem");
    lab.resync(&[]).exits(0);
    let new = lab.issue(NAME, 2, &[NAME]);
    (lab, old, new)
}

fn is_healed(lab: &Lab, new: &Bundle) {
    lab.resync(&[]).exits(0);
    lab["web2"].serves(lab, NAME, new);
    assert!(!lab["web2"].exists("/var/lib/certcast/transaction.journal"));
}

#[test]
fn where_no_inode_is_left_nothing_is_changed() {
    let (lab, old, new) = behind();
    let peer = &lab["web2"];
    for directory in [TREE, STATE, JOINED] {
        // The same files on a disk that counts its inodes.
        peer.run(["cp", "-a", directory, "/kept"]).ok();
        peer.small_disk(directory, "size=4m,mode=755");
        peer.run(["cp", "-a", "/kept/.", directory]).ok();
        peer.remove("/kept");
        let used = peer.run(["df", "--output=iused", directory]).ok().stdout();
        let used: usize = used.split_whitespace().last().unwrap().parse().unwrap();
        // None left, and some: enough for the first files, not for the last.
        let left = if directory == TREE { &[0, 2, 5][..] } else { &[0] };
        for left in left {
            peer.run(["mount", "-o", &format!("remount,nr_inodes={}", used + left), directory]).ok();
            is_refused(&lab, &old, &[directory, "No space left on device"]);
        }
        peer.run(["mount", "-o", "remount,nr_inodes=1000", directory]).ok();
    }
    is_healed(&lab, &new);
}

#[test]
fn where_all_is_read_only_nothing_is_changed() {
    let (lab, old, new) = behind();
    let peer = &lab["web2"];
    for directory in [TREE, STATE, JOINED] {
        peer.run(["mount", "--bind", directory, directory]).ok();
        peer.run(["mount", "-o", "remount,bind,ro", directory]).ok();
        is_refused(&lab, &old, &[directory, "Read-only file system"]);
        peer.run(["umount", directory]).ok();
    }
    is_healed(&lab, &new);
}

#[test]
fn where_a_receiver_that_is_not_root_may_not_write_nothing_is_changed() {
    let (lab, old, new) = behind();
    let (peer, key) = (&lab["web2"], lab.identity());
    // As www-data, who may read and reload what there is, and has a state directory.
    let receive = "setpriv --reuid=33 --regid=33 --clear-groups /usr/local/bin/certcast receive --role deploy";
    peer.authorize_only(&key, Grant::Forced(receive));
    let config = peer.configuration();
    peer.set("service.0.test", vec!["true"]);
    peer.set("service.0.reload", vec!["true"]);
    peer.chmod("/etc/certcast", 0o755);
    peer.run(["chown", "-R", "33:33", STATE]).ok();
    is_refused(&lab, &old, &["/etc/letsencrypt/live", "Permission denied"]);
    for directory in ["live", "archive"] {
        peer.chmod(&format!("{TREE}/{directory}"), 0o755);
    }
    is_refused(&lab, &old, &["/etc/letsencrypt/archive/www.site.test", "Permission denied"]);
    peer.run(["chown", "-R", "0:0", STATE]).ok();
    is_refused(&lab, &old, &["/var/lib/certcast/transaction.lock", "Permission denied"]);
    let root = Grant::Receive { role: "deploy", only: &[] };
    peer.authorize_only(&key, root);
    peer.configure(&config);

    // Not even root may change what is immutable.
    peer.run(["chattr", "+i", &format!("{TREE}/live")]).ok();
    is_refused(&lab, &old, &["/etc/letsencrypt/live", "Operation not permitted"]);
    peer.run(["chattr", "-i", &format!("{TREE}/live")]).ok();
    is_healed(&lab, &new);
}
