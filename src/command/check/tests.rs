use super::*;
use crate::command::status::tests::{blocks, row, shown_on_the_page};

fn arguments() -> Check {
    Check { lineages: Vec::new(), warning: 20, critical: 7, metrics: None }
}

fn standing(rows: Vec<Row>) -> Standing {
    Standing {
        lineages: vec!["www.site.test".parse().unwrap()],
        rows,
        unfit: Vec::new(),
        routes: Vec::new(),
        alone: None,
    }
}

#[test]
fn the_page_shows_what_the_program_prints() {
    let (verdict, line) = told(&standing(shown_on_the_page()), None, &arguments());
    assert_eq!((verdict, line.as_str()), (Verdict::Warning, blocks()[1]));
}

#[test]
fn a_certificate_that_is_not_served_or_was_not_asked_for_everywhere_is_a_warning() {
    for state in [State::NotServed { place: "nginx".into() }, State::PartlySeen] {
        let (verdict, line) = told(&standing(vec![row("web1"), Row { state, ..row("web2") }]), None, &arguments());
        assert_eq!(verdict, Verdict::Warning, "{line}");
        assert!(line.contains("| total=2 out_of_line=1;0 "), "{line}");
    }
}

#[test]
fn metrics_that_cannot_be_written_hide_nothing() {
    let full = || Some(anyhow::anyhow!("the disk\nis full"));
    let (verdict, line) = told(&standing(vec![row("web1")]), full(), &arguments());
    assert_eq!(verdict, Verdict::Warning);
    assert!(line.starts_with("CERTCAST WARNING - the disk is full | total=1 "), "{line}");
    let ended = Row { days_left: Some(-1), ..row("web1") };
    let (verdict, line) = told(&standing(vec![ended]), full(), &arguments());
    assert_eq!(verdict, Verdict::Critical);
    assert!(line.starts_with("CERTCAST CRITICAL - web1 www.site.test has ended; the disk is full | "), "{line}");
}

#[test]
fn a_fleet_in_trouble_leaves_room_for_the_performance_data() {
    let cause = "x".repeat(100);
    let away = |n: usize| Row { state: State::Unknown { cause: cause.clone() }, ..row(&format!("web{n}")) };
    let (_, line) = told(&standing((0..200).map(away).collect()), None, &arguments());
    assert!(line.contains("; 190 more: 'certcast status' | total=200 out_of_line=200;0 "), "{line}");
    assert!(line.len() < 4096, "{}", line.len());
}

#[test]
fn a_long_cause_is_cut_so_that_ten_of_them_leave_room_for_the_performance_data() {
    for letter in ["x", "é", "漢", "🦀"] {
        let cause = letter.repeat(400);
        let away = |n: usize| Row { state: State::Unknown { cause: cause.clone() }, ..row(&format!("web{n}")) };
        let (_, line) = told(&standing((0..12).map(away).collect()), None, &arguments());
        assert!(line.contains(&format!("{letter}…; web1 www.site.test {letter}")), "{line}");
        assert!(line.contains("…; 2 more: 'certcast status' | total=12 out_of_line=12;0 'days "), "{line}");
        assert!(line.len() < 4096, "{letter}: {}", line.len());
    }
    assert_eq!(capped(&"x".repeat(150)), "x".repeat(150));
    assert_eq!(capped(&"x".repeat(151)), "x".repeat(150) + "…");
}
