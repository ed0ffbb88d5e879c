//! The rules and the dashboard in `examples/prometheus`, by promtool's judgement.
#![cfg(test)]

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const EXAMPLES: &str = "examples/prometheus";

fn promtool(words: &[&str], directory: &Path) -> Output {
    let ran = Command::new("promtool").args(words).current_dir(directory).output();
    ran.expect("promtool of the package prometheus; ./tests/run installs it")
}

#[track_caller]
fn is_well(ran: &Output) {
    let text = String::from_utf8_lossy(&[ran.stdout.as_slice(), &ran.stderr].concat()).into_owned();
    assert!(ran.status.success() && text.contains("SUCCESS"), "{text}");
}

#[test]
fn the_alerts_fire_when_they_should() {
    is_well(&promtool(&["check", "rules", "rules.yml"], Path::new(EXAMPLES)));
    is_well(&promtool(&["test", "rules", "rules-test.yml"], Path::new(EXAMPLES)));
}

#[test]
fn every_question_of_the_dashboard_is_one_and_asks_for_metrics_that_there_are() {
    let dashboard = fs::read_to_string(Path::new(EXAMPLES).join("dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let metrics = fs::read_to_string("src/command/metrics.rs").unwrap();
    let targets = dashboard["panels"].as_array().unwrap().iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let questions: Vec<&str> = targets.map(|target| target["expr"].as_str().unwrap()).collect();
    assert!(questions.len() >= 5, "{questions:?}");
    let mut rules = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
    for (at, question) in questions.iter().enumerate() {
        writeln!(rules, "      - record: dashboard:{at}\n        expr: {}", serde_json::to_string(question).unwrap())
            .unwrap();
        let words = question.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
        for metric in words.filter(|word| word.starts_with("certcast_")) {
            assert!(metrics.contains(&format!("\"{metric}\"")), "{metric}");
        }
    }
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("rules.yml"), rules).unwrap();
    is_well(&promtool(&["check", "rules", "rules.yml"], home.path()));
}
