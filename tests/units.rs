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

/// What a key of a unit holds.
fn values(unit: &str, key: &str) -> Vec<String> {
    let text = fs::read_to_string(Path::new("examples/systemd").join(unit)).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

#[test]
fn what_a_crash_left_is_recovered_before_any_service_that_certcast_knows_starts() {
    let source = fs::read_to_string("src/model/config/service.rs").unwrap();
    let presets: Vec<_> =
        source.split("Preset {").filter_map(|preset| preset.trim_start().strip_prefix("name: \"")).collect();
    assert!(presets.len() >= 5, "{presets:?}");
    let unit = "certcast-recover.service";
    let (before, after) = (values(unit, "Before"), values(unit, "After"));
    for preset in presets {
        let service = format!("{}.service", preset.split('"').next().unwrap());
        assert!(before.contains(&service), "{service} may start before");
        assert!(!after.contains(&service), "{service} is to have started before");
    }
    // Whoever starts with the machine is started in one go with it.
    assert_eq!(values(unit, "WantedBy"), ["multi-user.target"]);
    assert!(values(unit, "Requires").is_empty() && values(unit, "Type") == ["oneshot"], "it is waited for to its end");
}
