use jiff::SignedDuration;

use super::*;
use crate::primary::alert::notice::Kind;
use crate::primary::alert::spool::Spool;

fn at(minutes: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes)
}

fn seen_as(event: Option<Event>, severity: Severity) -> Observation {
    let subject = Subject { kind: Kind::Delivery, node: "web2".parse().unwrap(), lineage: "www".into() };
    let (step, days_left) = (None, None);
    let (cause, next, command) = ("why".to_owned(), "next".to_owned(), "do".to_owned());
    let trouble = event.map(|event| Trouble { event, severity, step, cause, days_left, next, command });
    Observation { subject, trouble, is_applied: false }
}

fn seen(event: Option<Event>) -> Observation {
    seen_as(event, if event == Some(Event::Stuck) { Severity::Critical } else { Severity::Warning })
}

fn route(min_severity: Severity, events: &[Event]) -> Alert {
    Alert {
        route: Route::Slack,
        secret: None,
        events: events.to_vec(),
        min_severity,
        timeout: Duration::from_secs(10),
        retries: 5,
        remind: None,
    }
}

/// What a route is told of an observation.
fn tell(ledger: &mut Ledger, observation: &Observation, alert: &Alert, now: Timestamp) -> Option<Notice> {
    ledger.compare(observation, "one", alert, now);
    assert!(ledger.outbox.len() < 2);
    ledger.outbox.pop().map(|(_, notice)| notice)
}

/// What is told of each of these, a minute after another.
fn told(events: &[Option<Event>], alert: &Alert) -> Vec<Option<Event>> {
    let mut ledger = Ledger::default();
    let all = events.iter().zip((0..).map(at));
    all.map(|(event, now)| tell(&mut ledger, &seen(*event), alert, now).map(|notice| notice.trouble.event)).collect()
}

const PENDING: Option<Event> = Some(Event::Pending);
const STUCK: Option<Event> = Some(Event::Stuck);
const END: Option<Event> = Some(Event::Recovered);

#[test]
fn a_change_is_told_once_and_so_is_its_end() {
    let all = route(Severity::Warning, &[]);
    assert_eq!(told(&[None, PENDING, PENDING, None, None], &all), [None, PENDING, None, END, None]);
    assert_eq!(told(&[PENDING, STUCK, STUCK, None], &all), [PENDING, STUCK, None, END]);
}

#[test]
fn whoever_heard_of_a_trouble_hears_of_its_end_and_of_nothing_else() {
    let critical = route(Severity::Critical, &[]);
    assert_eq!(told(&[PENDING, STUCK, PENDING, PENDING, None], &critical), [None, STUCK, END, None, None]);
    assert_eq!(told(&[PENDING, None, PENDING], &critical), [None; 3]);
    let stuck = route(Severity::Warning, &[Event::Stuck, Event::Recovered]);
    assert_eq!(told(&[PENDING, STUCK, PENDING, None], &stuck), [None, STUCK, END, None]);
    let without_ends = route(Severity::Warning, &[Event::Pending]);
    assert_eq!(told(&[PENDING, None, PENDING], &without_ends), [PENDING, None, PENDING]);
}

#[test]
fn what_becomes_worse_is_told_though_it_is_the_same_event() {
    let (all, mut ledger) = (route(Severity::Warning, &[]), Ledger::default());
    let ends = |severity| seen_as(Some(Event::Expiring), severity);
    tell(&mut ledger, &ends(Severity::Warning), &all, at(0)).unwrap();
    let worse = tell(&mut ledger, &ends(Severity::Critical), &all, at(1)).unwrap();
    assert_eq!((worse.trouble.severity, worse.before.unwrap().severity), (Severity::Critical, Severity::Warning));
    let mut ledger = Ledger::default();
    let critical = route(Severity::Critical, &[]);
    assert!(tell(&mut ledger, &ends(Severity::Warning), &critical, at(0)).is_none());
    assert!(tell(&mut ledger, &ends(Severity::Critical), &critical, at(1)).is_some());
}

#[test]
fn a_change_tells_what_it_was_before_and_the_end_since_when() {
    let (all, mut ledger) = (route(Severity::Warning, &[]), Ledger::default());
    let first = tell(&mut ledger, &seen(PENDING), &all, at(1)).unwrap();
    let second = tell(&mut ledger, &seen(STUCK), &all, at(2)).unwrap();
    assert_eq!((second.before.as_ref().map(|before| before.event), second.since), (PENDING, at(1)));
    let third = tell(&mut ledger, &seen(None), &all, at(3)).unwrap();
    assert_eq!((third.state, third.before.as_ref().map(|before| before.event), third.since), (0, STUCK, at(1)));
    assert!(first.id != second.id && second.id != third.id && first.id != third.id);
}

