//! The runbook against the program: every message that can reach a person has an entry in `docs/runbook.md`, and is
//! found there by its own words.
//!
//! A message is any string literal of two words or more in `src/`, wherever it is used: an error, a cause, a hint, a note, a
//! line of the log. So a new one cannot be forgotten by being said in a new way. What is no message is named in `NO_MESSAGES`.
//!
//! Its words are its fixed parts. Those of at least `LONG_ENOUGH` characters must stand in code spans of the page, word for
//! word, the first `COMPARED` characters of each; a message without such a part must be there as a whole, with `…` for what varies.
#![cfg(test)]

use std::fs;
use std::path::Path;

const PAGE: &str = "docs/runbook.md";
/// Shorter parts ("failed", "cannot read") are in many messages.
const LONG_ENOUGH: usize = 12;
/// What is longer is found by its beginning; the entry need not repeat a remedy of three lines.
const COMPARED: usize = 60;
/// What glues a part to the next one.
const PUNCTUATION: [char; 8] = [':', ';', ',', '.', '\'', '"', '(', ')'];

/// What these files say is shown below a file, a line and a column, with the line itself and a caret: one entry tells how to
/// read that, whatever the words are. `error.rs`, beside them, is about the whole file and has an entry for each message.
const SHOWN_WITH_THEIR_PLACE: [&str; 9] = [
    "src/model/config/alert.rs",
    "src/model/config/check.rs",
    "src/model/config/check_alert.rs",
    "src/model/config/check_peer.rs",
    "src/model/config/diagnostic.rs",
    "src/model/config/pattern.rs",
    "src/model/config/service.rs",
    "src/model/config/ssh_target.rs",
    "src/model/config/value.rs",
];

/// Literals that nobody is shown: file, literal, why.
const NO_MESSAGES: [(&str, &str, &str); 23] = [
    ("src/primary/link/identity.rs", "BEGIN ENCRYPTED PRIVATE KEY", "is looked for in a file"),
    ("src/primary/link/identity.rs", "Proc-Type: 4,ENCRYPTED", "is looked for in a file"),
    ("src/primary/link/authenticate.rs", "Invalid signature", "is what libssh2 says"),
    ("src/primary/link/authenticate.rs", "ssh agent", "a thread's name"),
    ("src/primary/link/child.rs", "child end", "a thread's name"),
    ("src/primary/link/watchdog.rs", "ssh deadline", "a thread's name"),
    ("src/primary/own_program.rs", "{} --config {config}", "is written to certbot's configuration"),
    ("src/primary/renewal.rs", "{} deploy", "is part of a command"),
    ("src/primary/by_itself.rs", "{} resync >/dev/null", "is a line of cron's"),
    ("src/sys/timetable.rs", "! -d /run/systemd/system", "is looked for in a line of cron's"),
    ("src/peer/sudo.rs", "Sudoers entry", "is what sudo says"),
    ("src/peer/login.rs", "sudo -n {RECEIVE}", "is written to authorized_keys"),
    (
        "src/peer/login.rs",
        "# certcast: the one command that the user may have run, with just these arguments and nothing of his environment. \
         Defaults:{user} env_reset, !setenv, !requiretty {user} ALL = (root) NOPASSWD: {RECEIVE} ",
        "is written to sudoers.d",
    ),
    ("src/primary/visit.rs", "uname -sm; id -u; uname -n; sha256sum {PROGRAM} 2>/dev/null; true", "is run"),
    (
        "src/primary/visit.rs",
        "umask 022 && new=$(mktemp {PROGRAM}.XXXXXX) && {{ head -c {length} >$new && \
         echo \"{digest}  $new\" | sha256sum -c >/dev/null && chmod 755 $new && $new --version >/dev/null && \
         mv -f $new {PROGRAM} || {{ rm -f $new; false; }}; }}",
        "is run",
    ),
    ("src/primary/visit.rs", "rm -f {PROGRAM}", "is run"),
    ("src/primary/visit.rs", "echo {BEGIN}; {{ {command}; }} && echo {END}", "is run"),
    ("src/primary/register.rs", " [[peer]] name = \"{name}\" ssh = {} ", "is written to the configuration"),
    ("src/primary/register.rs", "addresses = {}", "is written to the configuration"),
    ("src/primary/register.rs", "lineages = {}", "is written to the configuration"),
    (
        "src/command/init.rs",
        " # What leaves this server, with its private key. [deploy] lineages = [{lineage}] ",
        "is written to the configuration",
    ),
    ("src/peer/found.rs", " [[service]] name = \"{server}\" ", "is written to the configuration"),
    (
        "src/peer/found.rs",
        "# What uses certificates on this server, for certcast. [node] name = \"{name}\" webroot = {} ",
        "is written to the configuration",
    ),
];

