//! What is remembered on disk: the journal of a transaction, and the small records beside it.

use std::fs;
use std::path::Path;

use certcast::model::bundle::Number;
use certcast::model::challenge::Token;
use certcast::model::digest::Digest;
use certcast::model::names::{LineageName, NodeName};
use certcast::model::outcome::{Outcome, Step};
use certcast::peer::journal::{Journal, JournalError};
use certcast::peer::ledger::Ledger;
use certcast::peer::state::{Record, State};
use certcast::peer::{history, settled, written};
use certcast::primary::challenge::Runs;
use certcast::primary::record;
use certcast::sys::ancestry::ProcessId;
use certcast::wire::message::Ended;
use certcast::wire::transaction_id::TransactionId;
use tempfile::TempDir;

/// In memory where that is possible: what is tried here is no disk.
pub(super) fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let home = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    home.expect("a directory of our own")
}

/// A journal as a crash or somebody's editor left it. A line that begins with `=` stands for the rest of it with its checksum,
/// so that a fuzzer comes past that.
///
/// What is opened can be gone on with and says the same when it is opened again; what is refused is left as it is.
pub fn journal(data: &[u8]) {
    let home = scratch();
    let path = home.path().join("transaction.journal");
    let text = with_checksums(data);
    fs::write(&path, &text).expect("written");
    match Journal::open(home.path()) {
        Ok(Some(mut journal)) => {
            let left = fs::read(&path).expect("the journal stays");
            assert!(text.starts_with(&left) && left.ends_with(b"\n"), "only a torn end is cut off");
            let cut = &text[left.len()..];
            let cut = cut.strip_suffix(b"\n").unwrap_or(cut);
            assert!(!cut.contains(&b'\n'), "only the last line may be torn");
            let (state, intents) = (journal.state(), journal.intents().to_vec());
            assert_ne!(state, State::Idle);
            let again = Journal::open(home.path()).expect("opened again").expect("it is still there");
            assert!(again.state() == state && again.intents() == intents);
            for record in next_records() {
                let expected = state_after(state, &record);
                match journal.write(&record) {
                    Ok(()) => {
                        let again = Journal::open(home.path()).expect("opened again").expect("it is still there");
                        assert!(Some(again.state()) == expected && again.state() == journal.state());
                        break;
                    }
                    Err(error) => assert!(matches!(error, JournalError::Order(..)) && expected.is_none(), "{error}"),
                }
            }
        }
        Ok(None) => assert!(!path.exists(), "nothing was begun, and nothing is left"),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert_eq!(fs::read(&path).ok().as_deref(), Some(text.as_slice()), "what is refused is not touched");
        }
    }
}

/// The state after a record, said once more and by hand.
fn state_after(state: State, record: &Record) -> Option<State> {
    match (state, record) {
        (State::Staging, Record::Switching) => Some(State::Switching),
        (State::Switching, Record::Confirmed) => Some(State::Confirmed),
        (State::Switching, Record::Undoing { .. }) => Some(State::Undoing),
        (State::Switching | State::Undoing, Record::Stuck { .. }) => Some(State::Stuck),
        (State::Switching | State::Undoing | State::Stuck, Record::Undone) => Some(State::Undone),
        _ => None,
    }
}

fn next_records() -> [Record; 5] {
    let cause = "so".to_owned();
    [
        Record::Confirmed,
        Record::Undoing { step: Step::Probe, cause: cause.clone() },
        Record::Stuck { cause },
        Record::Undone,
        Record::Switching,
    ]
}

/// The state of a journal, if it is one.
pub fn state_of(data: &[u8]) -> Option<State> {
    let home = scratch();
    fs::write(home.path().join("transaction.journal"), with_checksums(data)).expect("written");
    Journal::open(home.path()).ok().flatten().map(|journal| journal.state())
}

fn with_checksums(data: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    for line in data.split_inclusive(|byte| *byte == b'\n') {
        if let Some(json) = line.strip_prefix(b"=") {
            let record = json.strip_suffix(b"\n").unwrap_or(json);
            text.extend(format!("{} ", Digest::of(record)).bytes());
            text.extend(json);
        } else {
            text.extend(line);
        }
    }
    text
}

