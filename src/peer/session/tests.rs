use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::model::config::Config;
use crate::peer::policy::Role;

/// What the peer answers to these requests after a hello.
fn answers(only: &[&str], requests: &[Value]) -> Vec<Value> {
    let home = tempfile::tempdir().unwrap();
    let place = |name: &str| home.path().join(name).display().to_string();
    let text = format!(
        "[node]\nname = \"web2\"\nwebroot = \"/var/www/html\"\nletsencrypt = \"{}\"\nstate = \"{}\"\n",
        place("letsencrypt"),
        place("state")
    );
    let node = Node::open(Config::parse(&text, Path::new("test.toml")).unwrap(), false).unwrap();
    let only = only.iter().map(|name| name.parse().unwrap()).collect();
    let grant = Grant { role: Role::Deploy, only, accounts: Vec::new(), allow_force: false };
    let mut input = Vec::new();
    banner::write(&mut input).unwrap();
    frame::write(&mut input, &json!({"verb": "hello", "version": "1", "node": "web1", "budget_ms": 20_000})).unwrap();
    for request in requests {
        frame::write(&mut input, request).unwrap();
    }
    let mut output = Vec::new();
    serve(&node, &grant, &mut &*input, &mut output, &SharedDeadline::new(Deadline::after(HELLO))).unwrap();
    let mut output = &*output;
    banner::read(&mut output).unwrap();
    std::iter::from_fn(|| frame::read(&mut output).ok()).skip(1).collect()
}

#[test]
fn a_lineage_that_is_not_the_callers_is_passed_over_and_its_own_are_served() {
    let owned = |mode: u32| json!({"uid": 0, "gid": 0, "mode": mode});
    let prepare = json!({
        "verb": "prepare", "transaction": "0123456789abcdef0123456789abcdef", "lineage": "b", "number": 1,
        "files": {"cert": "", "privkey": "", "chain": "", "fullchain": ""}, "keep": [1], "refuse_missing_names": false,
        "attributes": {"directory": owned(0o755), "key": owned(0o600), "public": owned(0o644)},
        "wishes": {"force": false, "adopt": false, "dry_run": false}
    });
    let said = answers(&["a"], &[json!({"verb": "compare", "lineages": ["a", "b"]}), prepare]);
    let installed = |name| json!({"lineage": name, "version": null});
    assert_eq!(said[0], json!({"answer": "compared", "lineages": [installed("a"), installed("b")]}));
    assert_eq!(said[1]["answer"], "concluded");
    let refused = said[1].to_string();
    assert!(refused.contains(r#""step":"policy""#) && refused.contains("--only"), "{refused}");
}
