//! The systemd units in `examples/systemd`, by systemd's own judgement. No systemd has to run for it.
#![cfg(test)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const UNITS: [&str; 3] = ["certcast-recover.service", "certcast-resync.service", "certcast-resync.timer"];

/// systemd-analyze, with the units in a directory of their own and a certcast that is there.
fn analyze(words: &[&str], units: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    for unit in UNITS {
        let text = fs::read_to_string(Path::new("examples/systemd").join(unit)).unwrap();
        let text = text.replace("/usr/local/bin/certcast", env!("CARGO_BIN_EXE_certcast"));
        fs::write(home.path().join(unit), text).unwrap();
    }
    let paths = units.iter().map(|unit| format!("./{unit}"));
    let run = Command::new("systemd-analyze").args(words).args(paths).current_dir(home.path()).output();
    run.expect("systemd-analyze of the package systemd; ./tests/run installs it")
}

#[test]
fn systemd_finds_no_fault_with_the_units() {
    let said = analyze(&["verify", "--man=no"], &UNITS);
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.status.success() && !text.contains("certcast"), "{text}");
}

#[test]
fn the_units_are_as_hardened_as_the_docs_say() {
    let page = fs::read_to_string("docs/security.md").unwrap();
    // Every release weighs anew: the figures are those of one, the limit is for all.
    let version = String::from_utf8(analyze(&["--version"], &[]).stdout).unwrap();
    let version = version.split_whitespace().nth(1).unwrap();
    let is_the_pages = page.contains(&format!("(systemd {version};"));
    for unit in &UNITS[..2] {
        let said = analyze(&["security", "--offline=true", "--threshold=35", "--no-pager"], &[unit]);
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(said.status.success(), "{text}");
        let verdict = text.lines().find_map(|line| line.split_once("Overall exposure level for ")).unwrap().1;
        let figure = verdict.split_whitespace().nth(1).unwrap();
        let row = format!("| `{unit}` | {figure} |");
        assert!(!is_the_pages || page.contains(&row), "docs/security.md has not {unit}: {figure}");
    }
}
