//! Trust is not lost: what a node's own CA store says of a certificate, against what is installed and served there.

use certcast::model::outcome::Outcome;

use crate::lab::{Bundle, Grant, Host, Lab, told};

const NAME: &str = "www.site.test";
const LIVE: &str = "/etc/letsencrypt/live";
const STORE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Has the host's CA store hold the lab's root alone.
pub fn trusts_the_lab(host: &Host, lab: &Lab) {
    host.write("/root/root.pem", lab.root());
    host.run(["mount", "--bind", "/root/root.pem", STORE]).ok();
}

/// A peer without services that trusts the lab's CA and has a certificate of it for each of these names, as lineages
/// `site1`, `site2` and so on.
fn trusting(names: &[&str]) -> Lab {
    let lab = Lab::raise().hosts(2).up();
    let peer = &lab["web2"];
    trusts_the_lab(peer, &lab);
    peer.set("service", toml::Value::Array(Vec::new()));
    for (name, number) in names.iter().zip(1..) {
        peer.install(&format!("site{number}"), 1, &lab.bundle(&[name]));
    }
    lab
}

/// What comes of a bundle that somebody with the deploy key sends.
fn sent(peer: &Host, lineage: &str, number: u32, bundle: &Bundle) -> Option<Outcome> {
    told(&peer.receiving(lineage, number, bundle, 'a').run())
}

#[track_caller]
fn is_refused(peer: &Host, lineage: &str, number: u32, bundle: &Bundle, words: &str) {
    let tree = peer.certificates();
    let said = sent(peer, lineage, number, bundle).map(|outcome| outcome.to_string()).unwrap_or_default();
    assert!(said.starts_with("refused at check") && said.contains(words), "{lineage}: {said}");
    assert_eq!(peer.certificates(), tree);
}

#[track_caller]
fn is_taken(peer: &Host, lineage: &str, number: u32, bundle: &Bundle) {
    assert_eq!(sent(peer, lineage, number, bundle), Some(Outcome::Applied { notes: Vec::new() }), "{lineage}");
    assert_eq!(peer.installed_leaf(lineage), Some(bundle.fingerprint()));
}

#[test]
fn an_untrusted_certificate_takes_no_name_of_another_lineage_that_is_trusted() {
    let lab = trusting(&["www.site.test", "*.shop.test", "192.0.2.77"]);
    let peer = &lab["web2"];
    let other = |names: &[&str]| Lab::bundle_of_another_ca(names);
    for (names, site, name) in [
        (&["www.site.test"][..], 1, "www.site.test"),
        (&["evil.test", "www.site.test"], 1, "www.site.test"),
        (&["*.site.test"], 1, "*.site.test"),
        (&["pay.shop.test"], 2, "pay.shop.test"),
        (&["*.shop.test"], 2, "*.shop.test"),
        (&["192.0.2.77"], 3, "192.0.2.77"),
    ] {
        let words =
            format!("trusts the certificate of the lineage site{site}, which is for {name} too, and not this one");
        is_refused(peer, "0evil", 1, &other(names), &words);
        // Not by a detour either: a lineage of his own for another name, and then for this one too.
        let detour = [&["detour.test"], names].concat();
        is_taken(peer, "detour", 1, &other(&["detour.test"]));
        is_refused(peer, "detour", 2, &other(&detour), &words);
        peer.remove(&format!("{LIVE}/detour"));
        peer.remove("/etc/letsencrypt/archive/detour");
    }

    // A test CA's certificate for names that no trusted one is for comes and is renewed as ever, and a trusted one for any.
    let honest = &["staging.site.test", "shop.test", "a.pay.shop.test"];
    is_taken(peer, "staging", 1, &other(honest));
    is_taken(peer, "staging", 2, &other(honest));
    is_taken(peer, "again", 1, &lab.bundle(&["www.site.test"]));
    // Beside one that was let in by force, say: it is renewed for the names it has, and for no more.
    let beside = &["house.test", "www.site.test"];
    peer.install("beside", 1, &other(beside));
    is_taken(peer, "beside", 2, &other(beside));
    is_refused(peer, "beside", 3, &other(&["house.test", "www.site.test", "pay.shop.test"]), "pay.shop.test");
}

