//! A key for some lineages only (`--only`): what it hears when something is wrong with the others.

use super::frames::{commit, frames, prepare, send};
use crate::lab::{Grant, Host, Lab, told};

/// The key's own.
const OWN: &str = "www.site.test";
/// Another's, of which it must not hear.
const OTHER: &str = "secret-shop";
const LIVE: &str = "/etc/letsencrypt/live";
const LOG: &str = "/var/log/certcast.log";
const RECEIVE: &str = "/usr/local/bin/certcast --log /var/log/certcast.log receive --role deploy";

/// A peer that has both, and a key for the one.
fn restricted() -> Lab {
    let lab = Lab::raise().hosts(2).up();
    let peer = &lab["web2"];
    peer.authorize_only(&lab.identity(), Grant::Forced(&format!("{RECEIVE} --only {OWN}")));
    peer.install(OTHER, 1, &lab.bundle(&["shop.test"]));
    lab.issue(OWN, 1, &[OWN]);
    lab
}

fn service(peer: &Host, which: &str, script: &str) {
    peer.set(&format!("service.0.{which}"), vec!["sh".to_owned(), "-c".to_owned(), script.to_owned()]);
}

/// Fails the test unless the whole truth is in the peer's log, this much is said to the key, and nothing of the other lineage.
#[track_caller]
fn hears(peer: &Host, said: &str, words: &[&str]) {
    assert!(words.iter().all(|word| said.contains(word)), "{words:?}: {said}");
    assert!(!said.contains(OTHER), "{said}");
    let log = peer.text(LOG);
    assert!(log.contains(OTHER), "{log}");
    peer.write(LOG, "");
}