const TOKEN: &str = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJyPCt95vq5Y4";

/// Any bytes in the place of each small record: what is read is written and read as the same, and damage is no obstacle to
/// what is remembered next.
pub fn records(data: &[u8]) {
    let home = scratch();
    let state = home.path();
    let token: Token = TOKEN.parse().expect("a token");
    let (lineage, node): (LineageName, NodeName) =
        ("www.site.test".parse().expect("a name"), "web2".parse().expect("a name"));
    let run = ProcessId { pid: i32::MAX, started: 1 };
    let places = [
        format!("challenges/{token}"),
        "outcomes/last.json".to_owned(),
        format!("settled/{lineage}"),
        format!("written/{lineage}"),
        format!("records/{node}/{lineage}"),
        format!("runs/{run}/{token}"),
        format!("owed/{node}/{token}"),
    ];
    for place in &places {
        let path = state.join(place);
        fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        fs::write(path, data).expect("written");
    }
    ledger(state, &token);
    runs(state, &run, &node, &token);
    peers(state, &lineage);
    let (digest, outcome) = (Digest::of(data), Outcome::Pending { cause: String::from_utf8_lossy(data).into_owned() });
    record::note(state, &node, &lineage, digest, &outcome, false).expect("noted");
    let noted = record::read(state, &node, &lineage).expect("what was noted is read");
    assert!(noted.outcome == outcome.harmless() && noted.pending_since.is_some());
}

fn ledger(state: &Path, token: &Token) {
    let ledger = Ledger::open(state).expect("opened");
    assert!(ledger.knows(token).expect("looked") && ledger.tokens().expect("listed").contains(token));
    if let Some(entry) = ledger.entry(token) {
        assert_eq!(entry.token, *token, "the entry is another token's");
        ledger.note(&entry).expect("noted");
        assert_eq!(ledger.entry(token), Some(entry));
    }
    ledger.forget(token).expect("forgotten");
    assert!(!ledger.knows(token).expect("looked"));
}

fn runs(state: &Path, run: &ProcessId, node: &NodeName, token: &Token) {
    let runs = Runs::open(state).expect("opened");
    // The process is nobody: whatever its records are, it is an orphan, and goes when it is forgotten.
    let orphans = runs.orphans();
    assert!(orphans.iter().any(|(orphan, _)| orphan == run));
    let challenges = runs.challenges(run).expect("read");
    for challenge in &challenges {
        super::challenge::is_a_challenge(challenge, challenge.token().as_str());
        runs.record(run, challenge).expect("recorded");
        assert!(runs.challenges(run).expect("read").contains(challenge));
    }
    runs.forget(run).expect("forgotten");
    assert!(runs.orphans().is_empty());
    let owed = runs.owed(node);
    assert!(owed.len() <= 1);
    runs.owe(&[(node, owed.clone())]).expect("owed");
    runs.settled(node, &owed).expect("settled");
    assert!(owed.is_empty() || owed[0].token != *token || runs.owed(node).is_empty());
}

fn peers(state: &Path, lineage: &LineageName) {
    let transaction = TransactionId::try_from("0123456789abcdef".repeat(2)).expect("an id");
    _ = history::recall(state, &transaction);
    let ended = [Ended { lineage: lineage.clone(), outcome: Outcome::Unchanged }];
    history::remember(state, &transaction, &ended).expect("remembered");
    assert_eq!(history::recall(state, &transaction), ended);

    let digest = Digest::of(b"x");
    let _ = settled::is(state, lineage, digest);
    settled::set(state, lineage, digest).expect("remembered");
    assert!(settled::is(state, lineage, digest) && !settled::is(state, lineage, Digest::of(b"y")));

    let numbers: Vec<Number> = written::numbers(state, lineage).unwrap_or_default();
    written::set(state, lineage, &numbers).expect("remembered");
    assert_eq!(written::numbers(state, lineage).unwrap(), numbers);
}
