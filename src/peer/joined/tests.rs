use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

fn files() -> PemFiles {
    let text = |text: &str| text.to_owned();
    PemFiles { cert: text(""), privkey: text("new key").into(), chain: text(""), fullchain: text("new chain") }
}

#[test]
fn going_back_may_be_repeated_and_a_copy_that_is_lost_is_not_taken_for_one_that_is_back() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("site.pem");
    let id = TransactionId::random().unwrap();
    for is_switched in [true, false] {
        fs::write(&path, "old").unwrap();
        let joined = Joined::open(&path).unwrap();
        joined.stage(&id, &files(), Ownership { uid: 0, gid: 0, mode: 0o600 }).unwrap();
        if is_switched {
            joined.switch(&id).unwrap();
        }
        for _ in 0..3 {
            joined.undo(&id, true).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"old");
        }
        joined.discard(&id).unwrap();
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "only the file itself is left");
    }
    let joined = Joined::open(&path).unwrap();
    joined.stage(&id, &files(), Ownership { uid: 0, gid: 0, mode: 0o600 }).unwrap();
    joined.switch(&id).unwrap();
    fs::remove_file(home.path().join(joined.beside("old", &id))).unwrap();
    let error = joined.undo(&id, true).unwrap_err().to_string();
    assert!(error.contains("site.pem cannot go back") && error.contains("is gone"), "{error}");
    assert!(joined.holds(&files()));
}

#[test]
fn a_joined_file_that_everybody_could_read_is_closed_when_a_key_goes_into_it() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("site.pem");
    let id = TransactionId::random().unwrap();
    for (before, after) in [(0o644, 0o640), (0o660, 0o660)] {
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(before)).unwrap();
        let joined = Joined::open(&path).unwrap();
        joined.stage(&id, &files(), Ownership { uid: 0, gid: 0, mode: 0o600 }).unwrap();
        joined.switch(&id).unwrap();
        joined.discard(&id).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, after);
    }
}

#[test]
fn a_file_that_was_not_there_before_goes_and_one_that_somebody_made_meanwhile_stays() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("site.pem");
    let id = TransactionId::random().unwrap();
    let joined = Joined::open(&path).unwrap();
    joined.stage(&id, &files(), Ownership { uid: 0, gid: 0, mode: 0o600 }).unwrap();
    fs::write(&path, "somebody's").unwrap();
    joined.undo(&id, false).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"somebody's", "nothing was switched");
    joined.switch(&id).unwrap();
    joined.undo(&id, false).unwrap();
    assert!(!path.exists());
}
