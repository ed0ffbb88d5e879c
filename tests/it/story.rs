//! The main story: a real certbot with certcast as its hooks, behind DNS that answers with another server first.

use std::collections::BTreeSet;

use crate::lab::{Certbot, Lab, until};

/// Everything that certbot is given, as an administrator writes it.
pub const HOOKS: [&str; 10] = [
    "certonly",
    "--manual",
    "--preferred-challenges",
    "http",
    "--manual-auth-hook",
    "certcast auth",
    "--manual-cleanup-hook",
    "certcast cleanup",
    "--deploy-hook",
    "certcast deploy",
];

/// Names of one certificate, `www.site.test` first.
pub fn names_of_one_site(number: usize) -> Vec<String> {
    let more = (1..number).map(|n| format!("n{n}.site.test"));
    std::iter::once("www.site.test".to_owned()).chain(more).collect()
}

pub fn domains<'n>(names: &[&'n str]) -> Vec<&'n str> {
    names.iter().flat_map(|name| ["--domain", name]).collect()
}

fn all_have_the_newest(lab: &Lab, lineage: &str) {
    let newest = lab.primary().installed_leaf(lineage);
    assert!(newest.is_some());
    for host in lab.hosts() {
        assert_eq!(host.installed_leaf(lineage), newest, "{}", host.name());
    }
}

fn all_serve_the_newest(lab: &Lab, lineage: &str, name: &str) {
    let newest = lab.primary().installed_leaf(lineage);
    for host in lab.hosts() {
        for address in host.addresses() {
            assert_eq!(lab.served_leaf(address, name), newest, "{} at {address}", host.name());
        }
    }
}

pub fn no_token_is_left(lab: &Lab) {
    for host in lab.hosts() {
        assert_eq!(host.tokens(), Vec::<String>::new(), "{}", host.name());
        let owed = lab.hosts().iter().map(|node| format!("owed/{}", node.name()));
        for remembered in owed.chain(["runs".to_owned(), "challenges".to_owned()]) {
            let directory = format!("/var/lib/certcast/{remembered}");
            assert_eq!(host.list(&directory), Vec::<String>::new(), "{}:{directory}", host.name());
        }
    }
}

/// First issue, then a renewal from what certbot saved; the next look is at the moment certbot returns.
fn a_certificate_for_three_servers(which: Certbot, names: &[&str]) {
    let name = names[0];
    let lab = Lab::raise().hosts(3).with_ca().up();
    let addresses: Vec<_> = ["web2", "web3", "web1"].iter().flat_map(|host| lab[*host].addresses()).collect();
    lab.dns().set_all(names, &addresses);
    lab.primary().certbot(which).args(HOOKS).args(domains(names)).run().ok();
    all_have_the_newest(&lab, name);
    no_token_is_left(&lab);
    let first: BTreeSet<String> = lab.dns().first_answers(name).into_iter().collect();
    assert!(first.len() > 1, "the test is worth nothing where DNS does not rotate: {first:?}");

    for host in lab.hosts() {
        host.certbot_certificates(name).ok();
        host.serve(name, &[name]);
        let old = host.installed_leaf(name);
        until("the first leaf is served", || host.addresses().iter().all(|&ip| lab.served_leaf(ip, name) == old));
    }
    let before = lab.primary().installed_leaf(name);
    lab.primary().certbot(which).args(["renew", "--force-renewal", "--no-random-sleep-on-renew"]).run().ok();
    all_serve_the_newest(&lab, name, name);
    all_have_the_newest(&lab, name);
    no_token_is_left(&lab);
    assert_ne!(lab.primary().installed_leaf(name), before);
}

/// Once, or as often as `tests/rounds` says.
fn rounds(which: Certbot, names: usize) {
    let rounds = std::env::var("CERTCAST_ROUNDS").map_or(1, |text| text.parse().expect("CERTCAST_ROUNDS is a number"));
    let names = names_of_one_site(names);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for _ in 0..rounds {
        a_certificate_for_three_servers(which, &names);
    }
}

#[test]
fn debians_certbot_gets_and_renews_one_name_on_three_servers() {
    rounds(Certbot::Debian, 1);
}

#[test]
fn pypis_certbot_gets_and_renews_one_name_on_three_servers() {
    rounds(Certbot::Pypi, 1);
}

#[test]
fn debians_certbot_gets_and_renews_thirty_names_on_three_servers() {
    rounds(Certbot::Debian, 30);
}

#[test]
fn pypis_certbot_gets_and_renews_thirty_names_on_three_servers() {
    rounds(Certbot::Pypi, 30);
}
