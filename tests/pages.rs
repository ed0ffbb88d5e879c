//! The pages that promise something: each promise names a test, and every test that is named exists.
#![cfg(test)]

use std::collections::BTreeMap;

const RELIABILITY: &str = include_str!("../docs/reliability.md");

/// The rows of the failure matrix: alerts have a page of their own.
fn wanted() -> Vec<u32> {
    [1..=12, 20..=35, 40..=53, 60..=71, 80..=85, 90..=92].into_iter().flatten().collect()
}

/// What stands between a row's bars.
fn rows() -> impl Iterator<Item = Vec<&'static str>> {
    let rows = RELIABILITY.lines().filter(|line| line.starts_with("| ") && line.as_bytes()[2].is_ascii_digit());
    rows.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
}

/// `module::test` in a text, each between backticks.
fn named(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split('`').skip(1).step_by(2).filter_map(|words| words.split_once("::"))
}

/// The tests of every module, by the module's own name; `tests.rs` and `mod.rs` are their directory's.
fn tests() -> BTreeMap<String, String> {
    let mut tests: BTreeMap<String, String> = BTreeMap::new();
    let files = ["src", "tests"].into_iter().flat_map(walkdir::WalkDir::new).map(|entry| entry.unwrap().into_path());
    for path in files.filter(|path| path.extension().is_some_and(|extension| extension == "rs")) {
        let stem = |path: &std::path::Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
        let module = match stem(&path).as_str() {
            "tests" | "mod" => stem(path.parent().unwrap()),
            own => own.to_owned(),
        };
        tests.entry(module).or_default().push_str(&std::fs::read_to_string(&path).unwrap());
    }
    tests
}

fn is_test(source: &str, name: &str) -> bool {
    let at = source.find(&format!("fn {name}()"));
    at.is_some_and(|at| source[..at].rsplit("\n\n").next().unwrap_or_default().contains("#[test]"))
}

#[test]
fn every_row_of_the_failure_matrix_is_promised_once_and_names_a_test() {
    let numbers: Vec<u32> = rows().map(|row| row[0].parse().unwrap()).collect();
    assert_eq!(numbers, wanted());
    for row in rows() {
        assert_eq!(row.len(), 4, "{row:?}");
        assert!(named(row[3]).next().is_some(), "row {} names no test", row[0]);
    }
}

#[test]
fn every_test_that_a_page_names_exists() {
    let tests = tests();
    let exists = |(module, name): &(&str, &str)| tests.get(*module).is_some_and(|source| is_test(source, name));
    let missing: Vec<_> = named(RELIABILITY).filter(|named| !exists(named) && named.0 != "module").collect();
    assert!(missing.is_empty(), "no such tests: {missing:#?}");
}