#[test]
fn it_hears_that_another_lineage_is_stuck_and_neither_which_nor_where() {
    let lab = restricted();
    let peer = &lab["web2"];
    let config = peer.configuration();
    peer.set("service.0.probe", toml::Value::Array(Vec::new()));
    let breaks = format!("echo 'no_such_directive {OTHER};' >/etc/nginx/conf.d/broken.conf; exit 1");
    service(
        peer,
        "reload",
        &format!("if ls -l {LIVE}/{OTHER} | grep -q cert2; then {breaks}; fi; exec nginx -s reload"),
    );
    let stuck = told(&peer.receiving(OTHER, 2, &lab.bundle(&["shop.test"]), 'b').run());
    assert!(stuck.is_some_and(|outcome| outcome.to_string().starts_with("stuck: ")));
    peer.configure(&config);

    let said = lab.deploy(OWN).exits(5).stderr();
    hears(
        peer,
        &said,
        &["stuck: an earlier transaction of another lineage", "run there: certcast recover\n", "--only"],
    );
    // Nor by asking how that one ended.
    let recall = |lab: &Lab| {
        let recall = serde_json::json!({"verb": "recall", "transaction": "b".repeat(32), "lineages": [OTHER]});
        // But for the name that was asked about.
        send(lab, &frames([&recall])).stdout().replace(&format!(r#""lineage":"{OTHER}""#), "")
    };
    hears(peer, &recall(&lab), &["stuck", "another lineage"]);
    peer.mend_nginx();
    peer.run(["certcast", "recover"]).exits(0);
    let said = recall(&lab);
    assert!(said.contains("never committed") && !said.contains(OTHER), "{said}");
    lab.deploy(OWN).exits(0);
}

#[test]
fn it_does_not_hear_what_services_say_of_all_their_sites() {
    let lab = restricted();
    let peer = &lab["web2"];
    let server = format!(
        "server {{ listen 444 ssl; ssl_certificate {LIVE}/{OTHER}/gone.pem; ssl_certificate_key {LIVE}/{OTHER}/gone.pem; }}\n"
    );
    peer.write("/etc/nginx/conf.d/other.conf", server);
    peer.install(OWN, 1, &lab.bundle(&[OWN]));
    let new = lab.issue(OWN, 2, &[OWN]);
    let withheld = "is in this server's log alone";
    hears(peer, &lab.deploy(OWN).exits(3).stderr(), &["refused at baseline", withheld]);
    peer.remove("/etc/nginx/conf.d/other.conf");

    let shows = format!("readlink {LIVE}/{OWN}/cert.pem | grep -q cert2.pem");
    peer.set("service.0.probe", toml::Value::Array(Vec::new()));
    service(peer, "test", &format!("if {shows}; then echo {OTHER}; exit 1; fi"));
    hears(peer, &lab.deploy(OWN).exits(3).stderr(), &["refused at pre-flight", withheld]);
    service(peer, "test", "true");
    service(peer, "reload", &format!("if {shows}; then echo {OTHER}; exit 1; fi"));
    hears(peer, &lab.deploy(OWN).exits(3).stderr(), &["rolled back after reload", withheld]);
    service(peer, "test", &format!("if test -e /run/ill; then echo {OTHER}; exit 1; fi"));
    service(peer, "reload", &format!("if {shows}; then touch /run/ill; exit 1; fi"));
    hears(peer, &lab.deploy(OWN).exits(5).stderr(), &["stuck", withheld, "run there: certcast recover\n"]);
    hears(peer, &lab.deploy(OWN).exits(5).stderr(), &["stuck", withheld, "run there: certcast recover\n"]);
    peer.run(["certcast", "recover"]).exits(5).says(OTHER).says(&format!(".{OWN}.stage-"));
    peer.remove("/run/ill");
    let plan = lab.resync(&["--dry-run"]).stdout();
    assert!(plan.contains("would finish or undo what an earlier run left in"), "{plan}");
    peer.run(["certcast", "recover"]).exits(0);

    // Where nothing listens a reload that fails is a note.
    peer.set("service.0.probe", vec!["4444"]);
    service(peer, "test", "true");
    service(peer, "reload", &format!("echo {OTHER}; exit 1"));
    let plan = lab.resync(&["--dry-run"]).stdout();
    assert!(plan.contains("run the test and the reload of nginx") && !plan.contains(OTHER), "{plan}");
    hears(peer, &lab.deploy(OWN).exits(0).stderr(), &[]);
    let sent = [prepare(&new, OWN, 3), commit(3)];
    hears(peer, &send(&lab, &frames(&sent)).stdout(), &["applied", "nginx was not reloaded", withheld]);
}

#[test]
fn it_hears_of_a_service_that_is_ill_by_its_name_alone() {
    let lab = restricted();
    service(&lab["web2"], "test", &format!("echo {OTHER}; exit 1"));
    service(&lab["web2"], "reload", "true");
    let sudo = ["sudo", "-n", "/usr/bin/true", OTHER].map(str::to_owned);
    lab["web2"].set("service.1.name", "mail");
    lab["web2"].set("service.1.test", vec!["true".to_owned()]);
    lab["web2"].set("service.1.reload", sudo.to_vec());
    let examine = serde_json::json!({"verb": "examine", "lineages": [OWN], "sent": [OWN]});
    let said = send(&lab, &frames([&examine])).stdout();
    for word in ["the test of nginx fails", "run the test of nginx there", "run a command of mail without a password"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(!said.contains(OTHER), "{said}");
}

#[test]
fn it_hears_that_another_lineage_has_a_name_and_not_which() {
    let lab = restricted();
    let peer = &lab["web2"];
    peer.write("/root/root.pem", lab.root());
    peer.run(["mount", "--bind", "/root/root.pem", "/etc/ssl/certs/ca-certificates.crt"]).ok();
    let evil = Lab::bundle_of_another_ca(&[OWN, "shop.test"]);
    let said = || send(&lab, &frames([&prepare(&evil, OWN, 1)])).stdout();
    let told = said();
    let words = ["refused", "certificate of another lineage, which is for shop.test too"];
    assert!(words.iter().all(|word| told.contains(word)) && !told.contains(OTHER), "{told}");
    let file = format!("/etc/letsencrypt/archive/{OTHER}/fullchain1.pem");
    peer.remove(&file);
    peer.link("fullchain1.pem", &file);
    hears(peer, &said(), &["refused", "cannot read the certificate of another lineage"]);
}
