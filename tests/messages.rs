//! Every message that a person can meet is explained in `docs/operations.md`, under its own words.
#![cfg(test)]

use std::fs;

const PAGE: &str = "docs/operations.md";
/// Shorter pieces of a message would be found on the page by accident.
const WORDS_AT_LEAST: usize = 12;

/// What is not looked up by its words, and why.
const PASSED_OVER: [(&str, &str); 8] = [
    ("src/cli.rs", "the command line's help"),
    ("src/model/config/", "shown with file, line, column and what was expected: explained as a whole"),
    ("src/primary/link/hint.rs", "remedies, printed behind the message that they are for"),
    ("src/primary/proof/failure.rs", "its remedies; what it says of an answer is looked up below"),
    ("src/peer/transaction.rs", "what a dry run would change"),
    ("src/model/escape.rs", "how much was cut off"),
    ("src/model/names.rs", "what is wrong with a name, behind the name itself"),
    ("src/sys/dir.rs", "the action that the system's own error follows"),
];

/// Texts that are no messages.
const NO_MESSAGES: [&str; 18] = [
    "PRIVATE KEY-----",
    "-----BEGIN OPENSSH PRIVATE KEY-----",
    "BEGIN ENCRYPTED PRIVATE KEY",
    "Proc-Type: 4,ENCRYPTED",
    "Invalid signature",
    "What is here are links",
    "certcast auth",
    "certcast cleanup",
    "certcast deploy",
    "certcast receive",
    "certcast recover",
    "ssh deadline",
    "another process",
    "nothing was taken",
    "nothing came",
    "not a process: expected",
    "before this are dropped",
    "before the deadline",
];

/// Words that only the log has.
const LOG_ONLY: [&str; 6] = [
    "tracing::info!",
    "tracing::debug!",
    "staged files removed",
    "removed a challenge of old age",
    "cannot remove an old challenge",
    "not prepared",
];

/// The text literals of a source file outside of comments and test modules, with their lines.
fn literals(source: &str) -> Vec<(usize, String)> {
    let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let mut found = Vec::new();
    let (mut rest, mut line) = (source, 1);
    while let Some(at) = rest.find(['"', '\'', '/', '\n']) {
        let tail = &rest[at..];
        let mut end = 1;
        match tail.as_bytes()[0] {
            b'\n' => line += 1,
            b'/' if tail.starts_with("//") => end = tail.find('\n').unwrap_or(tail.len()),
            b'\'' if tail[1..].starts_with("\\'") => end = 4,
            b'\'' if tail.get(2..3) == Some("'") => end = 3,
            b'"' => {
                let bytes = tail.as_bytes();
                while end < bytes.len() && bytes[end] != b'"' {
                    end += if bytes[end] == b'\\' { 2 } else { 1 };
                }
                let body = &tail[1..end];
                if !rest[..at].ends_with("reason = ") {
                    found.push((line, unescaped(body)));
                }
                line += body.matches('\n').count();
                end += 1;
            }
            _ => {}
        }
        rest = &tail[end..];
    }
    found
}

/// A literal's text: lines that go on are joined, quotes and braces are themselves.
fn unescaped(body: &str) -> String {
    let mut lines = body.split("\\\n");
    let first = lines.next().unwrap_or_default().to_owned();
    let text = lines.fold(first, |text, line| text + line.trim_start());
    text.replace("\\\"", "\"").replace("\\n", "\n")
}

/// The pieces by which a message is known: what stands between its placeholders, its brackets and its stops.
fn pieces(text: &str) -> Vec<&str> {
    let fixed = text.split('{').enumerate().map(|(index, piece)| match piece.split_once('}') {
        Some((_, fixed)) if index > 0 => fixed,
        _ => piece,
    });
    let pieces =
        fixed.flat_map(|fixed| fixed.split([';', ':', '(', ')'])).map(|piece| piece.trim_matches([' ', ',', '\'']));
    pieces.filter(|piece| piece.len() >= WORDS_AT_LEAST && piece.contains(' ')).collect()
}

/// The program's own files.
fn sources() -> Vec<String> {
    let files = walkdir::WalkDir::new("src").sort_by_file_name().into_iter().map(|entry| entry.unwrap().into_path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let names = files.map(|path| path.to_str().unwrap().to_owned());
    names.filter(|name| !name.contains("tests") && !name.contains("fixture")).collect()
}

#[test]
fn every_message_is_explained_under_its_own_words() {
    let page = fs::read_to_string(PAGE).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    let mut files = sources();
    files.retain(|file| !PASSED_OVER.iter().any(|(passed, _)| file.starts_with(passed)));
    let (mut looked, mut missing) = (0, Vec::new());
    for file in &files {
        let source = fs::read_to_string(file).unwrap();
        for (line, text) in literals(&source) {
            let pieces = pieces(&text);
            if pieces.is_empty() || NO_MESSAGES.iter().chain(&LOG_ONLY).any(|other| text.contains(other)) {
                continue;
            }
            looked += 1;
            if !pieces.iter().any(|piece| page.contains(piece)) {
                missing.push(format!("{file}:{line}: {text}"));
            }
        }
    }
    assert!(looked > 150, "only {looked} messages were found in the sources");
    assert!(
        missing.is_empty(),
        "{PAGE} does not explain these; put their words, …for what varies, into the table of the place where they are met:\n{}",
        missing.join("\n")
    );
}
