//! The docs against the repository: what they name exists, and says the same.
#![cfg(test)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All files that git knows of here. A copy without git's data has no list.
fn files() -> Vec<String> {
    // The tests run as root, and the files may be somebody else's.
    let trusted = concat!("safe.directory=", env!("CARGO_MANIFEST_DIR"));
    let listed = Command::new("git").args(["-c", trusted, "ls-files", "-z"]).output();
    let listed = listed.unwrap_or_else(|error| panic!("git, to list the files: {error}"));
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let names = String::from_utf8_lossy(&listed.stdout).into_owned();
    names.split_terminator('\0').filter(|name| Path::new(name).exists()).map(str::to_owned).collect()
}

/// The targets of a page's links to other files of the repository.
fn links(page: &str) -> Vec<String> {
    let text = text(page);
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
    targets.filter(|target| !target.is_empty() && !target.contains("://")).map(str::to_owned).collect()
}

#[test]
fn the_readmes_commands_can_be_run() {
    let readme = text("README.md");
    for command in ["./examples/round-robin/demo", "./tests/run"] {
        assert!(readme.lines().any(|line| line.split_whitespace().next() == Some(command)), "{command}");
    }
    let scripts = ["examples/round-robin/demo", "tests/run", ".ci/run", "hooks/auth", "hooks/cleanup", "hooks/deploy"];
    for script in scripts {
        let mode = fs::metadata(script).unwrap_or_else(|error| panic!("{script}: {error}")).permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{script} is not executable");
        assert!(text(script).starts_with("#!/bin/"), "{script}");
    }
}

#[test]
fn the_readmes_exit_codes_are_the_programs() {
    let source = text("src/model/exit_code.rs");
    let body = source.split("pub enum ExitCode {").nth(1).and_then(|rest| rest.split('}').next()).unwrap();
    let mut meaning = String::new();
    let mut rows = Vec::new();
    for line in body.lines().map(str::trim) {
        if let Some(words) = line.strip_prefix("/// ") {
            meaning = words.to_owned();
        } else if let Some((name, code)) = line.trim_end_matches(',').split_once(" = ") {
            rows.push(format!("| {code} | {} | {meaning} |", name.to_lowercase()));
        }
    }
    assert_eq!(rows.len(), 6, "{rows:?}");
    let readme = text("README.md");
    let table: Vec<&str> = readme
        .lines()
        .skip_while(|line| *line != "## Exit codes")
        .skip(3)
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert_eq!(table, rows);
}

#[test]
fn every_example_is_in_the_readme() {
    let readme = text("README.md");
    let examples = files().into_iter().filter(|path| Path::new(path).parent() == Some(Path::new("examples")));
    let examples: Vec<_> = examples.filter(|path| path.ends_with("toml")).collect();
    assert!(examples.len() >= 4, "{examples:?}");
    for example in examples {
        assert!(readme.contains(&format!("({example})")), "{example}");
    }
}

#[test]
fn the_readmes_configuration_is_the_example() {
    let readme = text("README.md");
    let shown = readme.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let (shown, example) = (shown.parse::<toml::Table>().unwrap(), text("examples/two-servers.toml"));
    assert_eq!(shown, example.parse::<toml::Table>().unwrap());
}

#[test]
fn no_link_between_pages_is_broken() {
    let pages = files().into_iter().filter(|path| Path::new(path).extension().is_some_and(|e| e == "md"));
    for page in pages {
        for target in links(&page) {
            let path = Path::new(&page).parent().unwrap().join(&target);
            assert!(path.exists(), "{page} links to {target}");
        }
    }
}

/// The body of a type in a source file, its comments and attributes left out.
fn body(source: &str, head: &str) -> Vec<String> {
    let text = text(source);
    let rest = text.split_once(&format!("pub {head} {{\n")).unwrap_or_else(|| panic!("{source} has no {head}")).1;
    let lines = rest.lines().take_while(|line| *line != "}");
    lines.filter(|line| !line.trim_start().starts_with(['/', '#'])).map(str::to_owned).collect()
}

/// `{a, b}`: the fields among these lines, or nothing.
fn braced<'l>(lines: impl Iterator<Item = &'l str>) -> String {
    let names = lines.filter_map(|line| line.trim().trim_start_matches("pub ").split_once(": "));
    let names: Vec<_> = names.map(|(name, _)| name).collect();
    if names.is_empty() { String::new() } else { format!(" {{{}}}", names.join(", ")) }
}

/// `TokenFailure` as the wire or a page writes it.
fn separated(name: &str, by: &str) -> String {
    let mut all = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !all.is_empty() {
            all.push_str(by);
        }
        all.extend(letter.to_lowercase());
    }
    all
}

/// The variants of an enum, each as `` `verb` {fields} ``.
fn variants(source: &str, name: &str) -> Vec<String> {
    let lines = body(source, &format!("enum {name}"));
    let is_variant = |line: &String| line.starts_with("    ") && line[4..].starts_with(|c: char| c.is_uppercase());
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| is_variant(line)) {
        let word: String = line.trim().chars().take_while(|c| c.is_alphanumeric()).collect();
        let own = lines[at + 1..].iter().take_while(|line| !is_variant(line)).map(String::as_str);
        found.push(format!("`{}`{}", separated(&word, "-"), braced(own)));
    }
    found
}

