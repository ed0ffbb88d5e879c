//! A peer that answers anything but what it should: bounded, shown harmless, and nobody's failure but its own.

use crate::lab::{Bundle, Finished, Grant, Host, Lab};

const NAME: &str = "www.site.test";
/// What an honest receiver says first, for what comes after it to be read at all.
const BEGINNING: &str = "
import json, os, sys
out = lambda data: (sys.stdout.buffer.write(data), sys.stdout.buffer.flush())
frame = lambda data: out(len(data).to_bytes(4, 'big') + data)
say = lambda **message: frame(json.dumps(message).encode())
greet = lambda: (out(b'\\0certcast-wire 1 1\\n'), say(answer='hello', version='\\33[31m' * 999, node='web2', clock=0))
flood = lambda fd, data: [os.write(fd, data) for _ in range(20_000_000 // len(data))]
";

/// The deploy hook, told apart from its memory: the most it ever had, in kB, is in `/memory`.
fn measured_deploy(lab: &Lab) -> (Finished, u64) {
    let measure = "import resource, subprocess, sys\ncode = subprocess.run(sys.argv[1:]).returncode\n\
                   open('/memory', 'w').write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))\nsys.exit(code)";
    let hook = lab.primary().command(["python3", "-c", measure, "/usr/local/bin/certcast", "deploy"]);
    let said = hook.env("RENEWED_LINEAGE", format!("/etc/letsencrypt/live/{NAME}")).run();
    (said, lab.primary().text("/memory").parse().unwrap())
}

fn answers_with(peer: &Host, key: &str, rest: &str) {
    peer.write("/root/receiver", format!("#!/usr/bin/python3\n{BEGINNING}{rest}\n"));
    peer.chmod("/root/receiver", 0o755);
    peer.authorize_only(key, Grant::Forced("/root/receiver"));
}

fn has(host: &Host, bundle: &Bundle) {
    assert_eq!(host.installed_leaf(NAME), Some(bundle.fingerprint()), "{}", host.name());
}

#[test]
fn whatever_a_peer_answers_costs_no_memory_and_no_other_peer() {
    let lab = Lab::raise().hosts(3).up();
    let (peer, key) = (&lab["web2"], lab.identity());
    lab.issue(NAME, 1, &[NAME]);
    let (honest, usual) = measured_deploy(&lab);
    honest.ok().silent();

    let answers = [
        ("flood(1, os.urandom(1 << 16))", "does not speak certcast's protocol; it said: \""),
        ("flood(2, b'\\x1b[2J\\xff' * 999); flood(1, b'no')", "does not speak certcast's protocol; it said: \"nono"),
        ("greet(); out(b'\\xff' * 4); flood(1, b'x' * 999)", "a message of 4294967295 bytes was announced"),
        ("greet(); frame(b'\\xff\\xfe' * 400_000)", "sent a message that is not understood"),
        ("greet(); frame(b'[' * 1_000_000)", "sent a message that is not understood"),
        (
            "greet(); say(answer='rejected', cause='\\x1b[31m' * 99_000)",
            "refused at policy, nothing changed: \\u{1b}[31m\\u{1b}[31m",
        ),
        ("greet(); [say(answer='published', failures=[]) for _ in range(500_000)]", "does not fit the question"),
        ("greet(); out(b'\\0\\0\\1\\0{'); os.close(1)", "was cut inside a message"),
    ];
    for (number, (answer, words)) in (2..).zip(answers) {
        answers_with(peer, &key, answer);
        let new = lab.issue(NAME, number, &[NAME]);
        let (said, most) = measured_deploy(&lab);
        let text = said.clone().exits(3).says(words).stderr();
        assert!(text.starts_with("certcast: web2  www.site.test  ") && text.lines().count() == 2, "{said}");
        assert!(text.len() < 4000 && !text.contains('\u{1b}'), "{said}");
        assert!(most < usual + 8 * 1024, "{most} kB after {usual} kB: {answer}");
        has(lab.primary(), &new);
        has(&lab["web3"], &new);
    }
}
