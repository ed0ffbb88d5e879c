//! Kills in the middle: every node decides by itself, and ends all old or all new.

use nix::sys::signal::Signal;

use crate::lab::{Bundle, Host, Lab, until};

const NAME: &str = "www.site.test";
/// Opened for reading and writing: a writer never waits for a reader, and what is written stays.
const GATE: &str = "/run/gate";

/// Makes a service's command wait at a gate whenever `when` (a shell test) holds.
pub fn hold(host: &Host, which: &str, when: &str, then: &str) {
    host.run(["mkfifo", GATE]).ok();
    let script = format!("if {when}; then echo waiting >>/run/waiting; read x <{GATE}; fi; exec {then}");
    host.set(&format!("service.0.{which}"), vec!["sh".to_owned(), "-c".to_owned(), script]);
}

pub fn await_gate(host: &Host) {
    until("a command waits at the gate", || host.exists("/run/waiting"));
}

pub fn open_gate(host: &Host) {
    let writer = host.spawn(["sh", "-c", &format!("echo go >{GATE}")]);
    writer.wait().ok();
}

pub fn receivers(host: &Host) -> Vec<nix::unistd::Pid> {
    host.processes("/usr/local/bin/certcast receive")
}

fn kill_receivers(host: &Host) {
    for receiver in receivers(host) {
        host.signal(receiver, Signal::SIGKILL);
    }
    until("they are dead", || receivers(host).is_empty());
}

#[test]
fn peers_undo_what_is_staged_when_the_primary_is_killed() {
    let (lab, old) = Lab::serving(3, NAME);
    lab.primary().set("deploy.require", "all");
    // web2 has staged and waits for the word; web3 is inside its pre-flight.
    hold(&lab["web3"], "test", "ls -A /etc/letsencrypt/live | grep -q stage", "nginx -t");
    let trees: Vec<_> = lab.peers().iter().map(Host::certificates).collect();
    lab.issue(NAME, 2, &[NAME]);
    let deploy = lab.deploying(NAME).spawn();
    await_gate(&lab["web3"]);
    let staged = |host: &Host| host.list("/etc/letsencrypt/live").iter().any(|name| name.contains(".stage-"));
    until("both have staged", || lab.peers().iter().all(staged));
    deploy.signal(Signal::SIGKILL);
    assert_eq!(deploy.wait().code(), None);

    until("web2 undoes it", || receivers(&lab["web2"]).is_empty());
    open_gate(&lab["web3"]);
    until("web3 undoes it", || receivers(&lab["web3"]).is_empty());
    for (peer, tree) in lab.peers().iter().zip(trees) {
        assert_eq!(peer.certificates(), tree, "{}", peer.name());
        assert!(!peer.exists("/var/lib/certcast/transaction.journal"), "{}", peer.name());
        peer.serves(&lab, NAME, &old);
    }
}

#[test]
fn a_peer_finishes_alone_when_the_primary_is_killed_after_its_word() {
    let (lab, _) = Lab::serving(2, NAME);
    hold(&lab["web2"], "reload", "true", "nginx -s reload");
    let new = lab.issue(NAME, 2, &[NAME]);
    let deploy = lab.deploying(NAME).spawn();
    await_gate(&lab["web2"]);
    deploy.signal(Signal::SIGKILL);
    deploy.wait();
    open_gate(&lab["web2"]);
    until("web2 finishes", || receivers(&lab["web2"]).is_empty());
    lab["web2"].serves(&lab, NAME, &new);
    assert!(!lab["web2"].exists("/var/lib/certcast/transaction.journal"));
    assert!(!lab["web2"].list("/etc/letsencrypt/live").iter().any(|name| name.starts_with('.')));
    lab["web2"].certbot_certificates(NAME).ok().says("VALID");
    lab.resync(&[]).exits(0);
}

/// Kills web2's receiver where `which` waits, and recovers there: the tree is as it was before.
fn killed_receiver(which: &str, when: &str, then: &str) {
    let (lab, old) = Lab::serving(2, NAME);
    killed_receiver_of(&lab, &old, which, when, then);
}

fn killed_receiver_of(lab: &Lab, old: &Bundle, which: &str, when: &str, then: &str) {
    let peer = &lab["web2"];
    let tree = peer.certificates();
    let config = peer.configuration();
    hold(peer, which, when, then);
    let new = lab.issue(NAME, 2, &[NAME]);
    let deploy = lab.deploying(NAME).spawn();
    await_gate(peer);
    assert_ne!(peer.certificates(), tree, "caught in the middle");
    assert!(peer.exists("/var/lib/certcast/transaction.journal"));
    // Nobody is left who would ask how it ended.
    deploy.kill();
    kill_receivers(peer);
    peer.configure(&config);
    peer.run(["certcast", "recover"]).exits(0).says("recovered: ");
    assert_eq!(peer.certificates(), tree, "all old");
    assert!(!peer.exists("/var/lib/certcast/transaction.journal"));
    peer.run(["nginx", "-t"]).ok();
    peer.await_served(lab, NAME, old);
    peer.run(["certcast", "recover"]).exits(0).silent();

    // What the killed one had started ends some day, and must not matter.
    open_gate(peer);
    lab.resync(&[]).exits(0);
    peer.serves(lab, NAME, &new);
    peer.certbot_certificates(NAME).ok().says("VALID");
}

