//! Wrong input gets one clear error, the documented exit code, and changes nothing on any server.

use crate::lab::{CHALLENGES, Entry, Finished, Lab, token};

const NAME: &str = "www.site.test";
const THUMBPRINT: &str = "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI";
const CONFIG: &str = "/etc/certcast/config.toml";
const USAGE: i32 = 2;

fn two_servers() -> Lab {
    let lab = Lab::raise().hosts(2).up();
    lab.point_both(NAME, &["web1", "web2"]);
    lab
}

/// All that a mistaken run could have written, on any server, and who was visited.
fn state(lab: &Lab) -> Vec<(Vec<Entry>, usize)> {
    let places = ["/var/www", "/var/lib/certcast", "/etc/letsencrypt"];
    lab.hosts().iter().flat_map(|host| places.map(|place| (host.tree(place), host.logins()))).collect()
}

/// Nothing on stdout, one error on stderr that begins as said.
#[track_caller]
fn one_error(said: &Finished, words: &[&str]) {
    let error = said.stderr();
    assert!(said.stdout.is_empty() && error.starts_with("certcast: ") && error.ends_with('\n'), "{said}");
    assert_eq!(error.matches("certcast: ").count(), 1, "{said}");
    assert!(words.iter().all(|word| error.contains(word)), "{words:?}\n{said}");
}

#[test]
fn an_environment_that_is_no_call_of_a_hook_is_a_usage_error_and_writes_nothing() {
    let lab = two_servers();
    let before = state(&lab);
    let token = token(NAME);
    let validation = format!("{token}.{THUMBPRINT}");
    let [long, short] = ["x".repeat(10_000), "x".repeat(15)];
    let call = |name: &str, token: &str, validation: &str| {
        let variables = [("CERTBOT_DOMAIN", name), ("CERTBOT_TOKEN", token), ("CERTBOT_VALIDATION", validation)];
        lab.primary().hooks().call("auth", &variables).run().exits(USAGE)
    };
    one_error(
        &lab.primary().hooks().call("auth", &[]).run().exits(USAGE),
        &["CERTBOT_DOMAIN is not set: 'certcast auth' is called by certbot, as its --manual-auth-hook 'certcast auth'"],
    );
    one_error(
        &lab.primary().hooks().call("deploy", &[]).run().exits(USAGE),
        &["RENEWED_LINEAGE is not set", "--deploy-hook 'certcast deploy'"],
    );
    one_error(&call(NAME, "", &validation), &[NAME, "cannot be validated over HTTP", "--preferred-challenges http"]);
    one_error(
        &call("*.site.test", &token, &validation),
        &["*.site.test cannot be validated over HTTP", "leave the wildcard out"],
    );
    for bad in ["../../../../etc/passwd__", "/etc/passwd_____________", "aaaaaaaaaaaaaaaaaaaaaaaaa.txt", &long, &short]
    {
        let said = call(NAME, bad, &format!("{bad}.{THUMBPRINT}"));
        one_error(
            &said,
            &["certbot's challenge for www.site.test is unfit: the token is not 16 to 128 characters of base64url"],
        );
    }
    for bad in [token.clone(), format!("{token}.short"), format!("{validation}<?php"), format!("other{validation}")] {
        one_error(
            &call(NAME, &token, &bad),
            &["the validation is not the token, a dot and a 43-character key thumbprint"],
        );
    }
    for bad in ["../site.test", "site.test/..", "a b", "-n", "\u{1b}[2J.test"] {
        let said = call(bad, &token, &validation);
        one_error(&said, &["CERTBOT_DOMAIN is unfit"]);
        assert!(!said.stderr().contains('\u{1b}'), "{said}");
    }
    let many = [("CERTBOT_DOMAIN", NAME), ("CERTBOT_TOKEN", &token), ("CERTBOT_VALIDATION", &validation)];
    let variables = [many.as_slice(), &[("CERTBOT_REMAINING_CHALLENGES", "-1")]].concat();
    one_error(
        &lab.primary().hooks().call("auth", &variables).run().exits(USAGE),
        &["CERTBOT_REMAINING_CHALLENGES is \"-1\""],
    );
    for bad in ["live/www.site.test", "/etc/letsencrypt/archive/www.site.test", "/etc/letsencrypt/live/.."] {
        let said = lab.primary().hooks().call("deploy", &[("RENEWED_LINEAGE", bad)]).run().exits(USAGE);
        one_error(&said, &["RENEWED_LINEAGE is"]);
    }
    assert_eq!(state(&lab), before);
}

