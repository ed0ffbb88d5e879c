//! The lab itself: what it promises to the tests that stand on it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::lab::{Bundle, Certbot, Fault, Grant, Lab, Validity, until};

const NAME: &str = "www.site.test";

fn certonly(lab: &Lab, which: Certbot) -> crate::lab::Finished {
    let webroot = ["certonly", "--webroot", "--webroot-path", "/var/www/html", "--domain", NAME];
    lab["web1"].certbot(which).args(webroot).run()
}

/// Plain certbot with one name on three servers: the reason why certcast exists.
fn plain_certbot_needs_a_name_of_its_own(which: Certbot) {
    let lab = Lab::raise().hosts(3).with_ca().up();
    lab.point(NAME, &["web1", "web2", "web3"]);
    certonly(&lab, which).fails().says("unauthorized");
    assert!(lab["web1"].list("/etc/letsencrypt/live").is_empty());

    lab.point(NAME, &["web1"]);
    certonly(&lab, which).ok();
    lab["web1"].certbot_certificates(NAME).ok().says("VALID: 89 days");
    lab["web1"].serve(NAME, &[NAME]);
    let leaf = lab["web1"].installed_leaf(NAME);
    for address in lab["web1"].addresses() {
        until("the new leaf is served", || lab.served_leaf(address, NAME) == leaf);
    }
    assert!(lab.ca().root().contains("BEGIN CERTIFICATE"));
}

#[test]
fn debians_certbot_fails_behind_rotating_dns_and_succeeds_alone() {
    plain_certbot_needs_a_name_of_its_own(Certbot::Debian);
}

#[test]
fn pypis_certbot_fails_behind_rotating_dns_and_succeeds_alone() {
    plain_certbot_needs_a_name_of_its_own(Certbot::Pypi);
}

#[test]
fn hosts_are_machines_of_their_own() {
    let lab = Lab::raise().hosts(2).up();
    for host in lab.hosts() {
        assert_eq!(host.run(["hostname"]).ok().stdout().trim(), host.name());
        host.write("/etc/letsencrypt/whose", host.name());
        host.write("/var/www/html/whose", host.name());
    }
    for host in lab.hosts() {
        assert_eq!(host.text("/etc/letsencrypt/whose"), host.name());
        assert_eq!(host.run(["cat", "/etc/letsencrypt/whose"]).ok().stdout(), host.name());
        for address in host.addresses() {
            let page = lab.get(address, &format!("http://{NAME}/whose"));
            assert_eq!((page.status, page.body.as_str()), (200, host.name()), "{address}");
        }
        assert_eq!(lab.get(host.v4(), &format!("http://{NAME}/missing")).status, 404);
        assert!(!host.exists("/dev/log"));
        assert_eq!(host.run(["sh", "-c", "command -v certcast"]).ok().stdout(), "/usr/local/bin/certcast\n");
        host.run(["certcast"]).exits(2).says("Usage");
        host.run(["touch", "/usr/bin/anything"]).fails().says("Read-only file system");
    }
    assert!(!PathBuf::from("/etc/letsencrypt/whose").exists());
}

#[test]
fn ssh_lets_the_right_key_in_and_is_counted() {
    let lab = Lab::raise().hosts(2).up();
    let (primary, peer) = (&lab["web1"], &lab["web2"]);
    let key = primary.new_key("/root/.ssh/id_ed25519");
    let login = |user: &str, program: &str| {
        let strict = ["-o", "BatchMode=yes", "-o", "UserKnownHostsFile=/etc/certcast/known_hosts"];
        primary.command(["ssh"]).args(strict).args([&format!("{user}@192.0.2.2"), program]).run()
    };
    login("root", "hostname").fails().says("Permission denied");
    assert_eq!(peer.logins(), 0);

    peer.authorize(&key, Grant::Shell);
    assert_eq!(login("root", "hostname").ok().stdout(), "web2\n");
    assert_eq!(peer.logins(), 1);

    peer.authorize_only(&key, Grant::Forced("echo only this"));
    assert_eq!(login("root", "hostname").ok().stdout(), "only this\n");
    assert_eq!(peer.logins(), 2);

    peer.authorize_only(&key, Grant::Receive { role: "challenge", only: &["a.test", "b.test"] });
    let line = peer.text("/root/.ssh/authorized_keys");
    let command = "/usr/local/bin/certcast receive --role challenge --only a.test --only b.test";
    assert!(line.starts_with(&format!("restrict,command=\"{command}\" ssh-ed25519 ")), "{line}");

    peer.change_host_key();
    login("root", "hostname").fails().says("Host key verification failed");
    lab.pin_host_keys();
    login("root", "hostname");
    assert_eq!(peer.logins(), 3);

    peer.stop_sshd();
    login("root", "hostname").fails().says("Connection refused");
}

