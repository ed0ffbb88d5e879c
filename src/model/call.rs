//! Whether a line of a foreign file calls certcast: its words are looked at, and not what a shell would make of them.

/// Whether it calls a verb: the program with the verb behind it, whatever is between them.
pub fn calls(line: &str, verb: &str) -> bool {
    let mut rest = words(line).skip_while(|word| name(word) != "certcast");
    rest.any(|word| word == verb)
}

/// Its words, as shells, sudo and sshd part them.
pub fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| c.is_whitespace() || ";&|()'\",=".contains(c))
}

/// A program's name without its directory.
pub fn name(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verb_stands_behind_the_program() {
        for line in [
            "restrict,command=\"/usr/local/bin/certcast receive --role deploy\" ssh-ed25519 AAAA",
            "command=\"certcast --config /etc/certcast/b.toml receive --role challenge\",restrict ssh-rsa AAAA",
            "b ALL = (root) NOPASSWD: /usr/bin/certcast receive --role deploy",
        ] {
            assert!(calls(line, "receive") && !calls(line, "deploy "), "{line}");
        }
        for line in ["", "receive", "receive certcast", "ssh-rsa AAAA certcast", "command=\"/opt/certcast2 receive\""] {
            assert!(!calls(line, "receive"), "{line}");
        }
    }
}
