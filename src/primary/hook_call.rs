//! What a hook in certbot's renewal configuration calls: a shell's command line, of which only words are looked at.

use std::path::Path;

use crate::model::call::{calls, name, words};
use crate::sys::bounded;

const FILE_AT_MOST: u64 = 1024 * 1024;

/// Whether a hook calls certcast's verb: the program with the verb behind it, or a file of the verb's name that does.
pub fn is_call(hook: &str, verb: &str) -> bool {
    let is_file_that_does =
        |word: &&str| word.starts_with('/') && name(word) == verb && mentions_certcast(Path::new(word));
    calls(hook, verb) || words(hook).any(|word| is_file_that_does(&word))
}

/// Whether it does that and nothing else.
pub fn is_nothing_else(hook: &str, verb: &str) -> bool {
    let words: Vec<&str> = hook.split_whitespace().collect();
    match words.as_slice() {
        [file] => is_call(file, verb),
        [program, is] | [program, "--config", _, is] => name(program) == "certcast" && *is == verb,
        _ => false,
    }
}

/// Whether one of a hook's commands does that and nothing else; where its output goes is nothing.
pub fn has_plain_call(hook: &str, verb: &str) -> bool {
    let plain =
        |command: &str| command.split_whitespace().filter(|word| !word.contains('>')).collect::<Vec<_>>().join(" ");
    hook.split([';', '&', '|']).any(|command| is_nothing_else(&plain(command), verb))
}

/// Whether a file, that is a script most likely, has the program's name in it.
pub fn mentions_certcast(path: &Path) -> bool {
    mentions(path, "certcast")
}

/// Whether a file has a word in it.
pub fn mentions(path: &Path, word: &str) -> bool {
    let word = word.as_bytes();
    bounded::read_bounded(path, FILE_AT_MOST).is_ok_and(|text| text.windows(word.len()).any(|words| words == word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_or_a_file_of_the_verbs_name_is_called_whatever_is_around_it() {
        for hook in [
            "/usr/local/bin/certcast auth",
            "certcast auth",
            "/usr/bin/certcast --config '/etc/certcast/a.toml' auth",
            "sudo -n /usr/bin/certcast auth; true",
        ] {
            assert!(is_call(hook, "auth") && !is_call(hook, "deploy"), "{hook}");
        }
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("auth").to_string_lossy().into_owned();
        assert!(!is_call(&file, "auth"), "it is not there");
        std::fs::write(&file, "#!/bin/sh\nexec /opt/certcast auth\n").unwrap();
        assert!(is_call(&file, "auth") && !is_call(&file, "deploy") && is_nothing_else(&file, "auth"));
        std::fs::write(&file, "#!/bin/sh\nexec dns-hook\n").unwrap();
        assert!(!is_call(&file, "auth"));
        for hook in ["", "auth", "auth certcast", "/usr/local/bin/certcast-auth", "systemctl reload nginx"] {
            assert!(!is_call(hook, "auth"), "{hook}");
        }
    }

    #[test]
    fn a_call_for_a_part_is_no_plain_one() {
        for hook in
            ["certcast resync", "systemctl start haproxy; /usr/local/bin/certcast --config /x resync >/dev/null 2>&1"]
        {
            assert!(has_plain_call(hook, "resync"), "{hook}");
        }
        for hook in ["", "certcast resync --dry-run", "certcast resync other.test", "certcast deploy", "resync"] {
            assert!(!has_plain_call(hook, "resync"), "{hook}");
        }
    }

    #[test]
    fn another_command_beside_it_is_somebody_elses() {
        assert!(is_nothing_else("/usr/local/bin/certcast deploy", "deploy"));
        assert!(is_nothing_else("/usr/local/bin/certcast --config /etc/certcast/b.toml deploy", "deploy"));
        for hook in
            ["/usr/local/bin/certcast deploy; systemctl reload postfix", "certcast --config /x deploy -v", "true"]
        {
            assert!(!is_nothing_else(hook, "deploy"), "{hook}");
        }
    }
}
