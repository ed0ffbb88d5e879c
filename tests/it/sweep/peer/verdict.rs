//! The judge of a peer after a crash and `recover`: the files by bytes, the rest by openssl and nginx.

use std::time::{Duration, Instant};

use certcast::model::outcome::Outcome;

use super::bench::{self, JOINED, JOURNAL, Lineage, NAME, OTHER, Peer, STATE, Told, Victim, told};

const PARTS: [&str; 4] = ["cert", "chain", "fullchain", "privkey"];
/// Old workers accept for a moment after a reload.
const RELOADED: Duration = Duration::from_secs(2);

/// Recovers, judges, and has the transaction done again. What is wrong, in words; nothing when all is well.
pub fn judge(bench: &Peer, said: &[Told]) -> Vec<String> {
    let mut faults = Vec::new();
    if bench.scenario.no_journal && bench.host().exists(JOURNAL) {
        bench.host().remove(JOURNAL);
    }
    let recovered = bench.run_victim(Victim::Recover, '1', None, false).ran;
    if !recovered.status.success() {
        faults.push(format!("recover ended with {}: {}{}", recovered.status, recovered.stdout(), recovered.stderr()));
    }
    let shown = look(bench, &mut faults, !bench.scenario.own);
    for (lineage, number) in bench.lineages.iter().zip(&shown) {
        match said.iter().find(|told| told.lineage == lineage.name).map(|told| &told.outcome) {
            Some(Outcome::Applied { .. } | Outcome::Unchanged) if *number != Some(2) => {
                faults.push(format!("it said applied, and shows {number:?}"));
            }
            Some(Outcome::Refused { .. } | Outcome::RolledBack { .. }) if *number == Some(2) && !bench.scenario.own => {
                faults.push("it said that nothing was changed, and shows the new one".into());
            }
            _ => {}
        }
    }
    // What is part of one transaction ends alike.
    let is_part = |name: &str| !said.iter().any(|told| told.lineage == name && told.is_apart);
    let mut part = bench.lineages.iter().zip(&shown).filter(|(lineage, _)| is_part(lineage.name));
    if let Some((_, first)) = part.next()
        && part.any(|(_, number)| number != first)
    {
        faults.push(format!("of several lineages {shown:?} are shown"));
    }
    if bench.scenario.own && bench.is_running() && !said.iter().any(|told| told.is_apart) && !are_served_alike(bench) {
        faults.push("of several lineages some new leafs are served".into());
    }
    bench.let_reload();
    let again = bench.run_victim(Victim::Receive, '2', None, false).ran;
    let ended = told(&again);
    if ended.len() != bench.lineages.len() || !ended.iter().all(|told| told.outcome.is_in_sync()) {
        let outcomes: Vec<_> = ended.iter().map(|told| &told.outcome).collect();
        faults.push(format!("done again it ended with {outcomes:?}: {}", again.stderr()));
    }
    if !bench.is_running() && bench.host().run(["nginx", "-t"]).status.success() {
        bench.host().start_nginx();
        bench.host().await_listener(443);
    }
    let before = faults.len();
    let shown = look(bench, &mut faults, true);
    if shown.iter().any(|number| *number != Some(2)) {
        faults.push(format!("it shows {shown:?}"));
    }
    for fault in &mut faults[before..] {
        fault.insert_str(0, "done again: ");
    }
    faults
}

/// On the own node the links say nothing of the services: those show both lineages' new leafs, or both old ones.
fn are_served_alike(bench: &Peer) -> bool {
    let until = Instant::now() + RELOADED;
    loop {
        let is_new = |lineage: &Lineage| bench.served(lineage.name) == Some(lineage.new.fingerprint());
        let new = bench.lineages.iter().filter(|lineage| is_new(lineage)).count();
        if [0, bench.lineages.len()].contains(&new) || Instant::now() > until {
            return [0, bench.lineages.len()].contains(&new);
        }
    }
}

