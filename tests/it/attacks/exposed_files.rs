//! Files by which root acts, and that somebody else could change: refused by name, with the command that mends it.

use crate::lab::{Finished, Host, Lab};

const NAME: &str = "www.site.test";
const CONFIG: &str = "/etc/certcast/config.toml";
const IDENTITY: &str = "/etc/certcast/id_ed25519";
const KNOWN_HOSTS: &str = "/etc/certcast/known_hosts";
const STATE: &str = "/var/lib/certcast";
/// www-data, on every host of the lab.
const SOMEBODY: u32 = 33;

/// How a file is made somebody's who should not have it.
enum Fault {
    Mode(u32),
    Group(u32),
    Owner,
}

fn spoil(host: &Host, path: &str, fault: &Fault) {
    match fault {
        Fault::Mode(mode) => host.chmod(path, *mode),
        Fault::Group(mode) => {
            host.chown(path, 0, SOMEBODY);
            host.chmod(path, *mode);
        }
        Fault::Owner => host.chown(path, SOMEBODY, SOMEBODY),
    }
}

/// The command that a message ends with or has in it, pasted into a shell.
fn paste_remedy(host: &Host, said: &Finished, path: &str) {
    let text = said.stderr();
    let verbs = ["chmod ", "chown "];
    let starts = verbs.iter().flat_map(|verb| text.match_indices(*verb)).map(|(at, _)| &text[at..]);
    let is_whole = |after: &str| !after.starts_with(|c: char| c == '/' || c.is_ascii_alphanumeric());
    let command = starts.filter_map(|rest| rest.split_once(path).filter(|(_, after)| is_whole(after))).last();
    let command = command.map(|(words, _)| words);
    let command = command.unwrap_or_else(|| panic!("no command for {path}: {said}"));
    host.run(["sh", "-c", &format!("{command}{path}")]).ok();
}

#[test]
fn what_others_may_change_on_the_primary_is_refused_until_the_command_that_is_shown_was_run() {
    use Fault::{Group, Mode, Owner};
    let lab = Lab::raise().hosts(2).up();
    let primary = lab.primary();
    lab.issue(NAME, 1, &[NAME]);
    lab.deploy(NAME).ok();
    let cases = [
        (CONFIG, Mode(0o646)),
        (CONFIG, Group(0o664)),
        (CONFIG, Owner),
        ("/etc/certcast", Mode(0o777)),
        ("/etc/certcast", Owner),
        (IDENTITY, Mode(0o644)),
        (IDENTITY, Group(0o640)),
        (IDENTITY, Owner),
        (KNOWN_HOSTS, Mode(0o666)),
        (KNOWN_HOSTS, Owner),
        (STATE, Mode(0o777)),
        (STATE, Group(0o770)),
        (STATE, Owner),
    ];
    for (path, fault) in cases {
        spoil(primary, path, &fault);
        let said = lab.resync(&[]).fails().says(path);
        paste_remedy(primary, &said, path);
        lab.resync(&[]).ok();
    }
    // A directory that everybody may write but where nobody can replace another's file, and others may read.
    for (path, mode) in [("/etc/certcast", 0o1777), (CONFIG, 0o644), (STATE, 0o755), (KNOWN_HOSTS, 0o644)] {
        primary.chmod(path, mode);
        lab.resync(&[]).ok();
    }
}

#[test]
fn what_others_may_change_on_a_peer_is_refused_there_and_the_primary_says_so() {
    let lab = Lab::raise().hosts(2).up();
    let peer = &lab["web2"];
    lab.issue(NAME, 1, &[NAME]);
    for (path, fault) in [(CONFIG, Fault::Mode(0o666)), (CONFIG, Fault::Owner), (STATE, Fault::Mode(0o777))] {
        spoil(peer, path, &fault);
        let said = lab.resync(&[]).exits(3).says("web2").says(path);
        assert!(!peer.exists(&format!("/etc/letsencrypt/live/{NAME}")), "{said}");
        paste_remedy(peer, &said, path);
    }
    lab.resync(&[]).ok();
    assert!(peer.exists(&format!("/etc/letsencrypt/live/{NAME}")));
}
