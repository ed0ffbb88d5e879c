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

/// Hosts that a text here may name in an address: reserved ones, and those of public documentation.
fn may_be_named(host: &str) -> bool {
    let reserved = ["example", "test", "invalid", "localhost", "example.com", "example.net", "example.org"];
    let public = ["github.com", "www.apache.org", "ntfy.sh", "events.pagerduty.com", "hooks.slack.com"];
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
