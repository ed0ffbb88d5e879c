use super::*;
use crate::model::outcome::{Outcome, Step};

const PAGE: &str = include_str!("../../../docs/status.md");

/// A row of a fleet that is all well: version 4, for 89 more days.
pub fn row(node: &str) -> Row {
    let number = std::num::NonZeroU32::new(4).unwrap();
    Row {
        node: node.parse().unwrap(),
        lineage: "www.site.test".parse().unwrap(),
        state: State::InLine,
        number: Some(number),
        expected: number,
        not_after: None,
        days_left: Some(89),
        served: Some(Served { current: 2, ..Served::default() }),
        pending_since: None,
        last_success: None,
        last_outcome: None,
        last_delivery: None,
        receiver: Some("0.1.0".to_owned()),
        life: 90,
    }
}

/// The fleet that the page shows.
pub fn shown_on_the_page() -> Vec<Row> {
    let mut behind = Row { state: State::Behind, days_left: Some(12), ..row("web2") };
    behind.number = std::num::NonZeroU32::new(3);
    behind.pending_since = Some("2026-03-01T04:12:09Z".parse().unwrap());
    let refused =
        Outcome::Refused { step: Step::Baseline, cause: "'nginx -t' failed (exit status: 1): …".to_owned() };
    behind.last_outcome = Some(refused.to_string());
    let missed = "nginx for www.site.test at 192.0.2.3:443 shows another certificate".to_owned();
    let served = Served { other: 2, missed: Some(missed.clone()), ..Served::default() };
    let unserved = Row { state: State::NotServed { place: missed }, served: Some(served), ..row("web3") };
    let cause = "192.0.2.4: no answer in time while connecting".to_owned();
    let state = State::Unknown { cause };
    let away = Row { state, number: None, days_left: None, served: None, receiver: None, ..row("web4") };
    vec![row("web1"), behind, unserved, away]
}

/// The blocks of code on the page.
pub fn blocks() -> Vec<&'static str> {
    PAGE.split("```\n").skip(1).step_by(2).map(str::trim_end).collect()
}

#[test]
fn a_state_that_has_no_room_beside_its_row_begins_below_it() {
    let rows = shown_on_the_page();
    let wide = table(&rows, false, None);
    assert_eq!(table(&rows, false, wide.iter().map(|line| line.chars().count()).max()), wide);
    let narrow = table(&rows, false, Some(80)).join("\n");
    assert!(narrow.lines().filter(|line| !line.starts_with("    ")).all(|line| line.chars().count() <= 80), "{narrow}");
    assert_eq!(narrow.split_whitespace().collect::<Vec<_>>(), wide.join("\n").split_whitespace().collect::<Vec<_>>());
}

#[test]
fn the_page_shows_what_the_program_prints() {
    assert_eq!(blocks()[0], table(&shown_on_the_page(), false, None).join("\n"));
}

#[test]
fn the_column_served_tells_what_was_seen_and_not_more() {
    let seen = Served { current: 1, ..Served::default() };
    assert_eq!(served(&seen), "yes");
    assert_eq!(served(&Served { other: 1, missed: Some("nginx".into()), ..seen.clone() }), "in part");
    assert_eq!(served(&Served { older: 1, ..seen }), "in part");
    assert_eq!(served(&Served { older: 1, other: 1, ..Served::default() }), "older");
    assert_eq!(served(&Served { none: 1, unasked: 1, ..Served::default() }), "no");
    assert_eq!(served(&Served { unasked: 1, ..Served::default() }), "?");
}

#[test]
fn every_exit_code_has_its_case_and_is_on_the_page() {
    let is = |states: &[State]| -> Vec<Row> {
        states.iter().map(|state| Row { state: state.clone(), ..row("web1") }).collect()
    };
    let stuck = State::Stuck { cause: "no".into() };
    assert_eq!(code(&is(&[State::InLine, State::PartlySeen]), false), ExitCode::Partly);
    assert_eq!(code(&is(&[State::NotServed { place: "nginx".into() }]), false), ExitCode::Failed);
    assert_eq!(code(&[], true), ExitCode::Refused);
    assert_eq!(code(&is(&[State::InLine, stuck]), true), ExitCode::Stuck);
    let codes = PAGE.lines().find(|line| line.starts_with("Exit codes: ")).unwrap();
    for code in ["codes: 0 ", "; 3 ", "; 1 ", "; 2 ", "; 4 ", "; 5 "] {
        assert!(codes.contains(code), "{code}");
    }
}