#[test]
fn a_pulled_cable_is_silence() {
    let lab = Lab::raise().hosts(2).up();
    let try_for = |seconds: &str| {
        let connect = ["timeout", seconds, "bash", "-c", "exec 3<>/dev/tcp/192.0.2.2/22 && head -c 4 <&3"];
        lab["web1"].run(connect)
    };
    assert_eq!(try_for("30").ok().stdout(), "SSH-");
    lab["web2"].unplug();
    // The code of timeout(1): no refusal, no "no route".
    try_for("1").exits(124);
    lab["web2"].plug();
    until("web2 answers again", || try_for("1").status.success());
}

#[test]
fn a_stopped_daemon_accepts_and_says_nothing() {
    let lab = Lab::raise().hosts(1).up();
    let host = &lab["web1"];
    let master = host.processes("sshd: /usr/sbin/sshd");
    assert_eq!(master.len(), 1);
    let banner = |seconds: &str| {
        lab.visitor(["timeout", seconds, "bash", "-c", "exec 3<>/dev/tcp/192.0.2.1/22 && head -c 4 <&3"]).run()
    };
    host.signal(master[0], Signal::SIGSTOP);
    banner("1").exits(124);
    host.signal(master[0], Signal::SIGCONT);
    assert_eq!(banner("30").ok().stdout(), "SSH-");
}

#[test]
fn nginx_serves_reloads_breaks_and_mends() {
    let lab = Lab::raise().hosts(1).up();
    let host = &lab["web1"];
    let first = lab.issue(NAME, 1, &[NAME]);
    assert_eq!(lab.served_leaf(host.v4(), NAME), None);
    host.serve(NAME, &[NAME]);
    until("the first leaf is served", || lab.served_leaf(host.v6(), NAME) == Some(first.fingerprint()));
    assert_eq!(host.nginx_reloads(), 1);

    let second = lab.issue(NAME, 2, &[NAME]);
    assert_eq!(lab.served_leaf(host.v4(), NAME), Some(first.fingerprint()));
    host.reload_nginx();
    until("the second leaf is served", || lab.served_leaf(host.v4(), NAME) == Some(second.fingerprint()));
    assert_eq!(host.nginx_reloads(), 2);

    host.run(["nginx", "-t"]).ok();
    host.break_nginx();
    host.run(["nginx", "-t"]).fails().says("no_such_directive");
    host.mend_nginx();
    host.run(["nginx", "-t"]).ok();
    host.stop_nginx();
    assert!(!host.listens(80));
    host.start_nginx();
}

#[test]
fn broken_bundles_are_broken_in_the_way_they_say() {
    let lab = Lab::raise().hosts(1).up();
    let host = &lab["web1"];
    let good = lab.bundle(&[NAME, "192.0.2.1"]);
    let nginx_says = |bundle: &Bundle| {
        host.install(NAME, 1, bundle);
        host.run(["nginx", "-t"])
    };
    host.configure_site(NAME, &[NAME]);
    nginx_says(&good).ok();
    for (fault, words) in [
        (Fault::OtherKey, "key values mismatch"),
        (Fault::WrongOrder, "key values mismatch"),
        (Fault::Truncated, "cannot load certificate"),
        (Fault::TruncatedKey, "cannot load certificate key"),
        (Fault::Empty, "cannot load certificate"),
        (Fault::Garbage, "cannot load certificate"),
    ] {
        nginx_says(&good.broken(fault)).fails().says(words);
    }
    // nginx takes these; openssl tells them apart.
    let verify = |bundle: &Bundle| {
        nginx_says(bundle).ok();
        host.write("/root.pem", lab.root());
        let live = format!("/etc/letsencrypt/live/{NAME}");
        let (chain, leaf) = (format!("{live}/fullchain.pem"), format!("{live}/cert.pem"));
        host.run(["openssl", "verify", "-CAfile", "/root.pem", "-untrusted", &chain, &leaf])
    };
    verify(&good).ok();
    verify(&good.broken(Fault::NoChain)).fails().says("unable to get local issuer certificate");
    verify(&lab.bundle_valid(&[NAME], Validity::Expired)).fails().says("certificate has expired");
    verify(&lab.bundle_valid(&[NAME], Validity::NotYet)).fails().says("certificate is not yet valid");
}

