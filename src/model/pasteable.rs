//! A command as a person can paste it into a shell: its words stay the words they are.

/// The words, each quoted where a shell would read something else.
pub fn pasteable<W: AsRef<str>>(words: &[W]) -> String {
    words.iter().map(|word| quoted(word.as_ref())).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-+./:,=@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::pasteable;

    #[test]
    fn a_shell_reads_the_same_words() {
        let words = ["", "plain-1.pem", "two words", "it's", "$(id)", "`id`;*", "a\"b", "\\", "~", "-A", "#", "{a,b}"];
        let line = format!("printf '[%s]' {}", pasteable(&words));
        let read = std::process::Command::new("sh").args(["-c", &line]).output().unwrap();
        assert_eq!(String::from_utf8(read.stdout).unwrap(), format!("[{}]", words.join("][")));
        assert_eq!(pasteable(&["nginx", "-t"]), "nginx -t");
    }
}
