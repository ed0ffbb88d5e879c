use std::fs;

use super::*;

fn files() -> PemFiles {
    let text = |part: &str| format!("{part}\n");
    PemFiles { cert: text("cert"), privkey: text("privkey").into(), chain: text("chain"), fullchain: text("fullchain") }
}

#[test]
fn what_cannot_be_read_is_never_taken_for_missing() {
    let home = tempfile::tempdir().unwrap();
    let letsencrypt = Dir::open(home.path()).unwrap();
    let lineage: LineageName = "a.example".parse().unwrap();
    let open = || Archive::open(&letsencrypt, &lineage);
    let here = home.path().join("archive/a.example");
    assert!(open().unwrap().is_none());
    fs::create_dir(home.path().join("archive")).unwrap();
    fs::write(&here, "").unwrap();
    assert!(open().is_err(), "a file where a directory should be");

    fs::remove_file(&here).unwrap();
    fs::create_dir(&here).unwrap();
    let (archive, number) = (open().unwrap().unwrap(), Number::try_from(1).unwrap());
    assert!(archive.read(number).unwrap().is_none());
    assert_eq!(archive.leaf(number).unwrap(), None);
    assert_eq!(archive.lacks(number, &files(), true).unwrap().absent, Part::ALL);
    for part in Part::ALL {
        fs::create_dir(here.join(part.file(number))).unwrap();
    }
    assert!(archive.read(number).is_err());
    assert!(archive.leaf(number).is_err());
    assert!(archive.lacks(number, &files(), true).is_err());
    assert!(archive.remove(number, &Part::ALL).is_err());
}
