//! What the fuzzer is to find again in a moment: every seed of `fuzz/seeds/`, findings of the past among them, keeps its
//! property. `tests/fuzz` searches for more.
#![cfg(test)]

#[path = "../fuzz/src/lib.rs"]
mod properties;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use certcast::peer::state::State;
use properties::PROPERTIES;

fn names_in(directory: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{directory}: {error}"));
    let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    entries.map(|entry| stem(entry.unwrap().path())).collect()
}

#[test]
fn every_property_has_its_fuzz_target_and_its_seeds() {
    let properties: BTreeSet<_> = PROPERTIES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names_in("fuzz/fuzz_targets"), properties);
    assert_eq!(names_in("fuzz/seeds"), properties);
    let manifest: toml::Table = fs::read_to_string("fuzz/Cargo.toml").unwrap().parse().unwrap();
    let programs = manifest["bin"].as_array().unwrap().iter().map(|bin| bin["name"].as_str().unwrap().to_owned());
    assert_eq!(programs.collect::<BTreeSet<_>>(), properties);
    for name in properties {
        let text = fs::read_to_string(format!("fuzz/fuzz_targets/{name}.rs")).unwrap();
        assert!(text.contains(&format!("certcast_fuzz::{name}(data)")), "{name}: {text}");
        assert!(names_in(&format!("fuzz/seeds/{name}")).len() >= 3, "{name} has few seeds");
    }
}

/// Else a record that has another field would leave them without anything to look at.
#[test]
fn the_journals_seeds_are_journals_of_every_state() {
    for (name, state) in [
        ("begun", State::Staging),
        ("switching", State::Switching),
        ("confirmed", State::Confirmed),
        ("undoing", State::Undoing),
        ("undone", State::Undone),
        ("stuck", State::Stuck),
    ] {
        let seed = fs::read(Path::new("fuzz/seeds/journal").join(name)).unwrap();
        assert_eq!(properties::state_of(&seed), Some(state), "{name}");
    }
}

#[test]
fn every_seed_keeps_its_property() {
    let mut broken = Vec::new();
    for (name, property) in PROPERTIES {
        for entry in fs::read_dir(Path::new("fuzz/seeds").join(name)).unwrap() {
            let path = entry.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            if std::panic::catch_unwind(|| property(&bytes)).is_err() {
                broken.push(path);
            }
        }
    }
    assert!(broken.is_empty(), "their properties do not hold: {broken:#?}");
}
