//! The main story: a real certbot with certcast as its hooks, behind DNS that answers with another server first.

use crate::lab::{Certbot, Lab};

/// Everything that certbot is given, as an administrator writes it.
fn hooks() -> [&'static str; 10] {
    [
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
    ]
}

fn certonly(lab: &Lab, which: Certbot, names: &[&str]) {
    let names: Vec<_> = names.iter().flat_map(|name| ["--domain", name]).collect();
    lab.primary().certbot(which).args(hooks()).args(names).run().ok();
}

fn all_have_the_newest(lab: &Lab, lineage: &str) {
    let newest = lab.primary().installed_leaf(lineage);
    assert!(newest.is_some());
    for host in lab.hosts() {
        assert_eq!(host.installed_leaf(lineage), newest, "{}", host.name());
        host.certbot_certificates(lineage).ok();
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

fn no_token_is_left(lab: &Lab) {
    for host in lab.hosts() {
        let path = "/var/www/html/.well-known/acme-challenge";
        assert_eq!(host.list(path), Vec::<String>::new(), "{}", host.name());
    }
}

fn a_name_on_three_servers(which: Certbot) {
    let name = "www.site.test";
    let lab = Lab::raise().hosts(3).with_ca().up();
    lab.point_both(name, &["web2", "web3", "web1"]);
    certonly(&lab, which, &[name]);
    all_have_the_newest(&lab, name);
    no_token_is_left(&lab);

    for host in lab.hosts() {
        host.serve(name, &[name]);
    }
    lab.primary().certbot(which).args(["renew", "--force-renewal", "--no-random-sleep-on-renew"]).run().ok();
    all_have_the_newest(&lab, name);
    all_serve_the_newest(&lab, name, name);
    no_token_is_left(&lab);
}

#[test]
fn debians_certbot_gets_and_renews_a_certificate_for_three_servers() {
    a_name_on_three_servers(Certbot::Debian);
}

#[test]
fn pypis_certbot_gets_and_renews_a_certificate_for_three_servers() {
    a_name_on_three_servers(Certbot::Pypi);
}