/// Which version of each lineage is shown everywhere; none where there is none. On the own node certbot's links are ahead of the services
/// and of the joined file, until these are `settled`.
fn look(bench: &Peer, faults: &mut Vec<String>, is_settled: bool) -> Vec<Option<u32>> {
    let shown: Vec<_> = bench.lineages.iter().map(|lineage| look_at(bench, lineage, faults, is_settled)).collect();
    strange(bench, shown[0], faults);
    shown
}

fn look_at(bench: &Peer, lineage: &Lineage, faults: &mut Vec<String>, is_settled: bool) -> Option<u32> {
    let (host, Lineage { name, old, new }) = (bench.host(), lineage);
    let live = format!("/etc/letsencrypt/live/{name}");
    let number = number(bench, name, faults);
    left_over(bench, name, number, faults);
    let Some(number) = number else {
        if !bench.scenario.first {
            faults.push("no version is shown".into());
        }
        return None;
    };
    let bundle = if number == 1 { old } else { new };
    for (part, content) in bundle.files() {
        let path = format!("{live}/{part}.pem");
        if host.run(["test", "-f", &path]).status.success() && host.read(&path) != content {
            faults.push(format!("{part}.pem does not hold version {number}"));
        }
    }
    let key = match number {
        1 if bench.scenario.adopted => format!("{live}/privkey.pem"),
        _ => format!("/etc/letsencrypt/archive/{name}/privkey{number}.pem"),
    };
    if host.mode(&key) != 0o600 {
        faults.push("the key's mode is not 0600".into());
    }
    let is_joined = |bundle| host.read(JOINED) == bench::joined(bundle) && host.mode(JOINED) == 0o600;
    if bench.scenario.joined && !is_joined(bundle) && (is_settled || !is_joined(old)) {
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
            shown == Some(bundle.fingerprint()) || (!is_settled && shown == Some(old.fingerprint()))
        };
        while !is_well(bench.served(name)) {
            if Instant::now() > until {
                faults.push(format!("not what is on the disk is served, which is {number}"));
                break;
            }
        }
    }
    Some(number)
}

/// What the four links say.
fn number(bench: &Peer, name: &str, faults: &mut Vec<String>) -> Option<u32> {
    let (host, live) = (bench.host(), format!("/etc/letsencrypt/live/{name}"));
    if !host.exists(&live) {
        return None;
    }
    let names: Vec<_> = PARTS.iter().map(|part| format!("{part}.pem")).collect();
    let there: Vec<_> = host.list(&live).into_iter().filter(|name| name != "README").collect();
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
        let prefix = format!("../../archive/{name}/{part}");
        target.to_str()?.strip_prefix(&prefix)?.strip_suffix(".pem")?.parse::<u32>().ok()
    };
    let numbers: Vec<_> = PARTS.iter().map(number_of).collect();
    if numbers.iter().any(|number| *number != numbers[0]) {
        faults.push(format!("the links show {numbers:?}"));
    }
    numbers[0]
}

/// No version above the one that is shown may stay.
fn left_over(bench: &Peer, name: &str, number: Option<u32>, faults: &mut Vec<String>) {
    let host = bench.host();
    let archive = format!("/etc/letsencrypt/archive/{name}");
    let least = if bench.scenario.first || bench.scenario.adopted { 2 } else { 1 };
    let mut wanted: Vec<_> =
        (least..=number.unwrap_or(0)).flat_map(|number| PARTS.map(|part| format!("{part}{number}.pem"))).collect();
    wanted.sort();
    let there = host.list(&archive);
    if there != wanted || (number.is_none() && host.exists(&archive)) {
        faults.push(format!("the archive holds {there:?}"));
    }
}

/// Nothing of ours may stay.
fn strange(bench: &Peer, number: Option<u32>, faults: &mut Vec<String>) {
    let host = bench.host();
    let is_backup =
        |name: &String| bench.scenario.adopted && number == Some(2) && name.starts_with(&format!(".{NAME}.replaced-"));
    let known = |name: &String| {
        is_backup(name)
            || [
                "README",
                NAME,
                OTHER,
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