#[derive(Debug, PartialEq)]
struct Message {
    place: String,
    text: String,
}

/// What is sent to receivers: docs/alerts.md has it.
const FORMATS_OF_ALERTS: [&str; 8] =
    ["alertmanager.rs", "email.rs", "influx.rs", "notice.rs", "ntfy.rs", "pagerduty.rs", "slack.rs", "webhook.rs"];

/// All sources of the program; files of tests are left out, and so are the help, the metrics, the page and alerts, which are
/// their own explanation.
fn sources() -> Vec<(String, String)> {
    let is_test = |path: &Path| {
        let mut parts = path.iter().map(|part| part.to_string_lossy().into_owned());
        parts.any(|part| part == "tests" || part.ends_with("tests.rs") || part.ends_with("fixture.rs"))
            || ["src/cli.rs", "src/command/metrics.rs", "src/command/status/page.rs"]
                .iter()
                .any(|own| path == Path::new(own))
            || FORMATS_OF_ALERTS.iter().any(|own| path == Path::new("src/primary/alert").join(own))
    };
    let all = walkdir::WalkDir::new("src").sort_by_file_name().into_iter().map(Result::unwrap);
    let files = all.filter(|entry| entry.path().extension().is_some_and(|end| end == "rs") && !is_test(entry.path()));
    files.map(|file| (file.path().display().to_string(), fs::read_to_string(file.path()).unwrap())).collect()
}

/// The source without its modules of tests; no line changes its number.
fn without_tests(source: &str) -> String {
    let mut kept = String::new();
    let mut is_attributed = false;
    let mut is_test = false;
    for line in source.lines() {
        is_test |= is_attributed && line.starts_with("mod ") && line.ends_with('{');
        kept.push_str(if is_test { "" } else { line });
        kept.push('\n');
        is_test &= line != "}";
        is_attributed = line == "#[cfg(test)]";
    }
    kept
}

/// The string literals of a source, each with its line; comments, characters and byte strings are passed over.
fn literals(source: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let (mut rest, mut before, mut line) = (source, ' ', 1);
    while let Some(c) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").expect("a comment ends") + 2
        } else if c == '\'' {
            end_of_character(rest)
        } else if let Some(hashes) = raw_string(rest).filter(|_| !is_word(before)) {
            let (begin, end) = (hashes + 2, format!("\"{}", "#".repeat(hashes)));
            let length = rest[begin..].find(&end).expect("a raw string ends");
            found.push((line, rest[begin..begin + length].to_owned()));
            begin + length + end.len()
        } else if c == '"' {
            let length = end_of_string(&rest[1..]);
            if before != 'b' {
                found.push((line, unescaped(&rest[1..=length])));
            }
            length + 2
        } else {
            c.len_utf8()
        };
        line += rest[..length].matches('\n').count();
        before = rest[..length].chars().last().unwrap_or(' ');
        rest = &rest[length..];
    }
    found
}

/// The length of a character in its quotes; of the quote alone where a lifetime begins.
fn end_of_character(rest: &str) -> usize {
    let mut inside = rest[1..].chars();
    match (inside.next(), inside.next()) {
        (Some('\\'), _) => 3 + rest[3..].find('\'').expect("a character ends") + 1,
        (Some(c), Some('\'')) => 2 + c.len_utf8(),
        _ => 1,
    }
}

/// How many `#` a raw string begins with, if one begins here.
fn raw_string(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix('r')?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].starts_with('"').then_some(hashes)
}

fn end_of_string(body: &str) -> usize {
    let mut is_escaped = false;
    let end = body.char_indices().find(|(_, c)| {
        let ends = *c == '"' && !is_escaped;
        is_escaped = *c == '\\' && !is_escaped;
        ends
    });
    end.expect("a string ends").0
}

/// As it is printed: a line that is continued goes on at its first word.
fn unescaped(body: &str) -> String {
    let mut text = String::new();
    let mut rest = body.chars().peekable();
    while let Some(c) = rest.next() {
        match (c, rest.peek()) {
            ('\\', Some('\n')) => while rest.next_if(|c| c.is_whitespace()).is_some() {},
            ('\\', Some('n' | 't' | '0')) => {
                rest.next();
                text.push(' ');
            }
            ('\\', Some(_)) => text.extend(rest.next()),
            _ => text.push(c),
        }
    }
    text
}

