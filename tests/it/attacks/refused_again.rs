//! What the primary refuses to send, a peer refuses to take: here it comes by hand-made frames, past the primary.

use serde_json::{Value, json};

use super::frames::{NAME, everything, frame, is_unchanged, prepare, send, with};
use crate::lab::{ACCOUNT, Bundle, CHALLENGES, Fault, Finished, Grant, Lab, Validity, token};

/// What the receiver answered to each frame after the hello.
fn answers(said: &Finished) -> Vec<Value> {
    let start = said.stdout.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let mut rest = &said.stdout[start..];
    let mut answers = Vec::new();
    while let Some((length, more)) = rest.split_first_chunk::<4>() {
        let (text, more) = more.split_at(u32::from_be_bytes(*length) as usize);
        answers.push(serde_json::from_slice(text).unwrap());
        rest = more;
    }
    answers.split_off(1)
}

/// The frame that would bring these files.
fn bringing(lab: &Lab, bundle: &Bundle) -> Value {
    bundle.files().into_iter().fold(prepare(&lab.bundle(&[NAME]), NAME, 1), |message, (part, bytes)| {
        with(message, &format!("/offers/0/files/{part}"), String::from_utf8_lossy(bytes).into_owned())
    })
}

#[test]
fn files_that_make_no_bundle_are_refused_by_the_peer_too_each_by_its_name() {
    let lab = Lab::raise().hosts(2).up();
    let good = lab.bundle(&[NAME]);
    let broken = |fault| bringing(&lab, &good.broken(fault));
    let dated = |validity| bringing(&lab, &lab.bundle_valid(&[NAME], validity));
    let large = "#".repeat(200_000);
    let cases = [
        (dated(Validity::Expired), "cert.pem expired on"),
        (dated(Validity::NotYet), "is not valid before"),
        (broken(Fault::OtherKey), "privkey.pem does not match cert.pem"),
        (broken(Fault::NoChain), "without its chain"),
        (broken(Fault::WrongOrder), "the chain is broken: certificate 1 of fullchain.pem"),
        (broken(Fault::Truncated), "fullchain.pem holds no whole certificate"),
        (broken(Fault::TruncatedKey), "privkey.pem holds no whole private key"),
        (broken(Fault::Empty), "cert.pem is empty"),
        (broken(Fault::Garbage), "fullchain.pem holds no whole certificate"),
        (with(bringing(&lab, &good), "/offers/0/files/chain", large), "chain.pem has 200000 bytes"),
    ];
    let before = everything(&lab["web2"]);
    let frames: Vec<u8> = cases.iter().flat_map(|(message, _)| frame(message)).collect();
    let said = send(&lab, &frames);
    let answers = answers(&said);
    assert_eq!(answers.len(), cases.len(), "{said}");
    for (answer, (_, why)) in answers.iter().zip(&cases) {
        let outcome = &answer["apart"][0]["outcome"];
        assert_eq!((&outcome["outcome"], &outcome["step"]), (&json!("refused"), &json!("check")), "{answer}");
        assert!(outcome["cause"].as_str().unwrap().contains(why), "{why}: {answer}");
    }
    is_unchanged(&before, &everything(&lab["web2"]), "refused");
    assert!(!lab["web2"].exists("/var/lib/certcast/transaction.journal"));
    // It is their content: the same frame with the good files is taken.
    assert!(send(&lab, &frame(&bringing(&lab, &good))).stdout().contains(r#""apart":[]"#));
}

#[test]
fn tokens_that_are_paths_and_validations_that_are_not_theirs_are_refused_by_the_peer_too() {
    let lab = Lab::raise().hosts(2).up();
    let peer = &lab["web2"];
    peer.authorize_only(&lab.identity(), Grant::Receive { role: "challenge", only: &[] });
    let good = token(NAME);
    let publish = |token: &str, validation: &str| {
        let challenge = json!({"name": NAME, "token": token, "validation": validation});
        frame(&json!({"verb": "publish", "challenges": [challenge]}))
    };
    let withdraw = |token: &str| frame(&json!({"verb": "withdraw", "challenges": [{"name": NAME, "token": token}]}));
    // By hand, and yet good: it is written, and removed again.
    let right = format!("{good}.{ACCOUNT}");
    send(&lab, &publish(&good, &right)).did_it();
    assert_eq!(peer.text(&format!("{CHALLENGES}/{good}")), right);
    send(&lab, &withdraw(&good)).did_it();
    assert!(peer.tokens().is_empty());

    let before = everything(peer);
    let long = "x".repeat(10_000);
    let paths = ["../x", "../../../../../../etc/cron.d/owned", "/x", "/etc/cron.d/owned-by-a-token"];
    for bad in paths.into_iter().chain(["aaaaaaaaaaaaaaaaaaaa\0aaaa", "", ".", "owned.php.owned.php.owned", &long]) {
        for bytes in [publish(bad, &format!("{bad}.{ACCOUNT}")), withdraw(bad)] {
            is_rejected(&send(&lab, &bytes), "the token is not 16 to 128 characters of base64url");
        }
    }
    let others = format!("{}.{ACCOUNT}", token("other.test"));
    for bad in [&good, &format!("{good}."), &others, &format!("{right}\n<?php system($_GET[0]);"), &format!("{good}.x")]
    {
        is_rejected(&send(&lab, &publish(&good, bad)), "the validation is not the token, a dot and a 43-character");
    }
    is_unchanged(&before, &everything(peer), "refused");
}

#[track_caller]
fn is_rejected(said: &Finished, why: &str) {
    let answers = answers(said);
    let [answer] = answers.as_slice() else { panic!("{said}") };
    assert_eq!(answer["answer"], "rejected", "{said}");
    assert!(answer["cause"].as_str().unwrap().contains(why), "{said}");
}

impl Finished {
    /// The receiver did what it was asked.
    #[track_caller]
    fn did_it(&self) {
        let answers = answers(self);
        assert!(answers.len() == 1 && answers[0]["failures"] == json!([]), "{self}");
    }
}
