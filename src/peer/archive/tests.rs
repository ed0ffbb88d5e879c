use std::fs;

use super::*;
use crate::model::bundle::tests::some_files;

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

#[test]
fn what_serves_somebody_is_not_written_over_but_for_what_is_wrong_beside_the_same_pair() {
    let home = tempfile::tempdir().unwrap();
    let letsencrypt = Dir::open(home.path()).unwrap();
    fs::create_dir_all(home.path().join("archive/a.example")).unwrap();
    let archive = Archive::open(&letsencrypt, &"a.example".parse().unwrap()).unwrap().unwrap();
    let number = Number::try_from(1).unwrap();
    let [mine, sent] = [(); 2].map(|()| some_files());
    let lacks = |here: &PemFiles| {
        for part in Part::ALL {
            fs::write(archive.dir.path().join(part.file(number)), here.part(part)).unwrap();
        }
        archive.lacks(number, &sent, false).map(|lacks| lacks.torn)
    };
    let is_kept = |here: &PemFiles| matches!(lacks(here), Err(ArchiveError::Taken { .. }));
    let alone = || PemFiles { chain: String::new(), fullchain: mine.cert.clone(), ..mine.clone() };
    assert!(is_kept(&mine) && is_kept(&alone()), "a leaf without its chain is served");
    fs::remove_file(archive.dir.path().join(Part::Chain.file(number))).unwrap();
    assert!(
        archive.lacks(number, &sent, false).is_err(),
        "nor does one file that is missing make the others worthless"
    );
    // The same leaf and key, and nothing is wrong with what is here.
    let whole = PemFiles { fullchain: sent.fullchain.clone() + "\n", ..sent.clone() };
    assert!(is_kept(&whole), "it is no damage");
    // As a mend leaves it that a power cut ended.
    let half = PemFiles { fullchain: mine.fullchain.clone(), chain: mine.chain.clone(), ..sent.clone() };
    assert_eq!(lacks(&half).unwrap(), [Part::Chain, Part::Fullchain]);
    assert_eq!(lacks(&PemFiles { chain: String::new(), ..sent.clone() }).unwrap(), [Part::Chain]);
    assert_eq!(lacks(&PemFiles { cert: String::new(), ..sent.clone() }).unwrap(), [Part::Cert]);
    assert_eq!(lacks(&PemFiles { privkey: String::new().into(), ..mine.clone() }).unwrap(), Part::ALL);
}