/// The message with `…` for whatever is put into it, its spaces made single.
fn with_dots(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '{' | '}' if rest.next_if_eq(&c).is_some() => shown.push(c),
            '{' => {
                rest.by_ref().find(|c| *c == '}');
                shown.push('…');
            }
            _ => shown.push(c),
        }
    }
    while shown.contains("……") {
        shown = shown.replace("……", "…");
    }
    shown.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What must stand on the page.
fn wanted(text: &str) -> Vec<String> {
    let whole = with_dots(text);
    let parts = whole.split('…').map(|part| part.trim_matches(|c: char| c == ' ' || PUNCTUATION.contains(&c)));
    let parts = parts.filter(|part| part.chars().count() >= LONG_ENOUGH);
    let parts: Vec<_> = parts.map(beginning).collect();
    if parts.is_empty() { vec![whole] } else { parts }
}

/// Its first words, as many as are compared.
fn beginning(part: &str) -> String {
    let Some((cut, _)) = part.char_indices().nth(COMPARED) else { return part.to_owned() };
    part[..cut].rsplit_once(' ').map_or(part, |(words, _)| words).to_owned()
}

/// What a person can meet: two words or more, and something of them fixed. The marks of PEM files are looked for, not said.
fn is_message(text: &str) -> bool {
    text.contains(' ') && !text.contains("-----") && with_dots(text).chars().any(char::is_alphabetic)
}

fn messages(path: &str, source: &str) -> Vec<Message> {
    let is_none = |text: &str| NO_MESSAGES.iter().any(|(file, literal, _)| *file == path && *literal == text);
    let texts = literals(&without_tests(source)).into_iter().filter(|(_, text)| is_message(text) && !is_none(text));
    texts.map(|(line, text)| Message { place: format!("{path}:{line}"), text }).collect()
}

/// What the wrappers of the hooks say.
fn of_wrappers() -> Vec<Message> {
    let mut found = Vec::new();
    for path in ["hooks/auth", "hooks/cleanup", "hooks/deploy"] {
        for (at, line) in fs::read_to_string(path).unwrap().lines().enumerate() {
            let said = line.trim().strip_prefix("echo \"").and_then(|rest| rest.strip_suffix("\" >&2"));
            let message = |said: &str| Message { place: format!("{path}:{}", at + 1), text: said.replace("$0", "{}") };
            found.extend(said.map(message));
        }
    }
    found
}

