use std::os::unix::fs::MetadataExt;

use super::*;
use crate::model::bundle::tests::some_files;
use crate::model::config::Config;
use crate::model::outcome::Outcome;
use crate::wire::message::Wishes;

fn node(home: &std::path::Path, wish: &str) -> Node {
    let text = format!("[node]\nname = \"web2\"\nletsencrypt = {home:?}\nstate = {home:?}\n{wish}");
    Node::open(Config::parse(&text, std::path::Path::new("test.toml")).unwrap(), false).unwrap()
}

#[test]
fn a_group_may_write_here_only_where_it_may_write_already() {
    let home = tempfile::tempdir().unwrap();
    let own = std::fs::metadata(home.path()).unwrap();
    let node = node(home.path(), "");
    let like = |gid, mode| Ownership { uid: own.uid(), gid, mode };
    let tree = |directory| TreeAttributes { directory, key: like(own.gid(), 0o600), public: like(own.gid(), 0o644) };
    let stranger = own.gid() + 77;
    assert!(check_owners(&node, tree(like(stranger, 0o2755))).is_ok(), "to read is not to write");
    assert!(check_owners(&node, tree(like(own.gid(), 0o2775))).is_ok());
    let Err(Halt(refused)) = check_owners(&node, tree(like(stranger, 0o2775))) else { panic!() };
    assert!(refused.to_string().contains(&format!("would let group {stranger} write here")), "{refused}");
}

#[test]
fn files_are_roots_or_of_who_owns_the_tree() {
    let all = [(0, 0), (0, 1000), (1000, 1000), (1001, 1000), (1000, 0)];
    assert_eq!(all.map(|(uid, owner)| is_strangers(uid, owner)), [false, false, false, true, true]);
}

#[test]
fn who_may_write_the_key_is_judged_with_the_nodes_own_wish_for_it() {
    let home = tempfile::tempdir().unwrap();
    let own = std::fs::metadata(home.path()).unwrap();
    let stranger = own.gid() + 77;
    let like = |gid, mode| Ownership { uid: own.uid(), gid, mode };
    let asked = |mode| TreeAttributes {
        directory: like(own.gid(), 0o755),
        key: like(stranger, mode),
        public: like(own.gid(), 0o644),
    };
    let found = |wish: &str, mode| attributes(&node(home.path(), wish), asked(mode)).map_err(|Halt(no)| no.to_string());
    assert!(found("", 0o660).unwrap_err().contains(&format!("would let group {stranger} write here")));
    // The primary's group writes nothing here, or it is another group.
    assert_eq!(found("key_mode = \"0640\"\n", 0o660).unwrap().key, like(stranger, 0o640));
    let chosen = format!("key_group = \"{}\"\n", stranger + 1);
    assert_eq!(found(&chosen, 0o660).unwrap().key, like(stranger + 1, 0o660));
    assert_eq!(found(&format!("{chosen}key_mode = \"0660\"\n"), 0o640).unwrap().key, like(stranger + 1, 0o660));
    // A wish that would let in whom the wire names.
    let refused = found("key_mode = \"0660\"\n", 0o640).unwrap_err();
    assert!(refused.contains(&format!("node.key_mode 0660 would let group {stranger}, ")), "{refused}");
}

#[test]
fn only_what_was_written_here_and_is_not_in_use_is_written_over() {
    let home = tempfile::tempdir().unwrap();
    let node = node(home.path(), "");
    let own = node.letsencrypt().stat_self().unwrap();
    let like = |mode| Ownership { uid: own.uid, gid: own.gid, mode };
    let attributes = TreeAttributes { directory: like(0o755), key: like(0o600), public: like(0o644) };
    let [first, second] = [1, 2].map(|number| number.try_into().unwrap());
    let lineage = "a.example".parse().unwrap();
    let archive = Archive::create(node.letsencrypt(), &lineage, attributes.directory).unwrap();
    archive.write(second, &some_files(), &Part::ALL, &attributes).unwrap();
    let offer = Offer {
        lineage,
        number: second,
        files: some_files(),
        attributes,
        keep: vec![second],
        refuse_missing_names: false,
        wishes: Wishes::default(),
    };
    let bundle = Bundle::check(offer.files.clone(), jiff::Timestamp::now().as_second()).unwrap();
    for (is_ours, before, is_taken) in [
        (false, Before::Number(first), true),
        (false, Before::Number(second), true),
        (true, Before::Number(second), true),
        (true, Before::Foreign, true),
        (true, Before::Number(first), false),
    ] {
        let ours = if is_ours { vec![second] } else { Vec::new() };
        written::set(node.state(), &offer.lineage, &ours).unwrap();
        match lacks(&node, &offer, &bundle, before) {
            Ok(Lacks { absent, torn }) => assert!(!is_taken && absent.is_empty() && torn == Part::ALL, "{before:?}"),
            Err(Halt(outcome)) => {
                assert!(is_taken, "{before:?}: {outcome}");
                assert!(matches!(outcome, Outcome::Refused { step: Step::Tree, .. }), "{before:?}: {outcome}");
            }
        }
    }
}
