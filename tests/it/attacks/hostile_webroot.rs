//! The web user is hostile and owns the webroot: root, who publishes there, is not led outside.

use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use serde_json::json;

use super::frames::{BANNER, NAME, frames, hello, publish};
use crate::lab::{Lab, until};

const TOKEN: &str = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJyPCt95vq5Y4";
const OUTSIDE: &str = "/srv/outside";
const SEEN: &str = "/run/seen";
/// A file outside that nobody reads but the test, and he knows nothing of.
const BELL: &str = "bell";
/// www-data, who owns the webroot here.
const OWNER: u32 = 33;

fn race(length: Duration) {
    let lab = Lab::raise().host("web1").up();
    let host = &lab["web1"];
    // What he would like to have written, removed, read or given to him: open to all eyes, and root's.
    for file in [TOKEN, "shadow", "cron", BELL] {
        host.write(&format!("{OUTSIDE}/{file}"), format!("{file} is precious"));
        host.write(&format!("{OUTSIDE}/acme-challenge/{file}"), format!("{file} is precious"));
    }
    host.chmod(&format!("{OUTSIDE}/shadow"), 0o600);
    let stamps = || {
        let entries = host.tree("/srv").into_iter();
        let time = |path: &str| {
            let found = std::fs::symlink_metadata(host.root().join("srv").join(path)).unwrap();
            (found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec(), found.nlink())
        };
        entries.map(|entry| (time(entry.path.to_str().unwrap()), entry)).collect::<Vec<_>>()
    };
    let before = stamps();
    host.mkdir("/var/www/html");
    host.chown("/var/www/html", OWNER, OWNER);
    host.write("/root/webroot_owner.py", include_str!("webroot_owner.py"));
    host.write("/root/inotify.py", include_str!("inotify.py"));
    let inner = format!("{OUTSIDE}/acme-challenge");
    let mut eye = host.spawn(["python3", "/root/inotify.py", SEEN, OUTSIDE, &inner]);
    until("the eye is open", || host.exists(SEEN) && host.text(SEEN) == "ready\n");
    // He reads his program from standard input: /root is not his.
    let as_him = ["setpriv", "--reuid=33", "--regid=33", "--clear-groups", "--no-new-privs", "python3", "-"];
    let hostile = host.command(as_him).args(["/var/www/html", TOKEN, OUTSIDE]).input(include_str!("webroot_owner.py"));
    let mut hostile = hostile.deadline(length * 10).spawn();
    until("he has begun", || hostile.stdout_so_far().contains("ready"));

    let withdraw = json!({"verb": "withdraw", "challenges": [{"name": NAME, "token": TOKEN}]});
    let both: Vec<_> = (0..40).flat_map(|_| [publish(&[TOKEN.to_owned()]), withdraw.clone()]).collect();
    let conversation = [BANNER, &frames([&hello(60_000)]), &frames(&both)].concat();
    let (mut done, mut failed) = (0, 0);
    let begun = Instant::now();
    // On a busy machine he gets in the way more seldom: it goes on until it was a race.
    while begun.elapsed() < length || (done.min(failed) <= 50 && begun.elapsed() < length * 8) {
        let receive = host.command(["/usr/local/bin/certcast", "receive", "--role", "challenge"]);
        let said = receive.input(conversation.clone()).deadline(Duration::from_secs(30)).run().ok().stdout();
        let good = said.matches(r#""failures":[]"#).count();
        let all = said.matches(r#""failures":["#).count();
        assert_eq!(all, both.len(), "{said}");
        done += good;
        failed += all - good;
    }
    assert!(hostile.is_running());
    hostile.kill();
    // The kernel tells in order: with this all that he did before is told too.
    host.read(&format!("{OUTSIDE}/{BELL}"));
    until("the eye has seen all", || !eye.is_running() || host.text(SEEN).contains(BELL));
    assert!(eye.is_running());
    let seen = host.text(SEEN);
    let others: Vec<_> = seen.lines().filter(|line| !line.ends_with(&format!(" {OUTSIDE}/{BELL}"))).collect();
    assert_eq!(others, ["ready"], "something happened outside of the webroot");
    eye.kill();
    assert_eq!(stamps(), before);
    // The race was one: often he was in the way, often he was not.
    assert!(done > 50 && failed > 50, "{done} done, {failed} failed");
}

#[test]
fn a_web_user_who_swaps_everything_in_a_loop_leads_root_nowhere() {
    race(Duration::from_secs(4));
}

#[test]
#[ignore = "a minute: tests/attacks runs it"]
fn a_web_user_who_swaps_everything_for_a_minute_leads_root_nowhere() {
    race(Duration::from_secs(60));
}
