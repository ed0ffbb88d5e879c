//! The judge of a peer after a crash and `recover`: the files by bytes, the rest by openssl and nginx.

use std::time::{Duration, Instant};

use certcast::model::outcome::Outcome;

use super::bench::{self, JOINED, JOURNAL, NAME, Peer, STATE, Victim, told};

const PARTS: [&str; 4] = ["cert", "chain", "fullchain", "privkey"];
/// Old workers accept for a moment after a reload.
const RELOADED: Duration = Duration::from_secs(2);

/// Recovers, judges, and has the transaction done again. What is wrong, in words; nothing when all is well.
pub fn judge(bench: &Peer, said: Option<&Outcome>) -> Vec<String> {
    let mut faults = Vec::new();
    if bench.scenario.no_journal && bench.host().exists(JOURNAL) {
        bench.host().remove(JOURNAL);
    }
    let recovered = bench.run_victim(Victim::Recover, '1', None, false).ran;
    if !recovered.status.success() {
        faults.push(format!("recover ended with {}: {}{}", recovered.status, recovered.stdout(), recovered.stderr()));
    }
    let number = look(bench, &mut faults, !bench.scenario.own);
    match said {
        Some(Outcome::Applied { .. } | Outcome::Unchanged) if number != Some(2) => {
            faults.push(format!("it said applied, and shows {number:?}"));
        }
        Some(Outcome::Refused { .. } | Outcome::RolledBack { .. }) if number == Some(2) && !bench.scenario.own => {
            faults.push("it said that nothing was changed, and shows the new one".into());
        }
        _ => {}
    }
    bench.let_reload();
    let again = bench.run_victim(Victim::Receive, '2', None, false).ran;
    match told(&again) {
        Some(Outcome::Applied { .. } | Outcome::Unchanged) => {}
        other => faults.push(format!("done again it ended with {other:?}: {}", again.stderr())),
    }
    if !bench.is_running() && bench.host().run(["nginx", "-t"]).status.success() {
        bench.host().start_nginx();
        bench.host().await_listener(443);
    }
    let before = faults.len();
    match look(bench, &mut faults, true) {
        Some(2) => {}
        number => faults.push(format!("it shows {number:?}")),
    }
    for fault in &mut faults[before..] {
        fault.insert_str(0, "done again: ");
    }
    faults
}

/// Which version is shown everywhere; none where there is none. On the own node certbot's links are ahead of the services
/// and of the joined file, until these are `settled`.
fn look(bench: &Peer, faults: &mut Vec<String>, is_settled: bool) -> Option<u32> {
    let host = bench.host();
    let live = format!("/etc/letsencrypt/live/{NAME}");
    let number = number(bench, &live, faults);
    left_over(bench, number, faults);
    let Some(number) = number else {
        if !bench.scenario.first {
            faults.push("no version is shown".into());
        }
        return None;
    };
    let bundle = if number == 1 { &bench.old } else { &bench.new };
    for (part, content) in bundle.files() {
        let path = format!("{live}/{part}.pem");
        if host.run(["test", "-f", &path]).status.success() && host.read(&path) != content {
            faults.push(format!("{part}.pem does not hold version {number}"));
        }
    }
    let key = match number {
        1 if bench.scenario.adopted => format!("{live}/privkey.pem"),
        _ => format!("/etc/letsencrypt/archive/{NAME}/privkey{number}.pem"),
    };
    if host.mode(&key) != 0o600 {
        faults.push("the key's mode is not 0600".into());
    }
    let is_joined = |bundle| host.read(JOINED) == bench::joined(bundle) && host.mode(JOINED) == 0o600;
    if bench.scenario.joined && !is_joined(bundle) && (is_settled || !is_joined(&bench.old)) {
        faults.push("the joined file is of another version".into());
    }
    if bench.scenario.second && if number == 1 { host.exists(JOINED) } else { !is_joined(bundle) } {
        faults.push("the joined file is not as it was, or of another version".into());
    }
    let pair = format!(
        "[ \"$(openssl x509 -in {live}/fullchain.pem -noout -pubkey)\" = \"$(openssl pkey -in {live}/privkey.pem -pubout)\" ]"
    );
    if !host.run(["sh", "-c", &pair]).status.success() {
        faults.push("key and leaf are no pair".into());
    }
    let test = host.run(["nginx", "-t"]);
    if !test.status.success() {
        faults.push(format!("nginx -t fails: {}", test.stderr()));
    }
    if bench.is_running() {
        let until = Instant::now() + RELOADED;
        let is_well = |shown: Option<String>| {
            shown == Some(bundle.fingerprint()) || (!is_settled && shown == Some(bench.old.fingerprint()))
        };
        while !is_well(bench.served()) {
            if Instant::now() > until {
                faults.push(format!("not what is on the disk is served, which is {number}"));
                break;
            }
        }
    }
    Some(number)
}