#[test]
fn recover_neither_waits_for_a_transaction_under_way_nor_touches_it() {
    let (lab, _) = Lab::serving(2, NAME);
    let peer = &lab["web2"];
    let config = peer.configuration();
    hold(peer, "reload", "true", "nginx -s reload");
    let new = lab.issue(NAME, 2, &[NAME]);
    let deploy = lab.deploying(NAME).spawn();
    await_gate(peer);
    let tree = peer.certificates();
    // As long as nobody opens the gate the lock is held: that this ends shows that it is not waited for.
    peer.run(["certcast", "recover"]).exits(0).says("another run holds the lock").says("and a transaction is open");
    assert_eq!(peer.certificates(), tree);
    assert!(peer.exists("/var/lib/certcast/transaction.journal"));
    open_gate(peer);
    deploy.wait().exits(0);
    peer.configure(&config);
    peer.serves(&lab, NAME, &new);
}

#[test]
fn a_receiver_killed_after_staging_is_undone_by_recover() {
    killed_receiver("test", "ls -A /etc/letsencrypt/live | grep -q stage", "nginx -t");
}

#[test]
fn a_receiver_killed_after_the_switch_is_undone_by_recover() {
    killed_receiver("reload", "true", "nginx -s reload");
}

/// What is mounted cannot be exchanged: there the links go one by one, under the same journal.
#[test]
fn where_live_is_a_mount_point_a_switch_its_undoing_and_its_recovery_end_whole_all_the_same() {
    let (lab, old) = Lab::serving(2, NAME);
    let peer = &lab["web2"];
    let live = format!("/etc/letsencrypt/live/{NAME}");
    peer.run(["mount", "--bind", &live, &live]).ok();
    killed_receiver_of(&lab, &old, "reload", "true", "nginx -s reload");

    let tree = peer.certificates();
    let config = peer.configuration();
    peer.set(
        "service.0.reload",
        vec!["sh", "-c", &format!("readlink {live}/cert.pem | grep -qv cert3 && exec nginx -s reload")],
    );
    let third = lab.issue(NAME, 3, &[NAME]);
    lab.deploy(NAME).exits(3).says("web2  www.site.test  rolled back after reload");
    assert_eq!(peer.certificates(), tree);
    peer.configure(&config);

    // Nothing can be changed in it.
    peer.run(["mount", "-o", "remount,bind,ro", &live]).ok();
    lab.deploy(NAME).exits(3).says(&live).says("Read-only file system");
    assert_eq!(peer.certificates(), tree);
    assert!(!peer.exists("/var/lib/certcast/transaction.journal"));
    peer.run(["mount", "-o", "remount,bind,rw", &live]).ok();
    lab.deploy(NAME).exits(0).silent();
    peer.serves(&lab, NAME, &third);
    assert_eq!(peer.list("/etc/letsencrypt/live"), ["README", NAME]);
    peer.run(["umount", &live]).ok();
    peer.certbot_certificates(NAME).ok().says("VALID");
}

#[test]
fn an_nginx_that_is_restarted_between_the_steps_has_the_new_certificate_already() {
    let (lab, _) = Lab::serving(2, NAME);
    let peer = &lab["web2"];
    hold(peer, "reload", "true", "nginx -s reload");
    let new = lab.issue(NAME, 2, &[NAME]);
    let deploy = lab.deploying(NAME).spawn();
    await_gate(peer);
    peer.stop_nginx();
    peer.start_nginx();
    peer.await_listener(443);
    peer.serves(&lab, NAME, &new);
    open_gate(peer);
    deploy.wait().exits(0).silent();
    peer.serves(&lab, NAME, &new);
}