#[test]
fn the_protocols_page_has_every_message_with_every_field() {
    let page = text("docs/protocol.md");
    let (wire, outcomes) = ("src/wire/message.rs", "src/model/outcome.rs");
    let (requests, replies) = (variants(wire, "Request"), variants(wire, "Reply"));
    let ends = variants(outcomes, "Outcome");
    let presences = variants("src/wire/presence.rs", "Presence");
    let counts = (requests.len(), replies.len(), ends.len(), presences.len());
    assert_eq!(counts, (10, 10, 6, 3), "{requests:?} {replies:?} {ends:?} {presences:?}");
    let mut missing = Vec::new();
    let rows = requests.iter().chain(&ends).chain(&presences).map(|row| format!("\n| {row} |"));
    missing.extend(rows.filter(|row| !page.contains(row)));
    let answers = page.split("| request | reply |").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap();
    let answers: String = answers.lines().filter_map(|line| line.split(" | ").nth(1)).collect();
    missing.extend(replies.into_iter().filter(|reply| !answers.contains(reply)));
    let parts = [
        (wire, "Withdrawal"),
        (wire, "TokenFailure"),
        (wire, "Installed"),
        (wire, "Ended"),
        (wire, "Offer"),
        (wire, "Version"),
        (wire, "TreeAttributes"),
        (wire, "Ownership"),
        (wire, "Wishes"),
        ("src/model/bundle.rs", "PemFiles"),
        ("src/model/challenge.rs", "Challenge"),
    ];
    for (source, name) in parts {
        let fields = braced(body(source, &format!("struct {name}")).iter().map(String::as_str));
        let row = format!("\n| {} |{fields} |", separated(name, " "));
        if !page.contains(&row) {
            missing.push(row);
        }
    }
    let steps = variants(outcomes, "Step").join(", ");
    if !page.contains(&format!("The steps are {steps}.")) {
        missing.push(steps);
    }
    assert!(missing.is_empty(), "not in docs/protocol.md: {missing:#?}");
}

#[test]
fn the_protocols_limits_are_the_programs() {
    let page = text("docs/protocol.md");
    for (source, code, words) in [
        ("src/wire/message.rs", "CHALLENGES_AT_MOST: usize = 1000;", "At most 1000 challenges"),
        ("src/wire/message.rs", "LINEAGES_AT_MOST: usize = 2000;", ", 2000 lineages"),
        ("src/wire/message.rs", "TOGETHER_AT_MOST: usize = 50;", "and 50 offers"),
        ("src/wire/frame.rs", "FRAME_AT_MOST: usize = 1024 * 1024;", "a length of at most 1 MiB"),
        ("src/model/bundle.rs", "FILE_AT_MOST: u64 = 128 * 1024;", "at most 128 KiB each"),
        ("src/wire/banner.rs", "NOISE_AT_MOST: usize = 8 * 1024;", "8 kB before it"),
        ("src/wire/banner.rs", "OWN: Range = Range { least: 1, most: 1 };", "This is version 1."),
    ] {
        assert!(text(source).contains(code), "{source}: {code}");
        assert!(page.contains(words), "{words}");
    }
    // What a person is to see who tries a peer by hand.
    for page in ["docs/operations.md", "docs/runbook.md"].map(text) {
        let banners: Vec<_> = page.split("`certcast-wire ").skip(1).collect();
        assert!(banners.len() > 1 && banners.iter().all(|banner| banner.starts_with("1 1`")), "{banners:?}");
    }
}

#[test]
fn every_test_that_the_threat_model_names_exists() {
    let page = text("docs/security.md");
    let named: Vec<_> = page.split('`').filter_map(|code| code.split_once("::")).collect();
    assert!(named.len() >= 15, "{named:?}");
    for (path, name) in named {
        let source = text(path);
        let at = source.find(&format!("fn {name}() {{")).unwrap_or_else(|| panic!("{path} has no {name}"));
        let attributes = source[..at].rsplit("\n\n").next().unwrap();
        assert!(attributes.contains("#[test]") && !attributes.contains("#[ignore"), "{path}::{name} is never run");
    }
    // And no claim stands alone.
    for row in page.lines().filter(|line| line.starts_with("| ") && !line.contains("shown by")) {
        assert!(row.contains("::") || row.contains("certcast-") || row == "| unit | exposure |", "{row}");
    }
}

/// Hosts that a text here may name in an address: reserved ones, and those of public documentation.
fn may_be_named(host: &str) -> bool {
    let reserved = ["example", "test", "invalid", "localhost", "example.com", "example.net", "example.org"];
    // The last is the name of what an SVG is.
    let public = ["github.com", "www.apache.org", "ntfy.sh", "events.pagerduty.com", "hooks.slack.com", "www.w3.org"];
    let ends = |suffix: &&str| host == *suffix || host.ends_with(&format!(".{suffix}"));
    let is_made_up = host.contains(['{', '$', '%', '<']) || !host.contains('.');
    is_made_up || reserved.iter().any(ends) || public.contains(&host) || is_address(host)
}

fn is_address(host: &str) -> bool {
    host.starts_with('[') || host.split('.').all(|part| part.parse::<u8>().is_ok())
}

#[test]
fn no_text_names_the_machine_it_was_written_on() {
    // Put together here, so that this file does not name them.
    let places = [["/wo", "rk/"].concat(), ["/ro", "ot/.cargo"].concat(), ["/ho", "me/"].concat()];
    let mut found = Vec::new();
    for path in files() {
        let bytes = fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        found.extend(places.iter().filter(|place| text.contains(*place)).map(|place| format!("{path}: {place}")));
        for scheme in ["http://", "https://"] {
            for rest in text.split(scheme).skip(1) {
                let end = |c: char| c == '/' || c == '"' || c == '`' || c == ')' || c == '\'' || c.is_whitespace();
                let authority = rest.split(end).next().unwrap_or_default();
                let host = authority.rsplit('@').next().unwrap_or_default();
                let host = if host.starts_with('[') { host } else { host.split(':').next().unwrap_or_default() };
                if !may_be_named(host.trim_end_matches(['.', ',', ';', '\\'])) {
                    found.push(format!("{path}: {scheme}{authority}"));
                }
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}