#[test]
fn an_issued_lineage_is_one_certbot_accepts() {
    let lab = Lab::raise().hosts(2).up();
    lab.issue(NAME, 1, &[NAME]);
    let bundle = lab.issue(NAME, 2, &[NAME, "site.test"]);
    lab["web2"].install(NAME, 2, &bundle);
    for host in lab.hosts() {
        host.certbot_certificates(NAME).ok().says("VALID: 89 days").says("site.test");
        assert_eq!(host.installed_leaf(NAME), Some(bundle.fingerprint()));
        assert_eq!(host.mode(&format!("/etc/letsencrypt/archive/{NAME}/privkey2.pem")), 0o600);
        assert_eq!(host.mode("/etc/letsencrypt/live"), 0o700);
        let target = host.target(&format!("/etc/letsencrypt/live/{NAME}/cert.pem"));
        assert_eq!(target, PathBuf::from(format!("../../archive/{NAME}/cert2.pem")));
    }
    assert!(!lab["web2"].exists("/etc/letsencrypt/renewal"));
    let live = format!("/etc/letsencrypt/live/{NAME}");
    assert_eq!(lab["web1"].tree(&live), lab["web2"].tree(&live));
}

#[test]
fn dns_rotates_and_changes_at_once() {
    let lab = Lab::raise().hosts(3).up();
    let first_of = |family: &str| {
        let found = lab["web2"].run(["getent", family, NAME]);
        found.stdout().split_whitespace().next().unwrap_or_default().to_owned()
    };
    assert_eq!(first_of("ahostsv4"), "");
    lab.point_both(NAME, &["web1", "web2", "web3"]);
    // getent sorts by its own rules; the server's order is what rotates.
    for _ in 0..3 {
        assert!(first_of("ahostsv4").starts_with("192.0.2."));
    }
    let first: BTreeSet<String> = lab.dns().first_answers(NAME).into_iter().collect();
    assert_eq!(first, lab.hosts().iter().map(|host| host.v4().to_string()).collect());
    assert!(first_of("ahostsv6").starts_with("2001:db8::"));
    assert_eq!(lab.dns().questions(NAME), 5);
    lab.point(NAME, &["web3"]);
    assert_eq!(first_of("ahostsv4"), "192.0.2.3");
    assert_eq!(first_of("ahostsv6"), "::ffff:192.0.2.3", "no AAAA any more: getent makes one up");
}

#[test]
fn configuration_is_set_value_by_value() {
    let lab = Lab::raise().hosts(3).up();
    let primary = &lab["web1"];
    primary.set("challenge.budget", "5s");
    primary.set("peer.1.transport", "local");
    primary.set("alert.0.to", "telegraf");
    let config: toml::Table = primary.configuration().parse().unwrap();
    assert_eq!(config["challenge"]["budget"].as_str(), Some("5s"));
    assert_eq!(config["peer"][1]["name"].as_str(), Some("web3"));
    assert_eq!(config["peer"][1]["transport"].as_str(), Some("local"));
    assert_eq!(config["alert"][0]["to"].as_str(), Some("telegraf"));
    assert!(!lab["web2"].configuration().contains("peer"));
    assert_eq!(primary.mode("/etc/certcast/id_ed25519"), 0o600);
}

#[test]
fn a_program_is_ended_at_its_deadline_or_by_hand() {
    let lab = Lab::raise().hosts(1).up();
    let host = &lab["web1"];
    let late = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        host.command(["sleep", "1000"]).deadline(Duration::from_millis(200)).run()
    }));
    assert!(late.is_err());
    let mut running = host.spawn(["sleep", "2000"]);
    let pid = running.pid();
    assert_eq!(host.processes("sleep 2000"), [pid]);
    assert!(running.is_running());
    running.kill();
    until("no sleeper is left", || host.processes("sleep 1000").is_empty() && host.processes("sleep 2000").is_empty());
    assert_eq!(host.command(["cat"]).input("as given").run().ok().stdout(), "as given");
    assert_eq!(host.command(["/usr/bin/env"]).bare_env().env("A", "b").run().ok().stdout(), "A=b\n");
    host.small_disk("/full", "size=16k");
    host.run(["dd", "if=/dev/zero", "of=/full/file", "bs=32k", "count=1"]).fails().says("No space left");
}

#[test]
fn labs_side_by_side_do_not_meet() {
    let labs = [Lab::raise().hosts(2).up(), Lab::raise().hosts(2).up()];
    for (lab, word) in labs.iter().zip(["one", "two"]) {
        lab["web2"].write("/var/www/html/lab", word);
    }
    for (lab, word) in labs.iter().zip(["one", "two"]) {
        assert_eq!(lab.get(lab["web2"].v4(), "http://any.test/lab").body, word);
    }
    let [first, second] = labs;
    drop(first);
    assert_eq!(second.get(second["web2"].v6(), "http://any.test/lab").body, "two");
}
