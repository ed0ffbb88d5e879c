//! A key for challenges only, in other hands: tokens, and nothing else.

use serde_json::{Value, json};

use super::frames::{
    NAME, commit, compare, everything, frame, frames, id, is_unchanged, prepare, publish, send, tell, with,
};
use crate::lab::{ACCOUNT, CHALLENGES, Grant, Host, Lab, programs, token, until};

const TOKEN: &str = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJyPCt95vq5Y4";

fn stolen(lab: &Lab) {
    lab["web2"].authorize_only(&lab.identity(), Grant::Receive { role: "challenge", only: &[] });
}

#[test]
fn a_challenge_key_installs_nothing_and_learns_nothing() {
    let (lab, old) = Lab::serving(2, NAME);
    let peer = &lab["web2"];
    stolen(&lab);
    let before = everything(peer);
    let number = json!({"verb": "recall", "transaction": id(1), "lineages": [NAME]});
    let abort = json!({"verb": "abort", "transaction": id(1)});
    for asked in [prepare(&lab.bundle(&[NAME]), NAME, 2), compare(NAME), compare("no.test"), commit(2), number, abort] {
        let said = send(&lab, &frame(&asked));
        let answers = said.stdout();
        assert!(answers.contains(r#""answer":"rejected","cause":"this key is for challenges only"#), "{said}");
        // Beside that a hello was answered; whether there is such a lineage is not to be heard.
        assert!(!answers.contains("digest") && !answers.contains("site.test"), "{said}");
    }
    is_unchanged(&before, &everything(peer), "at the end");
    peer.serves(&lab, NAME, &old);
    lab.issue(NAME, 2, &[NAME]);
    lab.deploy(NAME).exits(3).says("web2  www.site.test  refused at policy").says("--role challenge");
}

#[test]
fn a_challenge_key_places_challenges_and_no_other_file() {
    let lab = Lab::raise().hosts(2).up();
    let peer = &lab["web2"];
    stolen(&lab);
    peer.write(&format!("{CHALLENGES}/not-ours-but-of-another-acme-client-here-xxx"), "theirs");
    let before = everything(peer);
    let good = publish(&[TOKEN.to_owned()]);
    let challenge = |place: &str, value: &str| with(good.clone(), &format!("/challenges/0/{place}"), value);
    let mut refused: Vec<Value> = Vec::new();
    for token in ["../x", "/etc/cron.d/x", "..", ".", "", "a/b", "a\0b", "index.html", ".htaccess"] {
        let print = "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI";
        let both = with(challenge("token", token), "/challenges/0/validation", format!("{token}.{print}"));
        refused.extend([challenge("token", token), both]);
    }
    refused.push(challenge("token", &"a".repeat(10_000)));
    let payloads = ["<?php system($_GET[0]); ?>", "", "x", TOKEN, &format!("{TOKEN}.{}", "a".repeat(500))];
    refused.extend(payloads.map(|payload| challenge("validation", payload)));
    refused.extend(["../../etc", "/etc", "a b", "", "*.site.test/.."].map(|name| challenge("name", name)));
    for asked in refused {
        let said = tell(peer, "challenge", &frame(&asked));
        assert!(said.stdout().contains(r#""answer":"rejected""#), "{asked}: {said}");
        is_unchanged(&before, &everything(peer), &asked.to_string());
    }
    // What is not in the ledger is not removed, whatever its name is.
    let theirs = json!({"name": NAME, "token": "not-ours-but-of-another-acme-client-here-xxx"});
    let watch = peer.watch_sshd("execve");
    let said = send(&lab, &frames([&json!({"verb": "withdraw", "challenges": [theirs]}), &good]));
    assert!(said.stdout().contains(r#""answer":"published","failures":[]"#), "{said}");
    let run = programs(&watch.end());
    let forced = "/usr/local/bin/certcast receive --role challenge";
    let is_usual = |program: &String| program.ends_with(forced) || program.starts_with("/usr/sbin/sshd ");
    assert!(run.iter().any(|program| program == forced) && run.iter().all(is_usual), "{run:?}");

    until("he has gone", || peer.processes("certcast receive").is_empty());
    let file = format!("{CHALLENGES}/{TOKEN}");
    assert_eq!((peer.mode(&file), peer.text(&file).len()), (0o644, 43 + 1 + 43));
    peer.remove(&file);
    is_unchanged(&before, &everything(peer), "at the end");
}

#[test]
fn a_key_for_one_acme_account_places_no_challenge_of_another() {
    let lab = Lab::raise().hosts(2).up();
    let (peer, key) = (&lab["web2"], lab.identity());
    let for_account = |account: &str| {
        let command = format!("/usr/local/bin/certcast receive --role challenge --account {account}");
        peer.authorize_only(&key, Grant::Forced(&command));
    };
    for_account(&"x".repeat(43));
    let account = ACCOUNT;
    let said = lab.primary().hooks().auth(&[NAME]).run().fails().stderr();
    assert!(said.contains(&format!("add '--account {account}'")), "{said}");
    assert_eq!(peer.tokens(), Vec::<String>::new());

    for_account(&format!("{} --account {account}", "x".repeat(43)));
    let addresses: Vec<_> = lab.hosts().iter().flat_map(Host::addresses).collect();
    lab.dns().set(NAME, &addresses);
    lab.primary().hooks().auth(&[NAME]).run().ok();
    assert_eq!(peer.tokens(), [token(NAME)]);
}

#[test]
fn a_key_for_one_acme_account_removes_no_challenge_of_another() {
    let lab = Lab::raise().hosts(2).up();
    let (peer, key) = (&lab["web2"], lab.identity());
    let addresses: Vec<_> = lab.hosts().iter().flat_map(Host::addresses).collect();
    lab.dns().set(NAME, &addresses);
    lab.primary().hooks().auth(&[NAME]).run().ok();
    assert_eq!(peer.tokens(), [token(NAME)]);

    let another = "x".repeat(43);
    let command = format!("/usr/local/bin/certcast receive --role challenge --account {another}");
    peer.authorize_only(&key, Grant::Forced(&command));
    let before = everything(peer);
    let token = token(NAME);
    let withdrawal = json!({"name": NAME, "token": token});
    let withdraw = json!({"verb": "withdraw", "challenges": [withdrawal]});
    let overwrite =
        with(publish(std::slice::from_ref(&token)), "/challenges/0/validation", format!("{token}.{another}"));
    for (asked, answer) in [(withdraw, "withdrawn"), (overwrite, "published")] {
        let said = send(&lab, &frame(&asked));
        let refused = format!("not for challenges of the ACME account {ACCOUNT}");
        assert!(
            said.stdout().contains(&format!(r#""answer":"{answer}""#)) && said.stdout().contains(&refused),
            "{said}"
        );
        is_unchanged(&before, &everything(peer), answer);
    }
}
