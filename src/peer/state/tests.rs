use proptest::prelude::*;

use super::*;

fn begun() -> Record {
    Record::Begun(Box::new(Intent {
        transaction: TransactionId::random().unwrap(),
        lineage: "a.example".parse().unwrap(),
        before: Before::Nothing,
        to: 1.try_into().unwrap(),
        writes: Vec::new(),
        joined: Vec::new(),
        keep: Vec::new(),
        tests_passed: true,
        digest: Digest::of(b""),
        old_leaf: None,
        expectations: Vec::new(),
        ahead: Vec::new(),
    }))
}

fn undoing() -> Record {
    Record::Undoing { step: Step::Probe, cause: "why".into() }
}

fn stuck() -> Record {
    Record::Stuck { cause: "why".into() }
}

/// Any records in any order; the walk takes those that the machine accepts.
fn records() -> impl Strategy<Value = Vec<Record>> {
    let record = (0..6usize).prop_map(|which| match which {
        0 => begun(),
        1 => Record::Switching,
        2 => Record::Confirmed,
        3 => undoing(),
        4 => Record::Undone,
        _ => stuck(),
    });
    prop::collection::vec(record, 0..30)
}

proptest! {
    #[test]
    fn wherever_a_history_ends_what_is_due_can_be_noted_and_done(offered in records()) {
        let mut history: Vec<Record> = Vec::new();
        let mut state = State::Idle;
        for record in offered {
            let Ok(next) = state.after(&record) else { continue };
            history.push(record);
            state = next;
            // As a crash after each record finds it.
            prop_assert_eq!(State::replay(&history), Ok(state));
            let has = |wanted: fn(&Record) -> bool| history.iter().any(wanted);
            let switching = has(|record| matches!(record, Record::Switching));
            let confirmed = has(|record| matches!(record, Record::Confirmed));
            match state.recovery() {
                Recovery::Nothing => prop_assert!(false, "begun, and nothing to do"),
                Recovery::Discard => {
                    prop_assert!(!switching, "what may show is not just discarded");
                    prop_assert_eq!(state.after(&begun()), Ok(State::Staging), "a further lineage");
                }
                Recovery::Finish => {
                    prop_assert!(confirmed, "only what was confirmed is finished");
                    prop_assert!(!has(|record| matches!(record, Record::Undoing { .. })), "nor what was being undone");
                }
                Recovery::PutAway => {
                    prop_assert!(switching && !confirmed && has(|record| matches!(record, Record::Undone)));
                    prop_assert!(state.after(&undoing()).is_err(), "the stage may be in parts");
                }
                Recovery::Undo => {
                    prop_assert!(switching && !confirmed, "what was confirmed is never undone");
                    prop_assert_eq!(state.after(&Record::Undone), Ok(State::Undone));
                    let after = history.iter().filter(|record| !matches!(record, Record::Begun(_)));
                    prop_assert!(after.count() <= 3, "however often it was tried");
                    if state != State::Stuck {
                        prop_assert_eq!(state.after(&stuck()), Ok(State::Stuck));
                    }
                }
            }
        }
    }
}
