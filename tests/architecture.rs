//! The architecture that `docs/architecture.md` describes is the one that the code has.
#![cfg(test)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What each layer may use. `cli` and `command` are the top; `primary` and `peer` never meet.
const MAY_USE: [(&str, &[&str]); 7] = [
    ("model", &["model"]),
    ("sys", &["sys", "model"]),
    ("wire", &["wire", "sys", "model"]),
    ("peer", &["peer", "wire", "sys", "model"]),
    ("primary", &["primary", "wire", "sys", "model"]),
    ("cli", &["peer", "model"]),
    ("command", &["cli", "command", "peer", "primary", "wire", "sys", "model"]),
];

/// A file holds one concept; tests beside it may be longer.
const LINES_AT_MOST: usize = 330;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

fn is_test(path: &Path) -> bool {
    path.iter().any(|part| part.to_str().unwrap().trim_end_matches(".rs").ends_with("tests"))
        || path.ends_with("sshd_fixture.rs")
}

/// The first component below `src`, which is the layer's name.
fn layer(path: &Path) -> String {
    let first = path.iter().nth(1).unwrap().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// The layers that a file names by `crate::`.
fn used(text: &str) -> BTreeSet<String> {
    let after = text.split("crate::").skip(1);
    after.map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()).collect()
}

#[test]
fn dependencies_point_one_way() {
    let mut wrong = Vec::new();
    for path in sources() {
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == layer(&path)) else { continue };
        let text = fs::read_to_string(root().join(&path)).unwrap();
        for layer in used(&text) {
            if !allowed.contains(&layer.as_str()) {
                wrong.push(format!("{} uses crate::{layer}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_layer_has_its_rule() {
    let layers: BTreeSet<_> = sources().iter().map(|path| layer(path)).collect();
    let known: BTreeSet<_> = MAY_USE.iter().map(|(name, _)| (*name).to_owned()).collect();
    let outside: Vec<_> = layers.difference(&known).filter(|name| !["main", "lib"].contains(&name.as_str())).collect();
    assert!(outside.is_empty(), "{outside:?}");
}

#[test]
fn the_map_names_every_file_and_no_other() {
    let text = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let map = text.split("## The map").nth(1).unwrap().split("\n## ").next().unwrap();
    let ticked = map
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| word.starts_with("src/") && Path::new(word).extension().is_some());
    let named: BTreeSet<PathBuf> = ticked.map(PathBuf::from).collect();
    let there: BTreeSet<PathBuf> = sources().into_iter().filter(|path| !is_test(path)).collect();
    let missing: Vec<_> = there.difference(&named).collect();
    let gone: Vec<_> = named.difference(&there).collect();
    assert!(missing.is_empty() && gone.is_empty(), "not in the map: {missing:#?}; not in the tree: {gone:#?}");
}

#[test]
fn a_file_is_one_concept_and_no_longer_than_a_sitting() {
    let long = sources().into_iter().filter(|path| !is_test(path)).filter_map(|path| {
        let lines = fs::read_to_string(root().join(&path)).unwrap().lines().count();
        (lines > LINES_AT_MOST).then(|| format!("{}: {lines}", path.display()))
    });
    assert_eq!(long.collect::<Vec<_>>(), Vec::<String>::new());
}

/// What a file says of itself: its first `//!` paragraph on one line, and without the brackets of links.
fn says_of_itself(text: &str) -> String {
    let words = text.lines().map_while(|line| line.strip_prefix("//! "));
    words.collect::<Vec<_>>().join(" ").replace("[`", "`").replace("`]", "`")
}

#[test]
fn the_map_says_of_each_file_what_it_says_of_itself() {
    let text = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `src/")?.strip_suffix(" |")?.split_once("` | "));
    let rows: Vec<_> = rows.filter(|(path, _)| Path::new(path).extension().is_some()).collect();
    assert!(rows.len() > 50, "{rows:?}");
    let mut wrong = Vec::new();
    for (path, row) in rows {
        let itself = says_of_itself(&fs::read_to_string(root().join("src").join(path)).unwrap());
        if itself != row && !itself.starts_with(&format!("{row} ")) {
            wrong.push(format!("src/{path}\n  the map:  {row}\n  the file: {itself}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_dependency_has_its_line_of_reason() {
    let manifest: toml::Table = fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let text = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let reasons = text.split("## Dependencies").nth(1).unwrap().split("\n## ").next().unwrap();
    for table in ["dependencies", "dev-dependencies"] {
        for name in manifest[table].as_table().unwrap().keys() {
            assert!(reasons.contains(&format!("\n| `{name}` | ")), "{name} has no reason");
        }
    }
}
