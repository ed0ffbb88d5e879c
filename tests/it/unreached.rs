//! Peers that are down, cut off or mute, runs of certbot that end early, and what is removed afterwards.

use std::time::{Duration, Instant};

use crate::challenges::{everything_is_gone, lines, three_servers};
use crate::lab::{CHALLENGES, Grant, Lab, token, until};

const NAME: &str = "www.site.test";

#[test]
fn a_peer_that_is_down_is_tried_within_the_budget_and_then_named() {
    let lab = three_servers(&[NAME]);
    lab.primary().set("challenge.budget", "15s");
    lab["web2"].stop_sshd();
    let begun = Instant::now();
    let line = lines(&lab.primary().hooks().auth(&[NAME]).run().exits(1), 1).remove(0);
    // Twice as long, for the machine may be busy with other tests.
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert!(line.contains("web2: 192.0.2.2: connection refused by 192.0.2.2:22; is sshd running there"), "{line}");
    assert_eq!(lab["web3"].tokens(), [token(NAME)]);

    // It comes back while it is waited for.
    let attempts = lab["web3"].logins();
    let run = lab.primary().hooks().auth(&[NAME]).cleanup(&[NAME]).command().spawn();
    until("web3 is published to", || lab["web3"].logins() > attempts);
    lab["web2"].start_sshd();
    run.wait().ok().silent();
    everything_is_gone(&lab);
}

#[test]
fn a_peer_that_is_cut_off_or_hangs_leaves_time_to_prove_the_others() {
    let lab = three_servers(&[NAME]);
    lab.primary().set("challenge.budget", "15s");
    lab.primary().set("challenge.require", "reachable");
    let auth = || lab.primary().hooks().auth_by("certcast --log /var/log/certcast.log auth", &[NAME]).run();
    lab["web2"].unplug();
    auth().ok().silent();
    assert!(lab.primary().text("/var/log/certcast.log").contains("web2: 192.0.2.2: no answer in time"));
    lab["web2"].plug();

    // A receiver that says nothing at all.
    let key = lab.identity();
    lab["web2"].authorize_only(&key, Grant::Forced("sleep 100"));
    auth().ok().silent();
    let log = lab.primary().text("/var/log/certcast.log");
    assert!(log.contains("web2: the other side did not say hello in time"), "{log}");

    // Who is refused is not away.
    lab["web2"].authorize_only(&lab.primary().new_key("/root/other"), Grant::Forced("true"));
    let line = lines(&auth().exits(1), 1).remove(0);
    assert!(line.starts_with("certcast: web2: ") && line.contains("sshd does not let root in"), "{line}");
    lab["web2"].authorize_only(&key, Grant::Forced("sleep 100"));

    // Nor is the own node ever away.
    let config = lab.primary().configuration();
    lab.primary().set("node.letsencrypt", "/gone");
    lines(&auth().exits(1), 1);
    lab.primary().configure(&config);

    // The others must still be right.
    lab["web3"].stop_nginx();
    let line = lines(&auth().exits(1), 1).remove(0);
    assert!(line.contains("web3 (192.0.2.3 and 2001:db8::3) refuses the connection"), "{line}");
}

#[test]
fn what_a_peer_missed_of_a_cleanup_it_removes_at_the_next_resync() {
    let lab = three_servers(&[NAME]);
    lab.primary().set("challenge.budget", "15s");
    let run = lab.primary().hooks().auth(&[NAME]).then("touch /published; while [ ! -e /go ]; do sleep 0.02; done");
    let run = run.cleanup(&[NAME]).command().spawn();
    until("everything is published", || lab.primary().exists("/published"));
    lab["web2"].stop_sshd();
    lab.primary().write("/go", "");
    let line = lines(&run.wait().ok(), 1).remove(0);
    assert!(line.contains("web2: ") && line.ends_with("; the challenge is removed later"), "{line}");
    assert_eq!(lab["web2"].tokens(), [token(NAME)]);
    assert!(lab["web1"].tokens().is_empty() && lab["web3"].tokens().is_empty());

    lab["web2"].start_sshd();
    lab.issue(NAME, 1, &[NAME]);
    lab.primary().run(["certcast", "resync"]).ok();
    everything_is_gone(&lab);
    let logins = lab["web2"].logins();
    lab.primary().run(["certcast", "resync"]).ok();
    assert_eq!(lab["web2"].logins(), logins + 1, "a debt that is paid is forgotten");
}

#[test]
fn what_a_killed_certbot_left_is_removed_by_the_next_auth_or_resync() {
    let lab = three_servers(&[NAME, "other.test"]);
    let killed = || lab.primary().hooks().auth(&[NAME]).then("kill -KILL $$").run();
    assert!(killed().silent().code().is_none());
    assert_eq!(lab["web2"].tokens(), [token(NAME)]);
    // There is no lineage yet, and so nothing to bring in line; the challenges go all the same.
    lab.primary().run(["certcast", "resync"]).exits(0).says("there is no lineage to compare");
    everything_is_gone(&lab);

    killed();
    lab.primary().hooks().auth(&["other.test"]).run().ok().silent();
    for host in lab.hosts() {
        assert_eq!(host.tokens(), [token("other.test")], "{}", host.name());
    }
    // A CA may hand out a pending token again: what a dead run owes must not take it away.
    lab.primary().hooks().auth(&["other.test"]).run().ok().silent();
    for host in lab.hosts() {
        assert_eq!(host.tokens(), [token("other.test")], "{}", host.name());
    }
}

