use std::os::unix::fs::symlink;

use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::x509::X509;

use super::*;
use crate::model::config;

#[test]
fn a_certificate_that_the_disk_does_not_give_away_is_not_taken_for_none() {
    let home = tempfile::tempdir().unwrap();
    let (tree, file) = (home.path().join("letsencrypt"), home.path().join("config.toml"));
    let state = home.path().join("state");
    std::fs::write(&file, format!("[node]\nname = \"web2\"\nletsencrypt = {tree:?}\nstate = {state:?}\n")).unwrap();
    let node = Node::open(config::load(&file).unwrap(), false).unwrap();
    let lineage: LineageName = "www.site.test".parse().unwrap();
    assert!(installed_leaf(&node, &lineage).unwrap().is_none(), "nothing is there");

    let cert = tree.join("live/www.site.test/cert.pem");
    std::fs::create_dir_all(cert.parent().unwrap()).unwrap();
    std::fs::write(&cert, "torn").unwrap();
    assert!(installed_leaf(&node, &lineage).unwrap().is_none(), "what is there is none");

    std::fs::remove_file(&cert).unwrap();
    // Endless: an error that says nothing about what is there.
    symlink("cert.pem", &cert).unwrap();
    assert!(installed_leaf(&node, &lineage).is_err());
}

#[test]
fn the_leaf_of_a_tree_without_a_cert_pem_is_the_first_of_its_chain() {
    let home = tempfile::tempdir().unwrap();
    let (tree, file) = (home.path().join("letsencrypt"), home.path().join("config.toml"));
    let state = home.path().join("state");
    std::fs::write(&file, format!("[node]\nname = \"web2\"\nletsencrypt = {tree:?}\nstate = {state:?}\n")).unwrap();
    let node = Node::open(config::load(&file).unwrap(), false).unwrap();
    let directory = tree.join("live/www.site.test");
    std::fs::create_dir_all(&directory).unwrap();
    let key =
        PKey::from_ec_key(EcKey::generate(&EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap()).unwrap()).unwrap();
    let mut certificate = X509::builder().unwrap();
    certificate.set_pubkey(&key).unwrap();
    certificate.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    certificate.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    certificate.sign(&key, MessageDigest::sha256()).unwrap();
    let certificate = certificate.build();
    std::fs::write(directory.join("fullchain.pem"), certificate.to_pem().unwrap()).unwrap();
    let found = installed_leaf(&node, &"www.site.test".parse().unwrap()).unwrap().unwrap();
    assert_eq!(found.digest, Digest::of(&certificate.to_der().unwrap()));

    std::fs::write(directory.join("cert.pem"), "torn").unwrap();
    let found = installed_leaf(&node, &"www.site.test".parse().unwrap()).unwrap();
    assert!(found.is_some_and(|found| found.digest == Digest::of(&certificate.to_der().unwrap())), "cert.pem is torn");
}
