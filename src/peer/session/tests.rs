use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::model::bundle::tests::some_files;
use crate::model::challenge::Challenge;
use crate::model::config::Config;
use crate::peer::policy::Role;
use crate::wire::message::Withdrawal;

/// What the peer answers to these requests after a hello.
fn answers(only: &[&str], requests: &[Value]) -> Vec<Value> {
    conversation(20_000, only, requests).0
}

/// The answers after a hello that asks for so much time, and how much there is then.
fn conversation(budget_ms: u64, only: &[&str], requests: &[Value]) -> (Vec<Value>, Duration) {
    conversation_in(tempfile::tempdir().unwrap().path(), budget_ms, only, requests)
}

/// As [`conversation`], with the node whose directories are in `home`.
fn conversation_in(home: &Path, budget_ms: u64, only: &[&str], requests: &[Value]) -> (Vec<Value>, Duration) {
    let place = |name: &str| home.join(name).display().to_string();
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
    frame::write(&mut input, &json!({"verb": "hello", "version": "1", "node": "web1", "budget_ms": budget_ms}))
        .unwrap();
    for request in requests {
        frame::write(&mut input, request).unwrap();
    }
    let mut output = Vec::new();
    let limit = SharedDeadline::new(Deadline::after(HELLO));
    // How it ended is in the last answer.
    _ = serve(&node, &grant, &mut &*input, &mut output, &limit);
    let mut output = &*output;
    banner::read(&mut output).unwrap();
    (std::iter::from_fn(|| frame::read(&mut output).ok()).skip(1).collect(), limit.get().left())
}

const ID: &str = "0123456789abcdef0123456789abcdef";

/// The request that offers version 1 of a lineage.
fn prepare(lineage: &str, files: &Value) -> Value {
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    let owned = |mode: u32| json!({"uid": uid, "gid": gid, "mode": mode});
    json!({
        "verb": "prepare", "transaction": ID, "lineage": lineage, "number": 1,
        "files": files, "keep": [1], "refuse_missing_names": false,
        "attributes": {"directory": owned(0o755), "key": owned(0o600), "public": owned(0o644)},
        "wishes": {"force": false, "adopt": false, "dry_run": false}
    })
}

/// A request about that one.
fn about_it(verb: &str) -> Value {
    json!({"verb": verb, "transaction": ID})
}

#[test]
fn no_caller_gets_more_time_than_a_conversation_has() {
    for (asked, gets) in [(0, 0), (5_000, 5), (u64::MAX, 15 * 60)] {
        let left = conversation(asked, &[], &[]).1;
        let gets = Duration::from_secs(gets);
        assert!(left <= gets && gets.saturating_sub(left) < Duration::from_secs(60), "{asked}: {left:?}");
    }
}

#[test]
fn what_lay_in_the_buffer_when_the_time_was_over_is_not_begun() {
    let compare = json!({"verb": "compare", "lineages": ["a"]});
    assert_eq!(conversation(0, &[], &[compare.clone(), about_it("commit")]).0, Vec::<Value>::new());
    assert_eq!(conversation(60_000, &[], &[compare]).0.len(), 1);
}

