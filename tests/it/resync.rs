//! `resync`: what could not be done before, what is chosen, what is only shown; and nothing where nothing differs.

use crate::lab::{Certbot, Grant, Host, Lab, until};

const NAME: &str = "www.site.test";

#[test]
fn peers_that_are_off_are_pending_and_resync_finishes_them_and_then_touches_nothing() {
    let (lab, old) = Lab::serving(4, NAME);
    lab.primary().set("deploy.budget", "9s");
    lab["web3"].unplug();
    lab["web4"].stop_sshd();
    let new = lab.issue(NAME, 2, &[NAME]);
    let said = lab.deploy(NAME).exits(3).stderr();
    for line in ["web3  www.site.test  pending: ", "web4  www.site.test  pending: "] {
        assert!(said.contains(line), "{line} is not in: {said}");
    }
    assert!(!said.contains("web2"), "{said}");
    lab["web2"].serves(&lab, NAME, &new);
    lab["web4"].serves(&lab, NAME, &old);

    lab["web3"].plug();
    lab["web4"].start_sshd();
    lab.resync(&[]).exits(0);
    for host in lab.hosts() {
        host.serves(&lab, NAME, &new);
    }
    let state = |host: &Host| (host.nginx_reloads(), host.stamps());
    let before: Vec<_> = lab.hosts().iter().map(state).collect();
    assert_eq!(lab.resync(&[]).exits(0).stdout(), "everything is in line\n");
    assert!(lab.hosts().iter().map(state).collect::<Vec<_>>() == before, "something was touched");
}

#[test]
fn a_black_hole_keeps_no_other_peer_waiting() {
    let (lab, _) = Lab::serving(3, NAME);
    lab["web3"].unplug();
    let new = lab.issue(NAME, 2, &[NAME]);
    let mut deploy = lab.deploying(NAME).spawn();
    lab["web2"].await_served(&lab, NAME, &new);
    assert!(deploy.is_running(), "it still tries to reach web3");
    deploy.wait().exits(3).says("web3  www.site.test  pending: ");
}

#[test]
fn a_timer_that_throws_standard_output_away_still_hears_of_what_is_missing() {
    let (lab, _) = Lab::serving(2, NAME);
    let quiet = || lab.primary().command(["sh", "-c", "certcast resync >/dev/null"]).run();
    quiet().exits(0).silent();
    lab["web2"].unplug();
    lab.issue(NAME, 2, &[NAME]);
    quiet().exits(3).says("web2  www.site.test  pending: ");
}

#[test]
fn a_dry_run_shows_each_node_and_file_and_changes_nothing_anywhere() {
    let (lab, old) = Lab::serving(3, NAME);
    lab.issue(NAME, 2, &[NAME]);
    let state = |host: &Host| (host.nginx_reloads(), host.stamps(), host.tree("/var/lib/certcast"));
    let before: Vec<_> = lab.hosts().iter().map(state).collect();
    let said = lab.resync(&["--dry-run"]).exits(0).stdout();
    for peer in ["web2", "web3"] {
        let would = format!("{peer}  www.site.test  would");
        let archive = "write /etc/letsencrypt/archive/www.site.test/{cert2.pem,privkey2.pem,chain2.pem,fullchain2.pem}";
        for what in [archive, "switch /etc/letsencrypt/live/www.site.test from 1 to 2", "run nginx -t; nginx -s reload"]
        {
            assert!(said.contains(&format!("{would} {what}")), "{what} is not in: {said}");
        }
    }
    assert!(said.contains("web1  www.site.test  would run nginx -t"), "{said}");
    for (host, before) in lab.hosts().iter().zip(before) {
        let ((reloads, stamps, memory), now) = (before, state(host));
        assert_eq!(now.0, reloads);
        assert!(now.1 == stamps, "{}", host.name());
        // The process number in a lock's file is no memory.
        let kept = |tree: Vec<crate::lab::Entry>| {
            tree.into_iter()
                .filter(|e| !e.path.ends_with("transaction.lock") && !e.path.ends_with("delivery.lock"))
                .collect::<Vec<_>>()
        };
        assert_eq!(kept(now.2), kept(memory), "{}", host.name());
        host.serves(&lab, NAME, &old);
    }
}

