use jiff::SignedDuration;

use super::*;
use crate::model::config::Event;
use crate::primary::alert::notice::{Kind, Subject};

fn at(minutes: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes)
}

fn seen(event: Option<Event>) -> Observation {
    let subject = Subject { kind: Kind::Delivery, node: "web2".parse().unwrap(), lineage: "www".into() };
    let severity = if event == Some(Event::Stuck) { Severity::Critical } else { Severity::Warning };
    let trouble = event.map(|event| Trouble {
        event,
        severity,
        step: None,
        cause: "why".into(),
        days_left: None,
        next: "next".into(),
        command: "do".into(),
    });
    Observation { subject, trouble, is_applied: false }
}

/// What is told of each of these, a minute after another.
fn told(events: &[Option<Event>]) -> Vec<Option<Event>> {
    let mut ledger = Ledger::default();
    let minutes = (0..).map(at);
    events
        .iter()
        .zip(minutes)
        .map(|(event, now)| ledger.compare(&seen(*event), now).map(|notice| notice.event))
        .collect()
}

#[test]
fn a_change_is_told_once_and_so_is_its_end() {
    let (pending, stuck) = (Some(Event::Pending), Some(Event::Stuck));
    assert_eq!(told(&[None, pending, pending, None, None]), [None, pending, None, Some(Event::Recovered), None]);
    assert_eq!(told(&[pending, stuck, stuck, None]), [pending, stuck, None, Some(Event::Recovered)]);
}

#[test]
fn a_change_tells_what_it_was_before_and_the_end_since_when() {
    let mut ledger = Ledger::default();
    let first = ledger.compare(&seen(Some(Event::Pending)), at(1)).unwrap();
    let second = ledger.compare(&seen(Some(Event::Stuck)), at(2)).unwrap();
    assert_eq!(
        (second.over, second.severity_before, second.since),
        (Some(Event::Pending), Some(Severity::Warning), at(1))
    );
    let third = ledger.compare(&seen(None), at(3)).unwrap();
    assert_eq!((third.state, third.over, third.since), (0, Some(Event::Stuck), at(1)));
    assert!(first.id != second.id && second.id != third.id && first.id != third.id);
}

#[test]
fn a_peer_that_flaps_a_hundred_times_is_told_of_three_times_and_then_as_it_is() {
    let mut ledger = Ledger::default();
    let seconds = |count: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(10 * count);
    let mut count = 0;
    for flap in 0..100 {
        for (half, event) in [Some(Event::Pending), None].into_iter().enumerate() {
            let now = seconds(2 * flap + i64::try_from(half).unwrap());
            count += usize::from(ledger.compare(&seen(event), now).is_some());
        }
    }
    assert_eq!(count, CHANGES_AT_MOST);
    // The last that was told is a trouble, and it is none: an hour after the first change that is told.
    let hour = SignedDuration::from_hours(1);
    assert!(ledger.compare(&seen(None), seconds(0) + hour - SignedDuration::from_secs(1)).is_none());
    let end = ledger.compare(&seen(None), seconds(0) + hour).unwrap();
    assert_eq!(end.event, Event::Recovered);
    assert!(ledger.compare(&seen(None), seconds(0) + hour + hour).is_none());
}

#[test]
fn what_becomes_critical_is_told_however_often_it_changed() {
    let pending = Some(Event::Pending);
    let flaps = [pending, None, pending, None, pending, Some(Event::Stuck), Some(Event::Stuck)];
    assert_eq!(told(&flaps)[3..], [None, None, Some(Event::Stuck), None]);
}

#[test]
fn a_lasting_trouble_is_told_again_to_whom_wants_that() {
    let mut ledger = Ledger::default();
    let (observation, hour) = (seen(Some(Event::Pending)), Duration::from_secs(3600));
    ledger.compare(&observation, at(0));
    ledger.note_told(&observation, "mail", at(0));
    assert!(!ledger.is_due(&observation, "mail", hour, at(59)));
    assert!(ledger.is_due(&observation, "mail", hour, at(60)) && ledger.is_due(&observation, "other", hour, at(60)));
    let reminder = ledger.reminder(&observation, at(60)).unwrap();
    assert!(reminder.is_reminder && reminder.title() == "web2: www: still pending", "{}", reminder.title());
    ledger.note_told(&observation, "mail", at(60));
    assert!(!ledger.is_due(&observation, "mail", hour, at(119)));
    assert!(!ledger.is_due(&seen(None), "mail", hour, at(500)), "it is over");
}

#[test]
fn it_is_read_back_and_a_damaged_one_counts_as_none() {
    let home = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::read(home.path()).unwrap();
    ledger.compare(&seen(Some(Event::Pending)), at(0));
    ledger.write(home.path(), at(0)).unwrap();
    let mut again = Ledger::read(home.path()).unwrap();
    assert!(again.compare(&seen(Some(Event::Pending)), at(1)).is_none());
    assert!(again.compare(&seen(None), at(2)).is_some());
    again.write(home.path(), at(60 * 24 * 40)).unwrap();
    assert!(Ledger::read(home.path()).unwrap().entries.is_empty(), "it is well for a month");
    std::fs::write(home.path().join(FILE), "{\"entries\":").unwrap();
    assert!(Ledger::read(home.path()).unwrap().entries.is_empty());
}