#[test]
fn a_wrong_configuration_is_shown_with_its_line_and_nothing_is_tried() {
    let lab = two_servers();
    let before = state(&lab);
    let good = lab.primary().configuration();
    let expect = |words: &[&str]| {
        for run in [
            lab.primary().hooks().auth(&[NAME]).run(),
            lab.primary().run(["certcast", "resync"]),
            lab.primary().hooks().call("deploy", &[("RENEWED_LINEAGE", "/etc/letsencrypt/live/a")]).run(),
        ] {
            one_error(&run.exits(USAGE), words);
        }
        // Never a failure for certbot; the error is the same.
        one_error(&lab.primary().hooks().cleanup(&[NAME]).run().ok(), words);
    };
    lab.primary().configure(&good.replace("[ssh]\n", "[ssh]\nidentiti = \"/k\"\n"));
    let line = good.lines().position(|line| line == "[ssh]").unwrap() + 2;
    expect(&[&format!("{CONFIG}:{line}:1"), "identiti = \"/k\"", "identity"]);
    lab.primary().configure("[node\n");
    expect(&[&format!("{CONFIG}:1:")]);
    lab.primary().remove(CONFIG);
    expect(&[CONFIG, "there is no such file"]);
    lab.primary().mkdir(CONFIG);
    expect(&[CONFIG, "this is a directory, not a regular file"]);
    assert_eq!(state(&lab), before);
}

#[test]
fn a_configuration_in_another_place_is_named_by_option_or_environment() {
    let lab = two_servers();
    lab.primary().rename(CONFIG, "/root/other.toml");
    lab.primary().hooks().auth(&[NAME]).run().exits(USAGE);
    let by_option = "certcast --config /root/other.toml auth";
    lab.primary().hooks().auth_by(by_option, &[NAME]).run().ok().silent();
    let by_environment = "CERTCAST_CONFIG=/root/other.toml certcast auth";
    lab.primary().hooks().auth_by(by_environment, &[NAME]).run().ok().silent();
}

#[test]
fn a_log_that_cannot_be_written_is_said_and_stops_nothing() {
    let lab = two_servers();
    let run = lab.primary().hooks().auth_by("certcast --log /nowhere/log auth", &[NAME]).run().ok();
    one_error(&run, &["cannot write the log /nowhere/log: No such file or directory"]);
    assert_eq!(lab["web2"].tokens(), [token(NAME)]);
    // The disk is full: no word of it, since certbot would show it as a hook's error.
    lab.primary().hooks().auth_by("certcast --log /dev/full auth", &[NAME]).run().ok().silent();
}

#[test]
fn what_certcast_cannot_remember_it_does_not_begin() {
    let lab = two_servers();
    lab.primary().small_disk("/var/lib/certcast", "size=4k");
    lab.primary().run(["dd", "if=/dev/zero", "of=/var/lib/certcast/full", "bs=4k", "count=2"]).fails();
    let run = lab.primary().hooks().auth(&[NAME]).run().exits(1);
    one_error(&run, &["/var/lib/certcast", "No space left on device"]);
    assert!(lab.hosts().iter().all(|host| host.list(CHALLENGES).is_empty()));
    assert_eq!(lab["web2"].logins(), 0);
}
