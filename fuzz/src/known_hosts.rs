//! `known_hosts` files.

use certcast::primary::link::known_hosts::{KnownHosts, Verdict, fingerprint, kind_of, lookup_name};
use openssl::base64::{decode_block, encode_block};

use super::is_inert;

/// A host, the key that it showed (in base64) and then a file: no key is trusted without a line that has it, a revoked one
/// never, and what stands beside does not matter.
pub fn known_hosts(data: &[u8]) {
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let (Some(host), Some(key), Some(file)) = (lines.next(), lines.next(), lines.next()) else { return };
    let (Ok(host), Ok(key)) = (std::str::from_utf8(host), std::str::from_utf8(key)) else { return };
    let Ok(blob) = decode_block(key) else { return };
    assert!(is_inert(&fingerprint(&blob)));
    for port in [22, 2222] {
        let name = lookup_name(host, port);
        let known = KnownHosts::parse(file);
        let verdict = known.judge(&name, &blob);
        is_founded(&known, &verdict, &name, &blob, file);
        is_the_same_beside_noise(&verdict, &name, &blob, file);
        is_revoked_by_one_line(&name, &blob, file);
    }
}

fn is_founded(known: &KnownHosts, verdict: &Verdict, name: &str, blob: &[u8], file: &[u8]) {
    let kinds = known.kinds(name);
    let line_has_the_key = |line: &[u8]| {
        let line = String::from_utf8_lossy(line);
        let mut words = line.split([' ', '\t', '\r']).filter(|word| !word.is_empty());
        words.any(|word| word.len() % 4 == 0 && decode_block(word).is_ok_and(|found| found == blob))
    };
    let mut lines = file.split(|byte| *byte == b'\n');
    match verdict {
        Verdict::Trusted => {
            let plain = |line: &&[u8]| !line.trim_ascii_start().starts_with(b"@") && line_has_the_key(line);
            assert!(lines.any(|line| plain(&line)), "trusted, and no line has it");
            assert!(kind_of(blob).is_some_and(|kind| kinds.contains(&kind)));
        }
        Verdict::Changed { line } => {
            let found = lines.nth(line - 1).expect("the line is there");
            assert!(!line_has_the_key(found), "changed, and the line has this very key");
        }
        Verdict::Revoked { line } => {
            let found = lines.nth(line - 1).expect("the line is there");
            assert!(found.trim_ascii_start().starts_with(b"@revoked") && line_has_the_key(found));
        }
        Verdict::OtherKinds(others) => {
            assert!(!others.is_empty() && others.iter().all(|kind| kind_of(blob) != Some(kind)));
        }
        Verdict::Unknown | Verdict::AuthorityOnly => assert!(kinds.is_empty()),
    }
}

fn is_the_same_beside_noise(verdict: &Verdict, name: &str, blob: &[u8], file: &[u8]) {
    let noisy = [file, b"\n\xff\xfe\n# a comment\n\n*\nmore words than these\n@unknown * ssh-rsa AAAA\n"].concat();
    assert_eq!(KnownHosts::parse(&noisy).judge(name, blob), *verdict);
}

fn is_revoked_by_one_line(name: &str, blob: &[u8], file: &[u8]) {
    let Some(kind) = kind_of(blob) else { return };
    // The kind is a word of the line; what is no word cannot be said in one.
    if kind.is_empty() || kind.contains([' ', '\t', '\n', '\r']) || blob.is_empty() {
        return;
    }
    let line = format!("\n@revoked * {kind} {}\n", encode_block(blob));
    let verdict = KnownHosts::parse(&[file, line.as_bytes()].concat()).judge(name, blob);
    assert!(matches!(verdict, Verdict::Revoked { .. }), "{verdict:?}");
}
