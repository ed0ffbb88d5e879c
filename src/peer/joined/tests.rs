use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

#[test]
fn a_joined_file_that_everybody_could_read_is_closed_when_a_key_goes_into_it() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("site.pem");
    let id = TransactionId::random().unwrap();
    let text = String::new;
    let files = PemFiles { cert: text(), privkey: text().into(), chain: text(), fullchain: text() };
    for (before, after) in [(0o644, 0o640), (0o660, 0o660)] {
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(before)).unwrap();
        let joined = Joined::open(&path).unwrap();
        joined.stage(&id, &files, Ownership { uid: 0, gid: 0, mode: 0o600 }).unwrap();
        joined.switch(&id).unwrap();
        joined.discard(&id).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, after);
    }
}