#[test]
fn a_lineage_that_is_not_the_callers_is_passed_over_and_its_own_are_served() {
    let prepare = prepare("b", &json!({"cert": "", "privkey": "", "chain": "", "fullchain": ""}));
    let said = answers(&["a"], &[json!({"verb": "compare", "lineages": ["a", "b"]}), prepare]);
    let not_its_own = "this key is not for the lineage b (--only)";
    let (gone, unknown) = (json!({"is": "gone"}), json!({"is": "unknown", "cause": not_its_own}));
    let lineages = json!([{"lineage": "a", "presence": gone}, {"lineage": "b", "presence": unknown}]);
    assert_eq!(said[0], json!({"answer": "compared", "lineages": lineages}));
    assert_eq!(said[1]["answer"], "concluded");
    let refused = said[1].to_string();
    assert!(refused.contains(r#""step":"policy""#) && refused.contains("--only"), "{refused}");
}

#[test]
fn an_answer_too_long_for_a_message_is_told_as_such() {
    let mut output = Vec::new();
    let long = Reply::Planned { changes: vec!["x".repeat(1024); 1024] };
    assert!(matches!(say(&mut output, &long), Err(FrameError::TooLarge(_))));
    let Reply::Rejected { cause } = frame::read(&mut output.as_slice()).unwrap() else { panic!() };
    assert!(cause.contains(" bytes long, and a message has at most 1048576: ask for fewer"), "{cause}");
}

#[test]
fn nobody_asks_for_more_at_once_than_the_protocol_allows() {
    let name = |number: usize| format!("n{number}.example");
    let lineages = || (0..=LINEAGES_AT_MOST).map(|number| name(number).parse().unwrap()).collect();
    let token = "0123456789abcdef0123456789abcdef0123456789a";
    let challenge = |number: usize| {
        let validation = format!("{token}.{token}");
        Challenge::new(name(number).parse().unwrap(), token.parse().unwrap(), &validation).unwrap()
    };
    let challenges: Vec<_> = (0..=CHALLENGES_AT_MOST).map(challenge).collect();
    let withdrawals = challenges.iter().map(Withdrawal::of).collect();
    let asked = [
        Request::Publish { challenges },
        Request::Withdraw { challenges: withdrawals },
        Request::Compare { lineages: lineages() },
        Request::Survey { lineages: lineages() },
    ];
    for request in asked {
        let said = answers(&[], &[serde_json::to_value(request).unwrap()]);
        assert_eq!(said[0]["cause"], "too many at once", "{said:?}");
    }
}

#[test]
fn a_recall_does_not_wait_for_what_its_own_conversation_has_prepared() {
    let offer = prepare("a", &serde_json::to_value(some_files()).unwrap());
    let said = conversation(20_000, &[], &[offer, about_it("recall")]).0;
    assert_eq!(said[0], json!({"answer": "prepared", "transaction": ID}));
    assert_eq!(said[1]["cause"], "recall while a transaction is prepared", "{said:?}");
}

#[test]
fn a_recall_is_told_how_it_ended_by_whom_the_lineage_is() {
    let home = tempfile::tempdir().unwrap();
    let offer = prepare("a", &serde_json::to_value(some_files()).unwrap());
    let say = |only: &[&str], requests: &[Value]| conversation_in(home.path(), 20_000, only, requests).0;
    let committed = say(&[], &[offer, about_it("commit")]).remove(1);
    assert_eq!(committed["answer"], "concluded");
    let never = Outcome::Pending { cause: "the transaction was never committed there".into() };
    let never = json!({"answer": "concluded", "outcome": never});
    assert_ne!(committed, never);
    for (only, told) in [(&[][..], &committed), (&["a"], &committed), (&["b"], &never)] {
        assert_eq!(say(only, &[about_it("recall")]), std::slice::from_ref(told), "{only:?}");
    }
    let other = json!({"verb": "recall", "transaction": "f".repeat(32)});
    assert_eq!(say(&[], &[other]), [never]);
}

/// The request that offers version 1 of these lineages as one transaction.
fn together(lineages: &[&str]) -> Value {
    let files = serde_json::to_value(some_files()).unwrap();
    let bundles: Vec<_> = lineages.iter().map(|lineage| prepare(lineage, &files)).collect();
    json!({"verb": "prepare-together", "transaction": ID, "budget_ms": 20_000, "bundles": bundles})
}

#[test]
fn several_lineages_are_one_transaction_and_each_is_told_to_whom_it_is() {
    let home = tempfile::tempdir().unwrap();
    let say = |only: &[&str], requests: &[Value]| conversation_in(home.path(), 20_000, only, requests).0;
    let offer = together(&["a", "c", "b"]);
    let said = say(&["a", "b"], &[offer.clone(), about_it("commit")]);
    assert_eq!(said[0]["answer"], "prepared-together");
    let apart = said[0]["apart"].as_array().unwrap();
    assert_eq!((apart.len(), &apart[0]["lineage"], &apart[0]["outcome"]["step"]), (1, &json!("c"), &json!("policy")));
    let applied = |lineage| json!({"lineage": lineage, "outcome": {"outcome": "applied", "notes": []}});
    let both = json!({"answer": "concluded-together", "lineages": [applied("a"), applied("b")]});
    assert_eq!(said[1], both);
    assert_eq!(say(&[], &[about_it("recall")]), [both]);
    let one = json!({"answer": "concluded", "outcome": {"outcome": "applied", "notes": []}});
    assert_eq!(say(&["b"], &[about_it("recall")]), [one]);
    let installed = |lineage: &str| home.path().join("letsencrypt/live").join(lineage).join("cert.pem").exists();
    assert_eq!(["a", "b", "c"].map(installed), [true, true, false]);
    // Nothing waits where all have it.
    let again = say(&["a", "b"], &[offer, about_it("commit")]);
    let outcomes = again[0]["apart"].as_array().unwrap().iter().map(|ended| &ended["outcome"]["outcome"]);
    assert_eq!(outcomes.collect::<Vec<_>>(), ["refused", "unchanged", "unchanged"]);
    assert_eq!(again[1]["cause"], "commit of a transaction that is not prepared");
}

#[test]
fn what_is_staged_together_goes_together_when_no_word_comes() {
    let home = tempfile::tempdir().unwrap();
    let say = |requests: &[Value]| conversation_in(home.path(), 20_000, &[], requests).0;
    let said = say(&[together(&["a", "b"]), together(&["c"])]);
    assert_eq!(said[0]["apart"], json!([]));
    assert_eq!(said[1]["cause"], "another transaction is prepared in this conversation");
    let aborted = say(&[together(&["a", "b"]), about_it("abort")]).remove(1);
    for lineage in aborted["lineages"].as_array().unwrap() {
        assert_eq!(lineage["outcome"]["outcome"], "refused", "{aborted}");
    }
    let left = |place: &str| std::fs::read_dir(home.path().join(place)).into_iter().flatten().count();
    assert_eq!(["letsencrypt/live", "letsencrypt/archive"].map(left), [0, 0]);
    assert!(!home.path().join("state/transaction.journal").exists());
}

#[test]
fn bundles_that_are_no_one_transaction_are_rejected() {
    let with = |change: &dyn Fn(&mut Value)| {
        let mut request = together(&["a", "b"]);
        change(&mut request);
        request
    };
    let names: Vec<String> = (0..=TOGETHER_AT_MOST).map(|number| format!("n{number}.example")).collect();
    let bad = [
        with(&|request| request["bundles"][1]["lineage"] = json!("a")),
        with(&|request| request["bundles"][1]["transaction"] = json!("f".repeat(32))),
        with(&|request| request["bundles"][0]["wishes"]["dry_run"] = json!(true)),
        together(&names.iter().map(String::as_str).collect::<Vec<_>>()),
        together(&[]),
    ];
    for request in bad {
        let said = answers(&[], &[request]);
        assert!(said[0]["cause"].as_str().unwrap().starts_with("bundles that are no one transaction: "), "{said:?}");
    }
}
