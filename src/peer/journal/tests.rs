use std::fs;

use super::*;
use crate::model::bundle::Part;
use crate::model::outcome::Step;
use crate::peer::state::{Before, JoinedFile, Recovery};
use crate::wire::transaction_id::TransactionId;

fn intent() -> Intent {
    let number = |n| std::num::NonZeroU32::new(n).unwrap();
    Intent {
        transaction: TransactionId::random().unwrap(),
        lineage: "a.example".parse().unwrap(),
        before: Before::Number(number(1)),
        to: number(2),
        writes: Part::ALL.to_vec(),
        joined: Vec::new(),
        tests_passed: true,
        digest: Digest::of(b""),
        keep: vec![number(1), number(2)],
        old_leaf: None,
        expectations: Vec::new(),
        ahead: Vec::new(),
    }
}

fn begin(directory: &Path, intents: Vec<Intent>) -> Result<Journal, JournalError> {
    let transaction = intents[0].transaction.clone();
    Journal::begin(directory, &transaction, intents)
}

fn undoing() -> Record {
    Record::Undoing { step: Step::Probe, cause: "old leaf served".into() }
}

/// The longest life a journal can have, with the recovery due after each of its lines.
fn lives() -> Vec<Vec<(Record, Recovery)>> {
    let switching = (Record::Switching, Recovery::Undo);
    let stuck = (Record::Stuck { cause: "nginx -t".into() }, Recovery::Undo);
    vec![
        vec![switching.clone(), (Record::Confirmed, Recovery::Finish)],
        vec![switching, (undoing(), Recovery::Undo), stuck, (Record::Undone, Recovery::PutAway)],
    ]
}

#[test]
fn a_journal_cut_at_every_length_recovers_to_the_last_whole_record() {
    for life in lives() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(NAME);
        let mut journal = begin(directory.path(), vec![intent()]).unwrap();
        let mut ends = vec![(0, Recovery::Nothing), (fs::metadata(&path).unwrap().len(), Recovery::Discard)];
        for (record, recovery) in &life {
            journal.write(record).unwrap();
            ends.push((fs::metadata(&path).unwrap().len(), *recovery));
        }
        let whole = fs::read(&path).unwrap();
        for cut in 0..=whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let due = ends.iter().rev().find(|(end, _)| *end <= cut as u64).unwrap().1;
            let found = Journal::open(directory.path()).unwrap().map_or(Recovery::Nothing, |j| j.state().recovery());
            assert_eq!(found, due, "cut at {cut} of {}", whole.len());
        }
    }
}

#[test]
fn a_record_after_a_torn_one_is_not_glued_to_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(NAME);
    let mut journal = begin(directory.path(), vec![intent()]).unwrap();
    journal.write(&Record::Switching).unwrap();
    let torn = fs::read(&path).unwrap();
    fs::write(&path, &torn[..torn.len() - 3]).unwrap();
    let mut reopened = Journal::open(directory.path()).unwrap().unwrap();
    assert_eq!(reopened.state(), State::Staging);
    reopened.write(&Record::Switching).unwrap();
    assert_eq!(Journal::open(directory.path()).unwrap().unwrap().state(), State::Switching);
}

#[test]
fn damage_that_no_crash_makes_is_an_error_and_not_a_guess() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(NAME);
    let mut journal = begin(directory.path(), vec![intent()]).unwrap();
    journal.write(&Record::Switching).unwrap();
    let whole = fs::read(&path).unwrap();
    let mut flipped = whole.clone();
    flipped[80] ^= 1;
    fs::write(&path, &flipped).unwrap();
    assert!(matches!(Journal::open(directory.path()), Err(JournalError::Damaged(_, 1))));
    // The last line is no torn one either: it has its newline, so it was written.
    let mut flipped = whole.clone();
    flipped[whole.len() - 3] ^= 1;
    fs::write(&path, &flipped).unwrap();
    assert!(matches!(Journal::open(directory.path()), Err(JournalError::Damaged(_, 2))));
    fs::write(&path, [&whole[..], &whole[..]].concat()).unwrap();
    assert!(matches!(Journal::open(directory.path()), Err(JournalError::Order(..))));
}

#[test]
fn a_journal_that_cannot_be_read_is_not_taken_for_none() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(NAME);
    fs::create_dir(&path).unwrap();
    assert!(matches!(Journal::open(directory.path()), Err(JournalError::Io(..))));
    fs::remove_dir(&path).unwrap();
    File::create(&path).unwrap().set_len(SIZE_AT_MOST + 1).unwrap();
    assert!(matches!(Journal::open(directory.path()), Err(JournalError::Io(..))));
}

#[test]
fn an_intent_that_leaves_no_room_for_what_follows_is_refused_and_leaves_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let long = Intent { joined: vec![JoinedFile { path: "x".repeat(3 << 20).into(), existed: true }], ..intent() };
    assert!(matches!(begin(directory.path(), vec![long]), Err(JournalError::Io(..))));
    assert!(!Journal::is_there(directory.path()));
}

#[test]
fn what_failed_first_is_known_to_a_later_run() {
    for (last, known) in [
        (undoing(), (Step::Probe, "old leaf served")),
        (Record::Stuck { cause: "nginx -t".into() }, (Step::Recovery, "nginx -t")),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = begin(directory.path(), vec![intent()]).unwrap();
        journal.write(&Record::Switching).unwrap();
        assert!(Journal::open(directory.path()).unwrap().unwrap().failure().is_none());
        journal.write(&last).unwrap();
        let failure = Journal::open(directory.path()).unwrap().unwrap().failure();
        assert_eq!(failure, Some((known.0, known.1.to_owned())));
    }
}

#[test]
fn a_journal_is_open_for_its_own_lineage_and_for_every_one_when_it_cannot_say() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(NAME);
    let is_open = |name: &str| Journal::is_open_for(directory.path(), &name.parse().unwrap());
    assert!(!is_open("a.example"), "there is none");
    let mut journal = begin(directory.path(), vec![intent()]).unwrap();
    journal.write(&Record::Switching).unwrap();
    assert_eq!((is_open("a.example"), is_open("b.example")), (true, false));
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..9]).unwrap();
    assert!(!is_open("a.example"), "nothing was begun");
    assert_eq!(fs::read(&path).unwrap(), &whole[..9], "looked at only");
    let mut flipped = whole;
    flipped[80] ^= 1;
    fs::write(&path, &flipped).unwrap();
    assert!(is_open("a.example") && is_open("b.example"));
}

#[test]
fn only_records_that_make_sense_can_be_written() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = begin(directory.path(), vec![intent()]).unwrap();
    assert!(journal.write(&Record::Confirmed).is_err());
    assert!(begin(directory.path(), vec![intent()]).is_err(), "a second transaction began over the first");
}
