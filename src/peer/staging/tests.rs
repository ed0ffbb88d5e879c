use std::os::unix::fs::MetadataExt;

use super::*;
use crate::model::config::Config;

#[test]
fn a_group_may_write_here_only_where_it_may_write_already() {
    let home = tempfile::tempdir().unwrap();
    let own = std::fs::metadata(home.path()).unwrap();
    let text = format!("[node]\nname = \"web2\"\nletsencrypt = {0:?}\nstate = {0:?}\n", home.path());
    let node = Node::open(Config::parse(&text, std::path::Path::new("test.toml")).unwrap(), false).unwrap();
    let like = |gid, mode| Ownership { uid: own.uid(), gid, mode };
    let tree = |directory| TreeAttributes { directory, key: like(own.gid(), 0o600), public: like(own.gid(), 0o644) };
    let stranger = own.gid() + 77;
    assert!(check_owners(&node, tree(like(stranger, 0o2755))).is_ok(), "to read is not to write");
    assert!(check_owners(&node, tree(like(own.gid(), 0o2775))).is_ok());
    let Err(Halt(refused)) = check_owners(&node, tree(like(stranger, 0o2775))) else { panic!() };
    assert!(refused.to_string().contains(&format!("would let group {stranger} write here")), "{refused}");
}