#[test]
fn a_new_lineage_of_an_untrusted_ca_goes_only_where_a_person_and_the_peer_both_want_it() {
    let (lab, _) = Lab::serving(3, NAME);
    lab["web3"]
        .authorize_only(&lab.identity(), Grant::Forced("/usr/local/bin/certcast receive --role deploy --allow-force"));
    for peer in lab.peers() {
        trusts_the_lab(peer, &lab);
    }
    let bundle = Lab::bundle_of_another_ca(&[NAME]);
    lab.primary().install("staging", 1, &bundle);
    let said = lab.resync(&[]).exits(3).stderr();
    assert_eq!(said.matches("refused at check").count(), 2, "{said}");
    let said = lab.resync(&["--force"]).exits(3).stderr();
    assert!(said.contains("web2") && said.contains("--allow-force"), "{said}");
    assert!(!lab["web2"].exists(&format!("{LIVE}/staging")));
    assert_eq!(lab["web3"].installed_leaf("staging"), Some(bundle.fingerprint()));
}

#[test]
fn what_cannot_be_compared_is_refused_with_the_path_and_what_to_do() {
    let lab = trusting(&[NAME]);
    let peer = &lab["web2"];
    let other = Lab::bundle_of_another_ca(&[NAME]);
    // The archive's file is a loop: the disk says something else than "there is none".
    let file = "/etc/letsencrypt/archive/site1/fullchain1.pem";
    let chain = peer.read(file);
    peer.remove(file);
    peer.link("fullchain1.pem", file);
    for lineage in ["site1", "new"] {
        is_refused(peer, lineage, 2, &other, &format!("cannot read {LIVE}/site1/fullchain.pem"));
        is_refused(peer, lineage, 2, &other, "mend it there, so that this certificate can be compared with it");
    }
    // What needs no comparing goes on.
    is_taken(peer, "trusted", 1, &lab.bundle(&[NAME]));
    peer.remove(&format!("{LIVE}/trusted"));
    peer.remove(file);
    peer.write(file, chain);

    for content in ["", "-----BEGIN CERTIFICATE-----\ntorn\n"] {
        peer.write("/root/root.pem", content);
        for lineage in ["site1", "new"] {
            is_refused(peer, lineage, 2, &other, &format!("the CA store {STORE} cannot be read"));
            is_refused(peer, lineage, 2, &other, "update-ca-certificates");
        }
    }
}

#[test]
fn a_peer_without_a_ca_store_asks_for_nothing() {
    let lab = trusting(&[NAME]);
    let peer = &lab["web2"];
    peer.run(["mount", "-t", "tmpfs", "tmpfs", "/etc/ssl"]).ok();
    is_taken(peer, "site1", 2, &Lab::bundle_of_another_ca(&[NAME]));
    is_taken(peer, "new", 1, &Lab::bundle_of_another_ca(&[NAME]));
}

#[test]
fn the_primary_tells_neither_its_own_services_nor_a_peer_of_a_certificate_that_loses_trust() {
    let (lab, old) = Lab::serving(2, NAME);
    let primary = lab.primary();
    // The primary's store alone would know: the peer has none of the lab's root.
    trusts_the_lab(primary, &lab);
    for number in [2, 3] {
        // Again, although the one before is of the test CA by then: what the services were told last is what counts.
        primary.install(NAME, number, &Lab::bundle_of_another_ca(&[NAME]));
        for said in [lab.deploy(NAME), lab.resync(&[])] {
            let said = said.exits(1).stderr();
            let words =
                ["web1", "refused at check", "trusts version 1", "renew without --staging", "web2", "held back"];
            assert!(words.iter().all(|word| said.contains(word)), "{said}");
        }
        for host in lab.hosts() {
            host.serves(&lab, NAME, &old);
        }
    }
    // The next real one goes, and a person's word lets any through; then it stays so.
    let new = lab.issue(NAME, 4, &[NAME]);
    lab.deploy(NAME).ok().silent();
    primary.serves(&lab, NAME, &new);
    let wanted = Lab::bundle_of_another_ca(&[NAME]);
    primary.install(NAME, 5, &wanted);
    lab.resync(&[]).exits(1);
    lab.resync(&["--force"]).exits(0);
    primary.await_served(&lab, NAME, &wanted);
    lab.resync(&[]).exits(0);
    let house = Lab::bundle_of_another_ca(&[NAME]);
    primary.install(NAME, 6, &house);
    lab.deploy(NAME).ok().silent();
    primary.await_served(&lab, NAME, &house);
}
