//! Links that die and programs that freeze in the middle of a deploy: this side ends by its deadline, the peer by its own.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::crash::{await_gate, hold, open_gate, receivers};
use crate::lab::{Entry, Host, Lab, Running, until};

const NAME: &str = "www.site.test";
const JOURNAL: &str = "/var/lib/certcast/transaction.journal";
/// What `deploy.budget` is set to here, and how long a run may take with what is asked for again after it.
const BUDGET: &str = "10s";
const BUDGET_LASTS: Duration = Duration::from_secs(10);
const AT_MOST: Duration = Duration::from_secs(50);

/// Runs a deploy of version 2 to where web2 is prepared and waits for the word, which the primary's own reload holds back.
fn prepared(lab: &Lab) -> (Running, Vec<Entry>) {
    let peer = &lab["web2"];
    lab.primary().set("deploy.budget", BUDGET);
    lab.primary().set("ssh.connect_timeout", "1s");
    hold(lab.primary(), "reload", "true", "nginx -s reload");
    // What is installed is whole, so it is tested with what is staged only.
    let told = "nginx -t; code=$?; echo tested >>/run/tested; exit $code";
    peer.set("service.0.test", vec!["sh", "-c", told]);
    let tree = peer.certificates();
    lab.issue(NAME, 2, &[NAME]);
    let deploy = lab.deploying(NAME).spawn();
    await_gate(lab.primary());
    until("web2 has run its pre-flight", || {
        peer.exists("/run/tested") && peer.text("/run/tested").lines().count() == 1
    });
    until("web2 waits for the word", || {
        let waits = |pid: &Pid| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
            stat.contains(") S ") && children.is_empty()
        };
        peer.exists(JOURNAL) && receivers(peer).iter().any(waits)
    });
    (deploy, tree)
}

fn signal_all(host: &Host, processes: &[Pid], signal: Signal) {
    for pid in processes {
        host.signal(*pid, signal);
    }
}

/// The deploy ends in time and says that web2 is pending, for this reason.
fn is_pending_in_time(deploy: Running, begun: Instant, why: &str) {
    let said = deploy.wait().exits(3).stderr();
    assert!(begun.elapsed() < AT_MOST, "{:?}", begun.elapsed());
    let line = said.lines().find(|line| line.contains("web2  www.site.test  pending: "));
    assert!(line.is_some_and(|line| line.contains(why)), "{said}");
}

fn is_as_before(peer: &Host, tree: &[Entry]) {
    until("the receiver gives up", || receivers(peer).is_empty());
    assert_eq!(peer.certificates(), tree);
    assert!(!peer.exists(JOURNAL));
}

#[test]
fn a_peer_cut_off_before_the_word_undoes_what_is_staged_by_its_own_deadline() {
    let (lab, old) = Lab::serving(2, NAME);
    let (deploy, tree) = prepared(&lab);
    let peer = &lab["web2"];
    peer.unplug();
    let cut = Instant::now();
    open_gate(lab.primary());
    is_pending_in_time(deploy, cut, "the other side did not answer in time");
    // Still cut off: nothing but its own clock tells it.
    is_as_before(peer, &tree);
    peer.plug();
    peer.await_served(&lab, NAME, &old);
    lab.resync(&[]).exits(0).says("web2  www.site.test  applied");
    assert_eq!(peer.installed_leaf(NAME), lab.primary().installed_leaf(NAME));
}

#[test]
fn a_peer_cut_off_after_the_word_finishes_alone_and_is_found_in_line() {
    let (lab, _) = Lab::serving(2, NAME);
    let peer = &lab["web2"];
    lab.primary().set("deploy.budget", BUDGET);
    lab.primary().set("ssh.connect_timeout", "1s");
    hold(peer, "reload", "true", "nginx -s reload");
    let new = lab.issue(NAME, 2, &[NAME]);
    let deploy = lab.deploying(NAME).spawn();
    await_gate(peer);
    peer.unplug();
    let cut = Instant::now();
    open_gate(peer);
    is_pending_in_time(deploy, cut, "the other side did not answer in time");
    until("web2 finishes", || receivers(peer).is_empty());
    assert!(!peer.exists(JOURNAL));
    let reloads = peer.nginx_reloads();
    peer.plug();
    peer.await_served(&lab, NAME, &new);
    assert_eq!(lab.resync(&[]).exits(0).stdout(), "everything is in line\n");
    assert_eq!(peer.nginx_reloads(), reloads);
}

#[test]
fn an_answer_lost_after_the_word_is_asked_for_again() {
    let (lab, _) = Lab::serving(2, NAME);
    let peer = &lab["web2"];
    hold(peer, "reload", "true", "nginx -s reload");
    let new = lab.issue(NAME, 2, &[NAME]);
    let deploy = lab.deploying(NAME).spawn();
    await_gate(peer);
    let logins = peer.logins();
    // The connection dies, its receiver does not.
    signal_all(peer, &peer.processes("sshd: root@notty"), Signal::SIGKILL);
    until("the primary calls again", || peer.logins() > logins);
    open_gate(peer);
    deploy.wait().ok().silent();
    peer.serves(&lab, NAME, &new);
}

#[test]
fn a_receiver_that_freezes_costs_the_deadline_and_undoes_itself_when_it_wakes() {
    let (lab, old) = Lab::serving(2, NAME);
    let (deploy, tree) = prepared(&lab);
    let peer = &lab["web2"];
    let frozen = receivers(peer);
    signal_all(peer, &frozen, Signal::SIGSTOP);
    let begun = Instant::now();
    open_gate(lab.primary());
    is_pending_in_time(
        deploy,
        begun,
        "another run holds the lock here: /var/lib/certcast/transaction.lock is still locked by ",
    );
    assert!(peer.exists(JOURNAL), "it could not undo anything yet");
    // The word has come for it meanwhile, and its time is over.
    until("the deadline has passed", || begun.elapsed() > BUDGET_LASTS);
    signal_all(peer, &frozen, Signal::SIGCONT);
    is_as_before(peer, &tree);
    peer.serves(&lab, NAME, &old);
    lab.resync(&[]).exits(0).says("web2  www.site.test  applied");
}

#[test]
fn an_sshd_that_hangs_before_its_greeting_keeps_no_other_peer_waiting() {
    let (lab, old) = Lab::serving(3, NAME);
    // All that web3 does must be done before this is over, and the machine may be busy with other tests.
    lab.primary().set("deploy.budget", "20s");
    lab.primary().set("ssh.connect_timeout", "20s");
    let sshd = lab["web2"].processes("/usr/sbin/sshd -f");
    signal_all(&lab["web2"], &sshd, Signal::SIGSTOP);
    let new = lab.issue(NAME, 2, &[NAME]);
    let mut deploy = lab.deploying(NAME).spawn();
    lab["web3"].await_served(&lab, NAME, &new);
    assert!(deploy.is_running(), "it still waits for web2's greeting");
    is_pending_in_time(deploy, Instant::now(), "no answer in time while waiting for sshd's greeting");
    lab["web2"].serves(&lab, NAME, &old);
    signal_all(&lab["web2"], &sshd, Signal::SIGCONT);
    lab.resync(&[]).exits(0).says("web2  www.site.test  applied");
}
