//! What nodes, services, web servers and names say is text: no terminal obeys it, no shell runs it, wherever it is shown.

use serde_json::{Value, json};

use crate::attacks::frames::frame;
use crate::lab::{Finished, Grant, Host, Lab};

const NAME: &str = "www.site.test";
const LOG: &str = "/var/log/certcast.log";
/// Clears the screen, names the window, turns the direction, and is a command for whoever takes it for one.
const LOUD: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}$(touch /owned)`touch /owned`;touch /owned\r";
/// The same as it is shown.
const SHOWN: &str = "\\u{1b}[2J\\u{1b}]0;owned\\u{7}\\u{9b}31m\\u{202e}$(touch /owned)`touch /owned`;touch /owned";

#[track_caller]
fn is_inert(text: &str, whence: &str) {
    let bad = |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    assert!(!text.contains(bad), "{whence}: {text:?}");
}

/// It was said, inertly: on the terminal, in the log, and in what is remembered of it.
#[track_caller]
fn is_said_inertly(lab: &Lab, said: &Finished, words: &str) {
    let shown = [said.stdout(), said.stderr()].concat();
    assert!(shown.contains(words), "{words} is not in: {said}");
    is_inert(&shown, "the terminal");
    nothing_was_run(lab);
    for host in lab.hosts() {
        if host.exists(LOG) {
            is_inert(&host.text(LOG), "the log");
        }
    }
    assert!(lab.primary().text(LOG).contains(words), "not in the log: {}", lab.primary().text(LOG));
}

fn nothing_was_run(lab: &Lab) {
    assert!(lab.hosts().iter().all(|host| ["/owned", "/root/owned"].iter().all(|path| !host.exists(path))));
}

fn deploy(lab: &Lab, lineage: &str) -> Finished {
    let path = format!("/etc/letsencrypt/live/{lineage}");
    lab.primary().command(["certcast", "--log", LOG, "deploy"]).env("RENEWED_LINEAGE", path).run()
}

/// A program that says what is loud, and fails.
fn loud_program(host: &Host) -> String {
    let program = "/root/loud";
    host.write("/root/text", LOUD);
    host.write(program, "#!/bin/sh\ncat /root/text; cat /root/text >&2; exit 1\n");
    host.chmod(program, 0o755);
    program.to_owned()
}

#[test]
fn what_a_services_test_says_is_shown_and_logged_inertly_on_both_sides() {
    let (lab, _) = Lab::serving(2, NAME);
    let peer = &lab["web2"];
    let receive = format!("/usr/local/bin/certcast --log {LOG} receive --role deploy");
    peer.authorize_only(&lab.identity(), Grant::Forced(&receive));
    lab.issue(NAME, 2, &[NAME]);
    // nginx itself, which repeats a wrong directive.
    peer.write("/etc/nginx/conf.d/loud.conf", "\u{1b}[31m\u{202e}loud on;\n");
    is_said_inertly(&lab, &deploy(&lab, NAME).exits(3), "unknown directive \"\\u{1b}[31m\\u{202e}loud\"");
    peer.remove("/etc/nginx/conf.d/loud.conf");

    peer.set("service.0.test", vec![loud_program(peer)]);
    is_said_inertly(&lab, &deploy(&lab, NAME).exits(3), SHOWN);
    assert!(peer.text(LOG).contains(SHOWN), "the peer logs it too: {}", peer.text(LOG));
    let record = lab.primary().text(&format!("/var/lib/certcast/records/web2/{NAME}"));
    is_inert(&record, "the record");
    let remembered: Value = serde_json::from_str(&record).unwrap();
    is_inert(remembered["outcome"]["cause"].as_str().unwrap(), "the record");
}

#[test]
fn what_a_lying_receiver_says_is_shown_and_logged_inertly() {
    let lab = Lab::raise().hosts(2).up();
    lab.issue(NAME, 1, &[NAME]);
    let peer = &lab["web2"];
    // What it answers is about the transaction that it was asked for.
    let receiver = "import re, sys\n\
        heard = b''\n\
        while not (asked := re.search(rb'\"transaction\":\"([0-9a-f]{32})', heard)):\n    \
            heard += sys.stdin.buffer.read1(65536) or sys.exit()\n\
        sys.stdout.buffer.write(open('/root/answers', 'rb').read().replace(b'0' * 32, asked[1]))\n\
        sys.stdout.buffer.flush()\n\
        sys.stderr.buffer.write(open('/root/said', 'rb').read())\n\
        sys.stderr.buffer.flush()\n\
        sys.stdin.buffer.read()\n";
    peer.write("/root/receiver.py", receiver);
    peer.authorize_only(&lab.identity(), Grant::Forced("/usr/bin/python3 /root/receiver.py"));
    let answers = |messages: &[Value]| {
        let hello = json!({"answer": "hello", "version": LOUD, "node": "web2", "clock": 0});
        let frames = [&hello].into_iter().chain(messages).flat_map(frame);
        peer.write("/root/answers", b"\0certcast-wire 1 1\n".iter().copied().chain(frames).collect::<Vec<_>>());
    };
    let prepared = json!({"answer": "prepared", "transaction": "0".repeat(32), "apart": []});
    let concluded =
        |outcome: &Value| json!({"answer": "concluded", "lineages": [{"lineage": NAME, "outcome": outcome}]});
    peer.write("/root/said", "");
    for outcome in [
        json!({"outcome": "applied", "notes": [LOUD]}),
        json!({"outcome": "refused", "step": "tree", "cause": LOUD}),
        json!({"outcome": "rolled-back", "step": "probe", "cause": LOUD}),
        json!({"outcome": "pending", "cause": LOUD}),
        json!({"outcome": "stuck", "cause": LOUD, "remedy": [LOUD]}),
    ] {
        let is_applied = outcome["outcome"] == "applied";
        if !is_applied {
            let apart = json!([{"lineage": NAME, "outcome": outcome}]);
            answers(&[json!({"answer": "prepared", "transaction": "0".repeat(32), "apart": apart})]);
            is_said_inertly(&lab, &deploy(&lab, NAME), SHOWN);
        }
        answers(&[prepared.clone(), concluded(&outcome)]);
        let said = deploy(&lab, NAME);
        if is_applied {
            is_inert(&[said.stdout(), said.stderr()].concat(), "the terminal");
            is_inert(&lab.primary().text(LOG), "the log");
            lab.primary().remove("/var/lib/certcast/records");
        } else {
            is_said_inertly(&lab, &said, SHOWN);
        }
    }
    answers(&[json!({"answer": "rejected", "cause": LOUD})]);
    is_said_inertly(&lab, &deploy(&lab, NAME), SHOWN);
    // A message that is none, with what went to its standard error.
    peer.write("/root/said", LOUD);
    answers(&[json!({"answer": LOUD})]);
    is_said_inertly(&lab, &deploy(&lab, NAME), SHOWN);
    // No banner at all.
    peer.write("/root/answers", LOUD);
    peer.authorize_only(&lab.identity(), Grant::Forced("cat /root/answers"));
    is_said_inertly(&lab, &deploy(&lab, NAME), SHOWN);
}