#[test]
fn a_person_may_choose_the_peer_and_the_lineage() {
    let other = "other.test";
    let (lab, _) = Lab::serving(3, NAME);
    let new = lab.issue(NAME, 2, &[NAME]);
    lab.issue(other, 1, &[other]);
    let logins = lab["web3"].logins();
    lab.resync(&["--peer", "web2", NAME]).exits(0);
    lab["web2"].serves(&lab, NAME, &new);
    assert_eq!(lab["web3"].logins(), logins);
    assert!(!lab["web2"].exists("/etc/letsencrypt/live/other.test"));

    lab.resync(&[other]).exits(0);
    assert!(lab["web2"].exists("/etc/letsencrypt/live/other.test"));
    assert_ne!(lab["web3"].installed_leaf(NAME), Some(new.fingerprint()));
    lab.resync(&["--peer", "web9"]).exits(2).says("web9").says("web2, web3");
    lab.resync(&["gone.test"]).exits(4).says("there is no lineage gone.test");
}

#[test]
fn the_result_as_json_has_a_row_for_each_node() {
    let (lab, _) = Lab::serving(3, NAME);
    lab["web3"].break_nginx();
    lab.issue(NAME, 2, &[NAME]);
    let said = lab.resync(&["--json"]).exits(3).stdout();
    let rows: serde_json::Value = serde_json::from_str(&said).unwrap();
    let row = |node: &str| rows.as_array().unwrap().iter().find(|row| row["node"] == node).unwrap().clone();
    assert_eq!((&row("web1")["outcome"], &row("web2")["outcome"]), (&"applied".into(), &"applied".into()));
    assert_eq!((&row("web3")["outcome"], &row("web3")["step"]), (&"refused".into(), &"baseline".into()));
    assert!(row("web3")["cause"].as_str().unwrap().contains("no_such_directive"));
    let planned: serde_json::Value = serde_json::from_str(&lab.resync(&["--json", "--dry-run"]).stdout()).unwrap();
    let planned = planned.as_array().unwrap();
    assert_eq!(planned.iter().map(|row| &row["node"]).collect::<Vec<_>>(), ["web1", "web2", "web3"], "{planned:?}");
}

#[test]
fn peers_may_have_another_name_for_it_or_not_want_it() {
    let lab = Lab::raise().hosts(3).up();
    let (numbered, wanted, other) = ("www.site.test-0001", "www.site.test", "other.test");
    lab.primary().set("deploy.rename", toml::Table::from_iter([(numbered.to_owned(), wanted.into())]));
    lab.primary().set("peer.1.lineages", toml::Value::Array(vec!["other.*".into()]));
    let renamed = lab.issue(numbered, 1, &[NAME]);
    lab.issue(other, 1, &[other]);
    lab.deploy(numbered).ok().silent();
    assert_eq!(lab["web2"].installed_leaf(wanted), Some(renamed.fingerprint()));
    assert!(!lab["web2"].exists("/etc/letsencrypt/live/www.site.test-0001"));
    let link = lab["web2"].target("/etc/letsencrypt/live/www.site.test/cert.pem");
    assert_eq!(link.to_str(), Some("../../archive/www.site.test/cert1.pem"));
    lab["web2"].certbot_certificates(wanted).ok().says("VALID");
    assert_eq!(lab["web3"].logins(), 0, "not for it, so not called");

    lab.resync(&[]).exits(0);
    assert_eq!(lab["web3"].list("/etc/letsencrypt/live"), ["README", "other.test"]);
    let mut names = lab["web2"].list("/etc/letsencrypt/live");
    names.retain(|name| name != "README");
    assert_eq!(names, ["other.test", "www.site.test"]);
    assert_eq!(lab.resync(&[]).exits(0).stdout(), "everything is in line\n");
}

