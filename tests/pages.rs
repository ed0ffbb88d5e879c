//! The pages that promise something and the scripts that run it: each promise names a test, and every test that is named exists.
#![cfg(test)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const RELIABILITY: &str = include_str!("../docs/reliability.md");

/// The rows of the failure matrix: alerts have a page of their own.
fn wanted() -> Vec<u32> {
    [1..=12, 20..=35, 40..=54, 60..=71, 80..=85, 90..=92].into_iter().flatten().collect()
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
        let stem = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
        let module = match stem(&path).as_str() {
            "tests" | "mod" => stem(path.parent().unwrap()),
            own => own.to_owned(),
        };
        tests.entry(module).or_default().push_str(&fs::read_to_string(&path).unwrap());
    }
    tests
}

/// Whether there is such a test and nobody has to ask for it.
fn is_test(source: &str, name: &str) -> bool {
    let Some(at) = source.find(&format!("fn {name}()")) else { return false };
    let attributes = source[..at].rsplit("\n\n").next().unwrap_or_default();
    attributes.contains("#[test]") && !attributes.contains("#[ignore")
}

/// The lab's tests, each with all of its modules before it as the harness names it, and whether it has to be asked for.
fn of_the_lab() -> Vec<(String, bool)> {
    let mut all = Vec::new();
    for path in walkdir::WalkDir::new("tests/it").into_iter().map(|entry| entry.unwrap().into_path()) {
        let Some(file) = path.strip_prefix("tests/it").unwrap().to_str().and_then(|file| file.strip_suffix(".rs"))
        else {
            continue;
        };
        let module = file.trim_end_matches("/mod").replace('/', "::");
        let source = fs::read_to_string(&path).unwrap();
        for test in source.split("#[test]\n").skip(1) {
            let (attributes, rest) = test.split_once("fn ").unwrap();
            let name = rest.split('(').next().unwrap();
            all.push((format!("{module}::{name}"), attributes.contains("#[ignore")));
        }
    }
    all
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

/// A word that no test has runs none, and ends well.
#[test]
fn every_word_by_which_a_script_chooses_tests_is_one_of_a_test_that_it_would_run() {
    let tests = of_the_lab();
    let mut words = Vec::new();
    let scripts = ["tests", "benches"].into_iter().flat_map(|directory| fs::read_dir(directory).unwrap());
    for path in scripts.map(|entry| entry.unwrap().path()).filter(|path| path.is_file() && path.extension().is_none()) {
        let text = fs::read_to_string(&path).unwrap();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((_, chosen)) = line.split_once("--test it ") else { continue };
            let is_asked =
                |test: &&(String, bool)| chosen.contains("--include-ignored") || chosen.contains("--ignored") == test.1;
            for word in chosen.split_whitespace().filter(|word| !word.starts_with(['-', '"'])) {
                let is_run = |test: &&(String, bool)| is_asked(test) && test.0.contains(word);
                assert!(tests.iter().any(|test| is_run(&test)), "{}: no test is called {word}", path.display());
                words.push(word.to_owned());
            }
        }
    }
    assert!(words.len() >= 6, "{words:?}");
}
