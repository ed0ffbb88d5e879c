use super::*;
use crate::model::outcome::Step;

fn seen(outcome: Option<Outcome>) -> Option<Observation> {
    let (node, lineage) = ("web2".parse().unwrap(), "www.site.test".parse().unwrap());
    of_delivery(&Delivery { node, lineage, outcome, is_held_back: false, changes: Vec::new() })
}

#[test]
fn every_outcome_that_is_a_trouble_says_how_bad_it_is_where_it_failed_and_what_to_do() {
    let cause = || "why".to_owned();
    let resync = "certcast resync www.site.test";
    for (outcome, event, severity, step, command) in [
        (Outcome::Pending { cause: cause() }, Event::Pending, Severity::Warning, None, resync),
        (
            Outcome::Refused { step: Step::PreFlight, cause: cause() },
            Event::Refused,
            Severity::Warning,
            Some(Step::PreFlight),
            resync,
        ),
        (
            Outcome::RolledBack { step: Step::Probe, cause: cause() },
            Event::RolledBack,
            Severity::Warning,
            Some(Step::Probe),
            resync,
        ),
        (
            Outcome::Stuck { cause: cause(), remedy: vec!["one".into(), "two".into()] },
            Event::Stuck,
            Severity::Critical,
            None,
            "on web2: one ; two",
        ),
    ] {
        let Observation { subject, trouble, is_applied } = seen(Some(outcome)).unwrap();
        assert_eq!((subject.key().as_str(), is_applied), ("delivery/web2/www.site.test", false));
        let trouble = trouble.unwrap();
        assert_eq!((trouble.event, trouble.severity, trouble.step), (event, severity, step));
        assert_eq!((trouble.cause.as_str(), trouble.command.as_str(), trouble.days_left), ("why", command, None));
        assert!(!trouble.next.is_empty());
    }
}

#[test]
fn what_went_well_is_an_end_and_what_did_not_take_place_is_nothing() {
    let applied = seen(Some(Outcome::Applied { notes: Vec::new() })).unwrap();
    assert!(applied.trouble.is_none() && applied.is_applied);
    let unchanged = seen(Some(Outcome::Unchanged)).unwrap();
    assert!(unchanged.trouble.is_none() && !unchanged.is_applied);
    assert!(seen(None).is_none());
}

#[test]
fn a_node_that_says_it_was_held_back_is_told_of_all_the_same() {
    let outcome = Some(Outcome::Pending { cause: "held back: the first node, web3, failed".into() });
    let (node, lineage) = ("web2".parse().unwrap(), "www".parse().unwrap());
    let mut delivery = Delivery { node, lineage, outcome, is_held_back: false, changes: Vec::new() };
    assert!(of_delivery(&delivery).is_some_and(|seen| seen.trouble.is_some()));
    delivery.is_held_back = true;
    assert!(of_delivery(&delivery).is_none(), "that is told of web3");
}

#[test]
fn challenges_that_fail_are_told_of_the_first_name_in_one_line_with_a_command_that_can_be_pasted() {
    let own = "web1".parse().unwrap();
    let names: Vec<Identifier> = (0..1000).map(|number| format!("n{number}.site.test").parse().unwrap()).collect();
    let names: Vec<_> = names.iter().collect();
    let [Observation { subject, trouble: Some(trouble), .. }] =
        &of_challenges(&own, &names, &["one".to_owned(), "two".to_owned()])[..]
    else {
        panic!("one trouble");
    };
    assert_eq!((subject.key().as_str(), trouble.cause.as_str()), ("challenge/web1/n0.site.test", "one; two"));
    assert_eq!(trouble.harmless(), *trouble, "nothing is cut off from it");
    assert!(trouble.command.starts_with("certcast rehearse n0.site.test n1.site.test "), "{}", trouble.command);
    assert!(trouble.command.ends_with(".site.test") && trouble.command.len() > 1900, "{}", trouble.command);
    let ends = of_challenges(&own, &names, &[]);
    assert!(ends.len() == 1000 && ends.iter().all(|end| end.trouble.is_none()));
}