#[test]
fn a_second_round_in_the_same_certbot_is_one_of_its_own() {
    let lab = three_servers(&[NAME, "other.test"]);
    let list = |file: &str| format!("ls {CHALLENGES} >/{file}");
    let run = lab.primary().hooks().auth(&[NAME]).then(&list("first")).cleanup(&[NAME]);
    let run = run.auth(&["other.test"]).then(&list("second")).cleanup(&["other.test"]);
    run.run().ok().silent();
    assert_eq!(lab.primary().text("/first").trim(), token(NAME));
    assert_eq!(lab.primary().text("/second").trim(), token("other.test"));
    assert_eq!(lab["web2"].logins(), 4);
    everything_is_gone(&lab);
}

#[test]
fn what_a_failed_cleanup_left_is_withdrawn_by_the_next_round_and_not_published_again() {
    let lab = three_servers(&[NAME, "other.test"]);
    let debts = "/var/lib/certcast/owed/web2";
    let run = lab.primary().hooks().auth(&[NAME]).then(&format!("rm -rf {debts}; touch {debts}")).cleanup(&[NAME]);
    let run = run.then(&format!("rm {debts}")).auth(&["other.test"]);
    let said = run.run().ok().stderr();
    assert!(said.contains("the challenge is removed later"), "{said}");
    for host in lab.hosts() {
        assert_eq!(host.tokens(), [token("other.test")], "{}", host.name());
        let asked = host.text("/var/log/nginx/access.log").matches(&token(NAME)).count();
        assert_eq!(asked, host.addresses().len(), "by the first round only");
    }
}

#[test]
fn a_peer_collects_what_is_too_old() {
    let lab = three_servers(&[NAME, "other.test"]);
    lab["web2"].set("challenge.keep_tokens", "1s");
    lab.primary().hooks().auth(&[NAME]).run().ok();
    // The primary forgets all: nobody will ever ask web2 to remove it.
    lab.primary().remove("/var/lib/certcast");
    let ledger = format!("/var/lib/certcast/challenges/{}", token(NAME));
    let mut entry: serde_json::Value = serde_json::from_slice(&lab["web2"].read(&ledger)).unwrap();
    entry["at"] = (entry["at"].as_i64().unwrap() - 3600).into();
    lab["web2"].write(&ledger, entry.to_string());
    lab["web2"].write(&format!("{CHALLENGES}/not-certcasts-own-but-somebodys-file"), "kept");
    lab.primary().hooks().auth(&["other.test"]).cleanup(&["other.test"]).run().ok().silent();
    assert_eq!(lab["web2"].tokens(), ["not-certcasts-own-but-somebodys-file"]);
    assert_eq!(lab["web3"].tokens(), [token(NAME)], "not old yet by its own configuration");
}

#[test]
fn each_reason_why_a_receiver_does_not_answer_has_its_own_message() {
    let lab = Lab::raise().hosts(2).up();
    lab.point_both(NAME, &["web1", "web2"]);
    lab.primary().set("challenge.budget", "15s");
    let (key, peer) = (lab.identity(), &lab["web2"]);
    let auth = || lab.primary().hooks().auth(&[NAME]).run();
    let says = |words: &[&str]| {
        let run = auth().exits(1);
        let line = lines(&run, 1).remove(0);
        assert!(line.starts_with("certcast: web2: "), "{run}");
        assert!(words.iter().all(|word| line.contains(word)), "{words:?}\n{run}");
    };
    peer.authorize_only(&key, Grant::Forced("/usr/local/bin/nothing-there receive"));
    says(&["nothing-there", "run there by hand what authorized_keys names for this key"]);
    peer.authorize_only(&key, Grant::Forced("printf '\\0certcast-wire 7 9\\n'; cat >/dev/null"));
    says(&["protocol versions 7 to 9, this program 1 to 1; bring both to one release"]);
    peer.authorize_only(&key, Grant::Forced("printf '\\0certcast-wire 0 0\\n'; cat >/dev/null"));
    says(&["protocol versions 0 to 0, this program 1 to 1; bring both to one release"]);
    peer.authorize_only(&key, Grant::Forced("yes 'no protocol'"));
    says(&["does not speak certcast's protocol"]);
    let other = lab.primary().new_key("/root/other");
    peer.authorize_only(&other, Grant::Receive { role: "deploy", only: &[] });
    says(&["sshd does not let root in with /etc/certcast/id_ed25519", "authorized_keys"]);

    // A shell that greets everybody is no obstacle, nor is a key for challenges only.
    peer.authorize_only(&key, Grant::Receive { role: "challenge", only: &[] });
    peer.write("/root/.bashrc", "echo Welcome to web2\necho 'certcast-wire 0'\n");
    auth().ok().silent();
    peer.change_host_key();
    says(&["its host key is now SHA256:", "ssh-keygen -R 192.0.2.2 -f /etc/certcast/known_hosts", "only if it shows"]);
    lab.primary().write("/etc/certcast/known_hosts", "");
    says(&[
        "its host key SHA256:",
        "is not in /etc/certcast/known_hosts",
        "ssh-keygen -lf",
        ">> /etc/certcast/known_hosts",
    ]);
    lab.pin_host_keys();
    auth().ok().silent();
}