/// The code spans of a page, fenced blocks left out, their spaces made single.
fn code_spans(page: &str) -> Vec<String> {
    let mut spans = Vec::new();
    let mut is_fenced = false;
    for line in page.lines() {
        if line.starts_with("```") {
            is_fenced = !is_fenced;
            continue;
        }
        let mut rest = if is_fenced { "" } else { line };
        while let Some(begin) = rest.find('`') {
            let ticks = rest[begin..].chars().take_while(|c| *c == '`').count();
            let (fence, after) = (&rest[begin..begin + ticks], &rest[begin + ticks..]);
            let length = after.find(fence).unwrap_or_else(|| panic!("a code span of {PAGE} does not end: {line}"));
            spans.push(after[..length].split_whitespace().collect::<Vec<_>>().join(" "));
            rest = &after[length + ticks..];
        }
    }
    spans
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether the words stand there, and not as the end or the beginning of longer ones.
fn has(span: &str, words: &str) -> bool {
    let ends_here = |inside: Option<char>, outside: Option<char>| {
        !inside.is_some_and(char::is_alphanumeric) || !outside.is_some_and(is_word)
    };
    span.match_indices(words).any(|(at, _)| {
        let (before, after) = (span[..at].chars().last(), span[at + words.len()..].chars().next());
        ends_here(words.chars().next(), before) && ends_here(words.chars().last(), after)
    })
}

/// For each message without an entry what is missing, and a row to begin with.
fn missing(messages: &[Message], page: &str) -> Vec<String> {
    let spans = code_spans(page);
    let mut missing = Vec::new();
    for Message { place, text } in messages {
        let lacks = wanted(text).into_iter().filter(|words| !spans.iter().any(|span| has(span, words)));
        let lacks: Vec<_> = lacks.collect();
        if !lacks.is_empty() {
            let whole = with_dots(text);
            let ticks = if whole.contains('`') { "``" } else { "`" };
            missing.push(format!(
                "{place}: not found: {}\n    a row to begin with: | {ticks}{whole}{ticks} | WHAT IT MEANS, AND WHAT STATE THE SERVER IS IN | A COMMAND TO PASTE |",
                lacks.join(" ~ ")
            ));
        }
    }
    missing
}

#[test]
fn every_message_is_found_in_the_runbook_by_its_own_words() {
    let mut all = of_wrappers();
    for (path, source) in sources() {
        if !SHOWN_WITH_THEIR_PLACE.contains(&path.as_str()) {
            all.extend(messages(&path, &source));
        }
    }
    assert!(all.len() > 300, "{} messages: are they no longer found?", all.len());
    let missing = missing(&all, &fs::read_to_string(PAGE).unwrap());
    assert!(
        missing.is_empty(),
        "No entry in {PAGE} for {} message(s). Give each a row in the table of the place where a person meets it, or add \
         its words to the first column of a row that tells the same. What nobody is ever shown goes into NO_MESSAGES \
         (tests/messages.rs) with a reason.\n\n{}\n",
        missing.len(),
        missing.join("\n")
    );
}

#[test]
fn what_is_said_of_a_configuration_is_shown_with_its_place_and_has_one_entry() {
    let page = fs::read_to_string(PAGE).unwrap();
    assert!(page.contains("\n --> /etc/certcast/config.toml:"), "{PAGE} does not show how to read them");
    for path in SHOWN_WITH_THEIR_PLACE {
        let source = fs::read_to_string(path).unwrap();
        let gives_a_place = ["Fault::new(", "ValueError::", "Diagnostic"].iter().any(|word| source.contains(word));
        assert!(gives_a_place, "{path} says nothing with a place: take it out of SHOWN_WITH_THEIR_PLACE");
        for words in ["complain(", "anyhow!", "bail!", "Halt::refused(", "tracing::"] {
            assert!(!without_tests(&source).contains(words), "{path} also speaks without a place: {words}");
        }
    }
}

#[test]
fn every_step_that_an_outcome_names_is_explained() {
    let outcome = fs::read_to_string("src/model/outcome.rs").unwrap();
    let names: Vec<_> =
        outcome.lines().filter_map(|line| line.trim().strip_prefix("Step::")?.split('"').nth(1)).collect();
    assert!(names.len() >= 11, "{names:?}");
    let page = fs::read_to_string(PAGE).unwrap();
    let lacks: Vec<_> = names.iter().filter(|name| !page.contains(&format!("\n| `{name}` | "))).collect();
    assert!(lacks.is_empty(), "{PAGE} has no row for the steps {lacks:?}: | `NAME` | WHAT IS DONE THERE |");
}

#[test]
fn what_is_no_message_is_still_there() {
    for (path, literal, why) in NO_MESSAGES {
        let source = fs::read_to_string(path).unwrap();
        let is_there = literals(&without_tests(&source)).iter().any(|(_, text)| text == literal);
        assert!(is_there, "{path} no longer has {literal:?} ({why}): take it out of NO_MESSAGES");
    }
}

/// The test of the test: what it reads of a source, and that a page does not do by accident.
#[test]
fn a_message_is_read_as_it_is_printed_and_missed_where_a_part_of_it_is_missing() {
    let source = "/// \"a comment of words\"\nconst A: &[u8] = b\"some bytes here\";\nfn f<'a>(c: char) { if c == '\"' {} }\n\
                  #[error(\"{0}: the disk is \\\n         full of {1:o}\")]\n#[cfg(test)]\nmod tests {\n    \"not this one\";\n}\n\
                  fn g() { say(r#\"raw words {}\"#) }\n";
    let found = messages("src/x.rs", source);
    let (first, second) = ("{0}: the disk is full of {1:o}", "raw words {}");
    let message = |line: usize, text: &str| Message { place: format!("src/x.rs:{line}"), text: text.to_owned() };
    assert_eq!(found, [message(4, first), message(10, second)]);
    assert_eq!((wanted(first), wanted(second)), (vec!["the disk is full of".into()], vec!["raw words …".to_owned()]));
    let lacks = |page: &str| missing(&found, page).len();
    assert_eq!(lacks("| `/dev/sda: the disk is full of …` or `raw words …` |"), 0);
    assert_eq!(lacks(": the disk is full of it, raw words …"), 2, "prose is no entry");
    assert_eq!(lacks("| `x: the disk is fully` | `straw words …` |"), 2, "other words are no entry");
    let long = "a".repeat(30) + " " + &"b".repeat(40);
    assert_eq!(beginning(&long), "a".repeat(30));
}
