use std::os::unix::fs::symlink;

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