#[test]
fn a_peer_that_flaps_a_hundred_times_is_told_of_three_times_and_then_as_it_is() {
    let (all, mut ledger) = (route(Severity::Warning, &[]), Ledger::default());
    let seconds = |count: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(10 * count);
    let mut count = 0;
    for half in 0..200 {
        let event = if half % 2 == 0 { PENDING } else { None };
        count += usize::from(tell(&mut ledger, &seen(event), &all, seconds(half)).is_some());
    }
    assert_eq!(count, CHANGES_AT_MOST);
    // The last that was told is a trouble, and it is none: an hour after the first change that is told.
    let hour = SignedDuration::from_hours(1);
    assert!(tell(&mut ledger, &seen(None), &all, seconds(0) + hour - SignedDuration::from_secs(1)).is_none());
    assert_eq!(tell(&mut ledger, &seen(None), &all, seconds(0) + hour).unwrap().trouble.event, Event::Recovered);
    assert!(tell(&mut ledger, &seen(None), &all, seconds(0) + hour + hour).is_none());
}

#[test]
fn what_becomes_critical_is_told_however_often_it_changed() {
    let flaps = [PENDING, None, PENDING, None, PENDING, STUCK, STUCK];
    assert_eq!(told(&flaps, &route(Severity::Warning, &[]))[3..], [None, None, STUCK, None]);
}

#[test]
fn a_lasting_trouble_is_told_again_to_whom_wants_that_and_to_alertmanager() {
    let mail = Alert { remind: Some(Duration::from_secs(3600)), ..route(Severity::Warning, &[]) };
    let manager = Route::Alertmanager("http://127.0.0.1:9093".parse().unwrap());
    let manager = Alert { route: manager, ..route(Severity::Warning, &[]) };
    for alert in [&mail, &manager] {
        let mut ledger = Ledger::default();
        tell(&mut ledger, &seen(PENDING), alert, at(0)).unwrap();
        assert!(tell(&mut ledger, &seen(PENDING), alert, at(59)).is_none());
        let again = tell(&mut ledger, &seen(PENDING), alert, at(60)).unwrap();
        assert!(again.is_reminder && again.title() == "web2: www: still pending", "{}", again.title());
        assert!(tell(&mut ledger, &seen(PENDING), alert, at(119)).is_none());
        assert_eq!(tell(&mut ledger, &seen(None), alert, at(120)).unwrap().trouble.event, Event::Recovered);
    }
}

#[test]
fn it_is_read_back_with_its_outbox_and_a_damaged_one_counts_as_none() {
    let (home, all) = (tempfile::tempdir().unwrap(), route(Severity::Warning, &[]));
    let mut ledger = Ledger::read(home.path()).unwrap();
    ledger.compare(&seen(PENDING), "one", &all, at(0));
    ledger.write(home.path(), at(0)).unwrap();
    let mut again = Ledger::read(home.path()).unwrap();
    assert_eq!((again.outbox.len(), again.troubled().count()), (1, 1));
    again.outbox.clear();
    assert!(tell(&mut again, &seen(PENDING), &all, at(1)).is_none());
    assert!(tell(&mut again, &seen(None), &all, at(2)).is_some());
    again.write(home.path(), at(60 * 24 * 40)).unwrap();
    assert!(Ledger::read(home.path()).unwrap().entries.is_empty(), "it is well for a month");
    std::fs::write(home.path().join(FILE), "{\"entries\":").unwrap();
    assert!(Ledger::read(home.path()).unwrap().entries.is_empty());
}

#[test]
fn one_too_large_to_be_ours_counts_as_none_too() {
    let home = tempfile::tempdir().unwrap();
    std::fs::File::create(home.path().join(FILE)).unwrap().set_len(FILE_AT_MOST + 1).unwrap();
    assert!(Ledger::read(home.path()).unwrap().entries.is_empty());
}

#[test]
fn a_cause_without_end_keeps_no_other_notice_from_being_sent() {
    let (home, all, mut ledger) = (tempfile::tempdir().unwrap(), route(Severity::Warning, &[]), Ledger::default());
    let mut wide = seen(PENDING);
    wide.trouble.as_mut().unwrap().cause = "why\n".repeat(70_000);
    wide.trouble.as_mut().unwrap().command = "certcast rehearse ".repeat(70_000);
    let all_of_it = [wide, seen(None), seen(PENDING)];
    let notices: Vec<_> =
        all_of_it.iter().zip((0..).map(at)).map(|(seen, now)| tell(&mut ledger, seen, &all, now).unwrap()).collect();
    let spool = Spool::of(home.path(), "one".to_owned());
    spool.append(&notices.iter().collect::<Vec<_>>()).unwrap();
    assert_eq!(spool.first(9).unwrap(), notices);
    assert!(notices[0].trouble.cause.ends_with("bytes in all)") && notices[0].trouble.cause.len() < 20_000);
}