#[test]
fn a_server_that_reboots_in_the_middle_recovers_before_nginx_starts() {
    let (lab, old) = Lab::serving(2, NAME);
    let peer = &lab["web2"];
    let (tree, config) = (peer.certificates(), peer.configuration());
    hold(peer, "reload", "true", "nginx -s reload");
    lab.issue(NAME, 2, &[NAME]);
    let deploy = lab.deploying(NAME).spawn();
    await_gate(peer);
    deploy.kill();
    kill_receivers(peer);
    for nginx in peer.processes("nginx: ") {
        peer.signal(nginx, Signal::SIGKILL);
    }
    until("nginx is dead", || peer.processes("nginx: ").is_empty() && !peer.listens(443));
    peer.remove("/run/nginx.pid");
    peer.configure(&config);
    assert_ne!(peer.certificates(), tree, "caught in the middle");

    // A service that was waited for in vain would make this stuck: exit code 5.
    peer.run(["certcast", "recover"]).exits(0).says("recovered: ");
    assert!(peer.processes("nginx: ").is_empty(), "nor started");
    assert_eq!(peer.certificates(), tree);
    peer.start_nginx();
    peer.await_served(&lab, NAME, &old);
    open_gate(peer);
}

#[test]
fn the_next_deploy_recovers_a_killed_receiver_by_itself() {
    let (lab, _) = Lab::serving(2, NAME);
    let peer = &lab["web2"];
    let config = peer.configuration();
    hold(peer, "reload", "true", "nginx -s reload");
    lab.issue(NAME, 2, &[NAME]);
    let deploy = lab.deploying(NAME).spawn();
    await_gate(peer);
    peer.configure(&config);
    kill_receivers(peer);
    deploy.wait();
    let newest = lab.issue(NAME, 3, &[NAME]);
    lab.deploy(NAME).ok().silent();
    peer.serves(&lab, NAME, &newest);
    assert!(!peer.list("/etc/letsencrypt/live").iter().any(|name| name.starts_with('.')));
    assert!(!peer.exists("/etc/letsencrypt/archive/www.site.test/privkey2.pem"), "undone, and never live here");
    peer.certbot_certificates(NAME).ok().says("VALID");
    open_gate(peer);
}

#[test]
fn what_cannot_be_tidied_up_keeps_new_certificates_away_until_it_can() {
    let (lab, _) = Lab::serving(2, NAME);
    let peer = &lab["web2"];
    let config = peer.configuration();
    hold(peer, "test", "ls -A /etc/letsencrypt/live | grep -q stage", "nginx -t");
    lab.issue(NAME, 2, &[NAME]);
    let deploy = lab.deploying(NAME).spawn();
    await_gate(peer);
    deploy.kill();
    kill_receivers(peer);
    peer.configure(&config);
    let staged = peer.list("/etc/letsencrypt/live").into_iter().find(|name| name.contains(".stage-")).unwrap();
    let staged = format!("/etc/letsencrypt/live/{staged}");
    // What is mounted cannot be removed.
    peer.run(["mount", "--bind", &staged, &staged]).ok();
    let archive = peer.list("/etc/letsencrypt/archive/www.site.test");
    let newest = lab.issue(NAME, 3, &[NAME]);
    lab.resync(&[]).exits(3).says("what an earlier run left cannot be tidied up").says("busy");
    assert_eq!(peer.list("/etc/letsencrypt/archive/www.site.test"), archive, "nothing new was taken");

    peer.run(["umount", &staged]).ok();
    peer.run(["certcast", "recover"]).exits(0).says("recovered: ");
    lab.resync(&[]).exits(0).says("web2  www.site.test  applied");
    peer.serves(&lab, NAME, &newest);
    open_gate(peer);
}

#[test]
fn a_switch_that_both_sides_died_in_is_not_taken_for_in_line_by_the_next_resync() {
    let (lab, _) = Lab::serving(2, NAME);
    let peer = &lab["web2"];
    let config = peer.configuration();
    hold(peer, "reload", "true", "nginx -s reload");
    let new = lab.issue(NAME, 2, &[NAME]);
    let deploy = lab.deploying(NAME).spawn();
    await_gate(peer);
    // The links show the new version, and nginx was never told.
    deploy.kill();
    kill_receivers(peer);
    peer.configure(&config);
    lab.resync(&[]).exits(0).says("web2  www.site.test  applied");
    peer.serves(&lab, NAME, &new);
    assert!(!peer.exists("/var/lib/certcast/transaction.journal"));
    open_gate(peer);
}

#[test]
fn a_tree_that_a_power_cut_emptied_on_a_peer_is_healed_by_resync() {
    let (lab, bundle) = Lab::serving(2, NAME);
    let peer = &lab["web2"];
    let tree = peer.certificates();
    for file in ["privkey1", "fullchain1", "cert1", "chain1"] {
        peer.write(&format!("/etc/letsencrypt/archive/www.site.test/{file}.pem"), "");
    }
    peer.run(["nginx", "-t"]).fails();
    lab.resync(&[]).exits(0).says("web2  www.site.test  applied");
    assert_eq!(peer.certificates(), tree);
    peer.run(["nginx", "-t"]).ok();
    peer.serves(&lab, NAME, &bundle);
}
