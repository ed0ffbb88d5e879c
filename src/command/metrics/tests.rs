use super::*;
use crate::command::status::tests::row;

#[test]
fn a_lineage_that_cannot_be_compared_is_not_passed_over_in_silence() {
    assert!(text(&[], 2).contains("\ncertcast_unfit_lineages 2\n"));
    assert!(text(&[row("web1")], 0).contains("\ncertcast_unfit_lineages 0\n"));
}

#[test]
fn only_what_is_in_line_counts_as_such_and_who_answers_was_reached() {
    let value = |name: &str, row: &Row| {
        let text = text(std::slice::from_ref(row), 0);
        let line = text.lines().find(|line| line.starts_with(&format!("{name}{{"))).unwrap();
        line.rsplit(' ').next().unwrap().to_owned()
    };
    assert_eq!(value("certcast_in_line", &row("web1")), "1");
    for state in [State::NotServed { place: "nginx".into() }, State::PartlySeen] {
        assert_eq!(value("certcast_in_line", &Row { state, ..row("web1") }), "0");
    }
    // It answered that this key is for other lineages.
    let withheld = Row { state: State::Unknown { cause: "--only".into() }, ..row("web1") };
    assert_eq!((value("certcast_reached", &withheld), value("certcast_in_line", &withheld)), ("1".into(), "0".into()));
    let away = Row { receiver: None, ..withheld };
    assert_eq!(value("certcast_reached", &away), "0");
}