#[test]
fn what_a_web_server_answers_is_shown_and_logged_inertly() {
    let lab = Lab::raise().hosts(2).up();
    lab.point_both(NAME, &["web1", "web2"]);
    let peer = &lab["web2"];
    peer.stop_nginx();
    let program = "import http.server, socket\n\
        class Loud(http.server.BaseHTTPRequestHandler):\n    \
            def do_GET(self):\n        \
                self.wfile.write(open('/root/answer', 'rb').read())\n\
        class Both(http.server.ThreadingHTTPServer):\n    \
            address_family = socket.AF_INET6\n\
        Both(('::', 80), Loud).serve_forever()\n";
    peer.write("/root/loud.py", program);
    let _server = peer.spawn(["python3", "/root/loud.py"]);
    peer.await_listener(80);
    let auth = format!("certcast --log {LOG} auth");
    let body = format!("HTTP/1.0 200 {LOUD}\r\n\r\n{LOUD}").replace("\r\r\n", "\r\n");
    let redirect = "HTTP/1.0 302 \u{9b}31m\r\nLocation: http://www.site.test:8080/\u{9b}31m\u{202e}\r\n\r\n";
    for (answer, words) in [
        (body.replace(&format!("200 {}", LOUD.trim_end()), "200 OK"), "beginning \"\\u{1b}[2J\\u{1b}]0;owned"),
        (redirect.to_owned(), "a redirect to \"http://www.site.test:8080/\\u{9b}31m\\u{202e}\""),
        (body, "web2"),
        (LOUD.repeat(9), "web2"),
    ] {
        peer.write("/root/answer", answer);
        let said = lab.primary().hooks().auth_by(&auth, &[NAME]).run().exits(1);
        is_said_inertly(&lab, &said, words);
    }
}

#[test]
fn names_of_lineages_and_paths_are_shown_inertly_and_never_run() {
    let lab = Lab::raise().hosts(2).up();
    // Shell text in a name is a name: it arrives, and nothing is run.
    let name = "a'b\"c;$(touch owned)`touch owned`|&>owned --opt *";
    let new = lab.issue(name, 1, &[NAME]);
    deploy(&lab, name).exits(0);
    assert_eq!(lab["web2"].installed_leaf(name), Some(new.fingerprint()));
    nothing_was_run(&lab);
    // What a terminal obeys is in no name, nor in what is said of it.
    let loud = LOUD.replace("/owned", "owned");
    for name in [&loud, "\u{61c}", "x\u{2028}", "\u{1b}c"] {
        let said = deploy(&lab, name).exits(2);
        assert!(said.stderr().contains("RENEWED_LINEAGE is "), "{said}");
        is_inert(&said.stderr(), "the terminal");
    }
    lab.primary().mkdir("/etc/letsencrypt/live/\u{1b}[2J");
    let resync = lab.primary().command(["certcast", "--log", LOG, "resync"]).run().exits(0);
    is_inert(&[resync.stdout(), resync.stderr()].concat(), "the terminal");
    assert!(lab.primary().text(LOG).contains("passed over /etc/letsencrypt/live/\\u{1b}[2J"));
    for variable in ["RENEWED_LINEAGE", "CERTBOT_DOMAIN", "CERTBOT_TOKEN", "CERTBOT_VALIDATION"] {
        for hook in ["auth", "cleanup", "deploy"] {
            let loud = if variable == "RENEWED_LINEAGE" { format!("/etc/{loud}/live/x") } else { loud.clone() };
            let good = [("CERTBOT_DOMAIN", NAME), ("CERTBOT_TOKEN", "x"), ("CERTBOT_VALIDATION", "x")];
            let command = lab.primary().command(["certcast", "--log", LOG, hook]);
            let command = good.iter().fold(command, |command, (key, value)| command.env(key, value));
            let said = command.env(variable, loud).run();
            is_inert(&[said.stdout(), said.stderr()].concat(), &format!("{hook} with {variable}"));
        }
    }
    is_inert(&lab.primary().text(LOG), "the log");
    nothing_was_run(&lab);
}
