//! The judge of all nodes after a cut of the primary's program: files by bytes, what is served by openssl and curl.

use super::Victim;
use super::bench::{NAME, NAMES, PLACES, Primary};
use crate::lab::{Bundle, Host, token};

const OURS: &str = "/var/lib/certcast";
/// What stays between runs: locks, and memories that only messages are made from.
const KEPT: [&str; 16] = [
    "brought",
    "brought/www.site.test",
    "challenges",
    "challenges.lock",
    "challenges-primary.lock",
    "debts.lock",
    "delivery.lock",
    "transaction.lock",
    "outcomes",
    "outcomes/last.json",
    "owed",
    "records",
    "runs",
    "settled",
    "settled/www.site.test",
    "written",
];

/// Looks, has the rest done by the next run, and looks again. What is wrong, in words; nothing when all is well.
pub fn judge(bench: &Primary, code: Option<i32>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut said = |when: &str, found: Vec<String>| {
        faults.extend(found.into_iter().map(|fault| format!("{when}: {fault}")));
    };
    // What says that it is done must be done.
    match (bench.victim, code) {
        (Victim::Auth, Some(0)) => said("it said that all is proven", unproven(bench)),
        (Victim::Deploy | Victim::Resync, Some(0)) => said("it said that all is done", undelivered(bench, &bench.new)),
        (Victim::AuthThenCleanup, _) => said("after cleanup", left_over(bench, false)),
        _ => {}
    }
    let torn = bench.lab.hosts().iter().flat_map(|host| torn(bench, host)).collect();
    said("before the next run", torn);
    let next = bench.lab.resync(&[]);
    if next.code() != Some(0) {
        said("the next run", vec![next.to_string()]);
    }
    let version = if bench.victim.delivers() { &bench.new } else { &bench.old };
    said("then", undelivered(bench, version));
    said("then", left_over(bench, true));
    if bench.victim.delivers() {
        let last = bench.lab.resync(&[]);
        if last.stdout() != "everything is in line\n" {
            said("once more", vec![last.to_string()]);
        }
    } else {
        let again = bench.primary().hooks().auth(&NAMES).run();
        if again.code() != Some(0) || !again.stderr.is_empty() {
            said("done again", vec![again.to_string()]);
        }
        said("done again", unproven(bench));
        bench.primary().hooks().auth(&NAMES).cleanup(&NAMES).run();
        bench.lab.resync(&[]);
        said("done again", left_over(bench, true));
    }
    faults
}

/// Challenges that some address does not serve, as curl sees it.
fn unproven(bench: &Primary) -> Vec<String> {
    let mut missing = Vec::new();
    for host in bench.lab.hosts() {
        for address in host.addresses() {
            for name in NAMES {
                let token = token(name);
                let page = bench.lab.get(address, &format!("http://{name}/.well-known/acme-challenge/{token}"));
                if page.status != 200 || !page.body.starts_with(&format!("{token}.")) {
                    missing.push(format!("{} does not serve {name} at {address}: {page:?}", host.name()));
                }
            }
        }
    }
    missing
}

/// Nodes that do not have or do not serve a version.
fn undelivered(bench: &Primary, version: &Bundle) -> Vec<String> {
    let mut wrong = Vec::new();
    for host in bench.lab.hosts() {
        if host.installed_leaf(NAME) != Some(version.fingerprint()) {
            wrong.push(format!("{} does not have it", host.name()));
        }
        if bench.lab.served_leaf(host.v4(), NAME) != Some(version.fingerprint()) {
            wrong.push(format!("{} does not serve it", host.name()));
        }
        let test = host.run(["nginx", "-t"]);
        if !test.status.success() {
            wrong.push(format!("{}: nginx -t fails: {}", host.name(), test.stderr()));
        }
    }
    wrong
}

/// What must never be, not even before the next run: a lineage that is neither one version nor the other.
fn torn(bench: &Primary, host: &Host) -> Vec<String> {
    let live = format!("/etc/letsencrypt/live/{NAME}");
    let shown =
        |bundle: &Bundle| bundle.files().iter().all(|(part, is)| host.read(&format!("{live}/{part}.pem")) == *is);
    let mut wrong = Vec::new();
    if !shown(&bench.old) && !shown(&bench.new) {
        wrong.push(format!("{} is between two versions", host.name()));
    }
    if host.name() != bench.primary().name() && host.exists(&format!("{OURS}/transaction.journal")) {
        wrong.push(format!("{} has not decided", host.name()));
    }
    let served = bench.lab.served_leaf(host.v4(), NAME);
    if served != host.installed_leaf(NAME) && host.name() != bench.primary().name() {
        wrong.push(format!("{} does not serve what it has", host.name()));
    }
    wrong
}

/// Tokens, records of runs, debts, staged and temporary files. After a run that only certbot has ended, what an earlier
/// one left may still be there.
fn left_over(bench: &Primary, is_settled: bool) -> Vec<String> {
    let mut left = Vec::new();
    for host in bench.lab.hosts() {
        let record = |path: &str| path.split('/').count() == 3 && path.starts_with("records/") && path.ends_with(NAME);
        let folder =
            |path: &str| path.split('/').count() == 2 && ["records/", "owed/"].iter().any(|at| path.starts_with(at));
        for entry in host.tree(OURS) {
            let path = entry.path.to_string_lossy().into_owned();
            let is_kept = KEPT.contains(&path.as_str()) || record(&path) || (folder(&path) && entry.kind == 'd');
            if !(is_kept || path == format!("written/{NAME}")) {
                left.push(format!("{}:{OURS}/{path}", host.name()));
            }
            if record(&path)
                && is_settled
                && !String::from_utf8_lossy(&entry.content.unwrap()).contains("\"pending_since\":null")
            {
                left.push(format!("{}: a record says that it is pending", host.name()));
            }
        }
        left.extend(host.tokens().iter().map(|token| format!("{}: challenge {token}", host.name())));
        for place in [PLACES[0], PLACES[2]] {
            let staged = host.tree(place).into_iter().filter(|entry| entry.path.to_string_lossy().contains("/."));
            let staged = staged.filter(|entry| !entry.path.starts_with(".well-known"));
            left.extend(staged.map(|entry| format!("{}:{place}/{}", host.name(), entry.path.display())));
        }
        if host.name() != bench.primary().name() {
            let archive = bench.primary().list(&format!("/etc/letsencrypt/archive/{NAME}"));
            let there = host.list(&format!("/etc/letsencrypt/archive/{NAME}"));
            if is_settled && archive != there {
                left.push(format!("{}: the archive holds {there:?}", host.name()));
            }
        }
    }
    left
}
