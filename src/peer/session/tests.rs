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

/// Version 1 of a lineage.
fn offer(lineage: &str, files: &Value) -> Value {
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    let owned = |mode: u32| json!({"uid": uid, "gid": gid, "mode": mode});
    json!({
        "lineage": lineage, "number": 1, "files": files, "keep": [1], "refuse_missing_names": false,
        "attributes": {"directory": owned(0o755), "key": owned(0o600), "public": owned(0o644)},
        "wishes": {"force": false, "adopt": false, "dry_run": false}
    })
}

/// The request that offers version 1 of these lineages as one transaction.
fn prepare(lineages: &[&str]) -> Value {
    let files = serde_json::to_value(some_files()).unwrap();
    let offers: Vec<_> = lineages.iter().map(|lineage| offer(lineage, &files)).collect();
    json!({"verb": "prepare", "transaction": ID, "budget_ms": 20_000, "offers": offers})
}

/// A request about that transaction.
fn about_it(verb: &str) -> Value {
    json!({"verb": verb, "transaction": ID})
}

/// How did it end for these?
fn recall(lineages: &[&str]) -> Value {
    json!({"verb": "recall", "transaction": ID, "lineages": lineages})
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
    let said = answers(&["a"], &[json!({"verb": "compare", "lineages": ["a", "b"]}), prepare(&["b"])]);
    let not_its_own = "this key is not for the lineage b (--only)";
    let (gone, unknown) = (json!({"is": "gone"}), json!({"is": "unknown", "cause": not_its_own}));
    let lineages = json!([{"lineage": "a", "presence": gone}, {"lineage": "b", "presence": unknown}]);
    assert_eq!(said[0], json!({"answer": "compared", "lineages": lineages}));
    let refused = json!({"outcome": "refused", "step": "policy", "cause": not_its_own});
    assert_eq!(said[1]["apart"], json!([{"lineage": "b", "outcome": refused}]));
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
        Request::Recall { transaction: ID.to_owned().try_into().unwrap(), lineages: lineages() },
    ];
    for request in asked {
        let said = answers(&[], &[serde_json::to_value(request).unwrap()]);
        assert_eq!(said[0]["cause"], "too many at once", "{said:?}");
    }
}

#[test]
fn a_recall_does_not_wait_for_what_its_own_conversation_has_prepared() {
    let said = conversation(20_000, &[], &[prepare(&["a"]), recall(&["a"])]).0;
    assert_eq!(said[0], json!({"answer": "prepared", "transaction": ID, "apart": []}));
    assert_eq!(said[1]["cause"], "recall while a transaction is prepared", "{said:?}");
}

#[test]
fn several_lineages_are_one_transaction_and_each_is_told_to_whom_it_is() {
    let home = tempfile::tempdir().unwrap();
    let say = |only: &[&str], requests: &[Value]| conversation_in(home.path(), 20_000, only, requests).0;
    let all = prepare(&["a", "c", "b"]);
    let said = say(&["a", "b"], &[all.clone(), about_it("commit")]);
    let apart = said[0]["apart"].as_array().unwrap();
    assert_eq!((apart.len(), &apart[0]["lineage"], &apart[0]["outcome"]["step"]), (1, &json!("c"), &json!("policy")));
    let ended = |lineage, outcome: &Outcome| json!({"lineage": lineage, "outcome": outcome});
    let applied = |lineage| ended(lineage, &Outcome::Applied { notes: Vec::new() });
    let never = Outcome::Pending { cause: "the transaction was never committed there".into() };
    let concluded = |lineages: &[Value]| json!({"answer": "concluded", "lineages": lineages});
    let both = concluded(&[applied("a"), applied("b")]);
    assert_eq!(said[1], both);
    assert_eq!(say(&[], &[recall(&["a", "b"])]), [both]);
    assert_eq!(say(&["b"], &[recall(&["a", "b"])]), [concluded(&[ended("a", &never), applied("b")])]);
    let other = json!({"verb": "recall", "transaction": "f".repeat(32), "lineages": ["a"]});
    assert_eq!(say(&[], &[other]), [concluded(&[ended("a", &never)])]);
    let installed = |lineage: &str| home.path().join("letsencrypt/live").join(lineage).join("cert.pem").exists();
    assert_eq!(["a", "b", "c"].map(installed), [true, true, false]);
    // Nothing waits where all have it.
    let again = say(&["a", "b"], &[all, about_it("commit")]);
    let outcomes = again[0]["apart"].as_array().unwrap().iter().map(|ended| &ended["outcome"]["outcome"]);
    assert_eq!(outcomes.collect::<Vec<_>>(), ["refused", "unchanged", "unchanged"]);
    assert_eq!(again[1]["cause"], "commit of a transaction that is not prepared");
}

#[test]
fn the_cause_that_several_have_in_common_is_not_for_whom_only_one_of_them_is() {
    let home = tempfile::tempdir().unwrap();
    let say = |only: &[&str]| conversation_in(home.path(), 20_000, only, &[recall(&["b"])]).0.remove(0).to_string();
    say(&[]);
    let failed = Outcome::RolledBack { step: Step::Switch, cause: "links of the-other".into() };
    let ended = Ended::all(["the-other", "b"].map(|name| name.parse().unwrap()), &failed);
    history::remember(&home.path().join("state"), &ID.to_owned().try_into().unwrap(), &ended).unwrap();
    assert!(say(&[]).contains("links of the-other"));
    let said = say(&["b"]);
    assert!(said.contains("another lineage") && !said.contains("the-other"), "{said}");
}

#[test]
fn what_is_staged_together_goes_together_when_no_word_comes() {
    let home = tempfile::tempdir().unwrap();
    let say = |requests: &[Value]| conversation_in(home.path(), 20_000, &[], requests).0;
    let said = say(&[prepare(&["a", "b"]), prepare(&["c"])]);
    assert_eq!(said[0]["apart"], json!([]));
    assert_eq!(said[1]["cause"], "another transaction is prepared in this conversation");
    let aborted = say(&[prepare(&["a", "b"]), about_it("abort")]).remove(1);
    let outcomes = aborted["lineages"].as_array().unwrap().iter().map(|ended| &ended["outcome"]["outcome"]);
    assert_eq!(outcomes.collect::<Vec<_>>(), ["refused", "refused"], "{aborted}");
    let left = |place: &str| std::fs::read_dir(home.path().join(place)).into_iter().flatten().count();
    assert_eq!(["letsencrypt/live", "letsencrypt/archive"].map(left), [0, 0]);
    assert!(!home.path().join("state/transaction.journal").exists());
}

#[test]
fn offers_that_are_no_one_transaction_are_rejected() {
    let with = |change: &dyn Fn(&mut Value)| {
        let mut request = prepare(&["a", "b"]);
        change(&mut request);
        request
    };
    let names: Vec<String> = (0..=TOGETHER_AT_MOST).map(|number| format!("n{number}.example")).collect();
    let bad = [
        with(&|request| request["offers"][1]["lineage"] = json!("a")),
        with(&|request| request["offers"][0]["wishes"]["dry_run"] = json!(true)),
        prepare(&[]),
    ];
    for request in bad {
        let said = answers(&[], &[request]);
        assert!(said[0]["cause"].as_str().unwrap().starts_with("offers that are no one transaction: "), "{said:?}");
    }
    let many = prepare(&names.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(answers(&[], &[many])[0]["cause"], "too many at once");
}