/// What the four links say.
fn number(bench: &Peer, live: &str, faults: &mut Vec<String>) -> Option<u32> {
    let host = bench.host();
    if !host.exists(live) {
        return None;
    }
    let names: Vec<_> = PARTS.iter().map(|part| format!("{part}.pem")).collect();
    let there: Vec<_> = host.list(live).into_iter().filter(|name| name != "README").collect();
    if there != names {
        faults.push(format!("instead of four links there are {there:?}"));
        if !names.iter().all(|name| there.contains(name)) {
            return None;
        }
    }
    let is_link = |name: &String| host.run(["test", "-L", &format!("{live}/{name}")]).status.success();
    if bench.scenario.adopted && !names.iter().any(is_link) {
        return Some(1);
    }
    let number_of = |part: &&str| {
        let target = host.target(&format!("{live}/{part}.pem"));
        let prefix = format!("../../archive/{NAME}/{part}");
        target.to_str()?.strip_prefix(&prefix)?.strip_suffix(".pem")?.parse::<u32>().ok()
    };
    let numbers: Vec<_> = PARTS.iter().map(number_of).collect();
    if numbers.iter().any(|number| *number != numbers[0]) {
        faults.push(format!("the links show {numbers:?}"));
    }
    numbers[0]
}

/// Nothing of ours may stay, and no version above the one that is shown.
fn left_over(bench: &Peer, number: Option<u32>, faults: &mut Vec<String>) {
    let host = bench.host();
    let archive = format!("/etc/letsencrypt/archive/{NAME}");
    let least = if bench.scenario.first || bench.scenario.adopted { 2 } else { 1 };
    let mut wanted: Vec<_> =
        (least..=number.unwrap_or(0)).flat_map(|number| PARTS.map(|part| format!("{part}{number}.pem"))).collect();
    wanted.sort();
    let there = host.list(&archive);
    if there != wanted || (number.is_none() && host.exists(&archive)) {
        faults.push(format!("the archive holds {there:?}"));
    }
    let is_backup =
        |name: &String| bench.scenario.adopted && number == Some(2) && name.starts_with(&format!(".{NAME}.replaced-"));
    let known = |name: &String| {
        is_backup(name)
            || [
                "README",
                NAME,
                "transaction.lock",
                "outcomes",
                "last.json",
                "written",
                "settled",
                "brought",
                "www.site.test.pem",
            ]
            .contains(&name.as_str())
    };
    let ours = ["brought", "outcomes", "settled", "written"].map(|directory| format!("{STATE}/{directory}"));
    let shared = ["/etc/letsencrypt/live", "/etc/letsencrypt/archive", "/etc/joined", STATE];
    for directory in ours.iter().map(String::as_str).chain(shared) {
        let strange: Vec<_> = host.list(directory).into_iter().filter(|name| !known(name)).collect();
        if !strange.is_empty() {
            faults.push(format!("left over in {directory}: {strange:?}"));
        }
    }
}