/// The bytes that the primary's last connection sent to a peer, by the peer's sshd.
fn received(peer: &Host) -> u64 {
    let log = peer.sshd_log();
    let line = log.lines().rev().find(|line| line.starts_with("Transferred: ")).expect("a connection has ended");
    line.rsplit("received ").next().unwrap().split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn only_what_a_peer_lacks_travels() {
    let lab = Lab::raise().hosts(2).up();
    let peer = &lab["web2"];
    let ended = || peer.sshd_log().matches("Transferred: ").count();
    let deploy = |count| {
        lab.deploy(NAME).ok().silent();
        until("sshd has counted", || ended() == count);
        (peer.logins(), received(peer))
    };
    let bundle = lab.issue(NAME, 1, &[NAME]);
    let size = bundle.files().iter().map(|(_, content)| content.len() as u64).sum::<u64>();
    let first = deploy(1);
    let second = deploy(2);
    assert_eq!((first.0, second.0), (1, 2), "one connection each");
    assert!(first.1 > second.1 + size, "{first:?} {second:?} {size}");
    let stamps = peer.stamps();
    deploy(3);
    assert!(peer.stamps() == stamps);
}

#[test]
fn deploys_and_resyncs_at_once_end_consistent() {
    let (lab, _) = Lab::serving(3, NAME);
    let new = lab.issue(NAME, 2, &[NAME]);
    let resync = || lab.primary().command(["certcast", "resync"]);
    let all = [lab.deploying(NAME).spawn(), resync().spawn(), lab.deploying(NAME).spawn(), resync().spawn()];
    for run in all {
        run.wait().exits(0);
    }
    for host in lab.hosts() {
        host.serves(&lab, NAME, &new);
        assert!(!host.list("/etc/letsencrypt/live").iter().any(|name| name.starts_with('.')), "{}", host.name());
    }
    for peer in lab.peers() {
        let archive = "/etc/letsencrypt/archive";
        assert_eq!(peer.tree(archive), lab.primary().tree(archive), "{}", peer.name());
        assert_eq!(peer.nginx_reloads(), 3, "the first certificate, the site, and one for the renewal");
    }
}

#[test]
fn a_lineage_whose_name_another_one_has_on_the_peers_is_not_sent() {
    let lab = Lab::raise().hosts(2).up();
    let (numbered, plain) = ("www.site.test-0001", NAME);
    lab.primary().set("deploy.rename", toml::Table::from_iter([(numbered.to_owned(), plain.into())]));
    lab.issue(plain, 1, &[NAME]);
    let new = lab.issue(numbered, 1, &[NAME]);
    lab.resync(&[]).exits(0).says("www.site.test is not sent: deploy.rename sends www.site.test-0001 under this name");
    assert_eq!(lab["web2"].installed_leaf(NAME), Some(new.fingerprint()));
    let stamps = lab["web2"].stamps();
    lab.deploy(plain).exits(0).says("is not sent");
    assert_eq!(lab.resync(&[]).exits(0).stdout(), "everything is in line\n");
    assert!(lab["web2"].stamps() == stamps, "it goes back and forth");
}

#[test]
fn a_lineage_that_certbot_deleted_stays_on_the_peers_and_is_told_until_a_person_removes_it() {
    let lab = Lab::raise().hosts(3).up();
    let (renamed, odd) = ("www.site.test-0001", "it's old");
    let delete = |name| lab.primary().certbot(Certbot::Debian).args(["delete", "--cert-name", name]).run().ok();
    lab.issue(NAME, 1, &[NAME]);
    lab.resync(&[]).exits(0);
    delete(NAME);
    // Its place there is another's now: nothing is left over.
    lab.primary().set("deploy.rename", toml::Table::from_iter([(renamed.to_owned(), NAME.into())]));
    let bundle = lab.issue(renamed, 2, &[NAME]);
    lab.issue(odd, 1, &[NAME]);
    let said = lab.resync(&[]).exits(0).stdout();
    assert!(!said.contains("kept"), "{said}");
    lab["web2"].serve(NAME, &[NAME]);
    delete(renamed);
    delete(odd);
    let trees = || lab.peers().iter().map(Host::certificates).collect::<Vec<_>>();
    let before = trees();
    for arguments in [&["--dry-run"][..], &[], &["--force", "--adopt"]] {
        let said = lab.resync(arguments).exits(0).stdout();
        for line in ["web2  www.site.test  kept: ", "web3  www.site.test  kept: ", "web2  it's old  kept: "] {
            assert!(said.contains(line), "{line} is not in: {said}");
        }
        assert!(trees() == before, "something was removed");
    }
    lab["web2"].await_served(&lab, NAME, &bundle);
    // What is not whole has its key all the same, and is no less there.
    lab["web3"].remove("/etc/letsencrypt/live/www.site.test/chain.pem");
    for _ in 0..2 {
        assert!(lab.resync(&[]).exits(0).stdout().contains("web3  www.site.test  kept: "));
    }

    // A disk that is not mounted is no tree that was removed: it is there again afterwards, with the key.
    let (live, aside) = ("/etc/letsencrypt/live", "/srv/live");
    lab["web3"].run(["mv", live, aside]).ok();
    lab["web3"].run(["ln", "-s", "/mnt/nothing", live]).ok();
    assert!(!lab.resync(&[]).exits(0).stdout().contains("web3  www.site.test"));
    lab["web3"].run(["rm", live]).ok();
    lab["web3"].run(["mv", aside, live]).ok();

    let said = lab.resync(&[]).stdout();
    assert!(said.contains("web3  www.site.test  kept: "), "{said}");
    for (line, command) in said.lines().filter_map(|line| line.split_once("in its letsencrypt directory: ")) {
        let host = &lab[line.split(' ').next().unwrap()];
        host.run(["sh", "-c", &format!("cd /etc/letsencrypt && {command}")]).ok();
    }
    assert_eq!(lab["web3"].list("/etc/letsencrypt/live"), ["README"]);
    let nothing = "there is no lineage to compare\n";
    assert_eq!(lab.resync(&[]).exits(0).stdout(), nothing);
    let logins = lab["web3"].logins();
    assert_eq!(lab.resync(&[]).exits(0).stdout(), nothing);
    assert_eq!(lab["web3"].logins(), logins, "what is forgotten is not asked for");
}

#[test]
fn nothing_is_called_in_line_that_was_not_compared() {
    let lab = Lab::raise().hosts(2).up();
    assert_eq!(lab.resync(&[]).exits(0).stdout(), "there is no lineage to compare\n");
    lab.primary().install(NAME, 1, &lab.bundle(&[NAME]).broken(crate::lab::Fault::Empty));
    assert_eq!(lab.resync(&[]).exits(4).stdout(), "");
    lab.primary().set("deploy.lineages", toml::Value::Array(vec!["other.*".into()]));
    lab.resync(&[NAME]).exits(2).says("deploy.lineages");
}

#[test]
fn on_a_terminal_it_shows_who_is_waited_for_and_elsewhere_nothing() {
    let (lab, _) = Lab::serving(2, NAME);
    let (primary, peer) = (lab.primary(), &lab["web2"]);
    peer.run(["mkfifo", "/run/gate"]).ok();
    peer.set("service.0.reload", vec!["sh", "-c", "read x </run/gate; exec nginx -s reload"]);
    let new = lab.issue(NAME, 2, &[NAME]);
    let terminal = ["script", "--quiet", "--return", "--flush", "--command", "certcast resync", "/run/shown"];
    let resync = primary.command(terminal).env("TERM", "xterm").spawn();
    until("the peer is named", || {
        primary.exists("/run/shown") && primary.text("/run/shown").contains("1 of 2 done  web2 switching")
    });
    peer.run(["sh", "-c", "echo go >/run/gate"]).ok();
    resync.wait().ok();
    // The last of it is wiped away before the result.
    let shown = primary.text("/run/shown");
    let result = shown.rsplit_once("\x1b[2K").map(|(_, rest)| rest.to_owned()).expect("a line that was wiped away");
    assert!(result.contains("web2  www.site.test  applied") && !result.contains("waiting"), "{shown:?}");
    peer.serves(&lab, NAME, &new);
    peer.set("service.0.reload", vec!["nginx", "-s", "reload"]);
    lab.issue(NAME, 3, &[NAME]);
    let plain = lab.resync(&[]).ok();
    assert!(!format!("{plain}").contains('\x1b') && !plain.stderr().contains("done"), "{plain}");
}

/// web3 lacks one of the two lineages, so it gets it in the second round, whatever web2 does in the first.
#[test]
fn a_peer_that_never_ends_the_login_takes_its_round_and_not_all_of_the_time() {
    let (lab, _) = Lab::serving(3, NAME);
    let (mute, other) = (&lab["web2"], "other.site.test");
    lab.issue(other, 1, &[other]);
    lab.resync(&[]).exits(0);
    mute.write("/usr/local/bin/mute", "#!/bin/sh\nexec sleep 600\n");
    mute.chmod("/usr/local/bin/mute", 0o755);
    mute.restart_sshd_with(
        "AuthorizedKeysFile none\nAuthorizedKeysCommand /usr/local/bin/mute\nAuthorizedKeysCommandUser root\nLoginGraceTime 600\n",
    );
    lab.primary().set("deploy.budget", "8s");
    let new = lab.issue(NAME, 2, &[NAME]);
    lab.resync(&[]).exits(3);
    assert_eq!(lab["web3"].installed_leaf(NAME), Some(new.fingerprint()));
}

/// With one place, web3 has to wait for web2's.
#[test]
fn a_login_that_never_ends_takes_a_place_and_not_the_time_of_those_who_wait_for_it() {
    let (lab, _) = Lab::serving(3, NAME);
    let (primary, mute) = (lab.primary(), &lab["web2"]);
    mute.write("/usr/local/bin/mute", "#!/bin/sh\nexec sleep 600\n");
    mute.chmod("/usr/local/bin/mute", 0o755);
    mute.restart_sshd_with(
        "AuthorizedKeysFile none\nAuthorizedKeysCommand /usr/local/bin/mute\nAuthorizedKeysCommandUser root\nLoginGraceTime 600\n",
    );
    primary.set("deploy.parallel", 1);
    primary.set("deploy.budget", "16s");
    let new = lab.issue(NAME, 2, &[NAME]);
    let said = lab.resync(&[]).exits(3).says("web2  www.site.test  pending: ");
    assert_eq!(lab["web3"].installed_leaf(NAME), Some(new.fingerprint()), "{said}");

    primary.set("challenge.budget", "16s");
    let said = primary.hooks().auth(&[NAME]).run().exits(1).says("web2: ");
    assert!(!said.stderr().contains("web3: ") && !lab["web3"].tokens().is_empty(), "{said}");
}

#[test]
fn a_peer_that_says_nothing_takes_one_certificates_time_and_not_the_next_ones() {
    let (lab, _) = Lab::serving(3, NAME);
    let (mute, other) = (&lab["web2"], "other.site.test");
    mute.write("/usr/local/bin/mute", "#!/bin/sh\nexec sleep 600\n");
    mute.chmod("/usr/local/bin/mute", 0o755);
    mute.authorize_only(&lab.identity(), Grant::Forced("/usr/local/bin/mute"));
    lab.primary().set("deploy.budget", "8s");
    let new = [(NAME, lab.issue(NAME, 2, &[NAME])), (other, lab.issue(other, 1, &[other]))];
    lab.resync(&[]).exits(3);
    for (lineage, bundle) in new {
        assert_eq!(lab["web3"].installed_leaf(lineage), Some(bundle.fingerprint()), "{lineage}");
    }
}
