use super::{
    Attributes, Temp, is_temp_name, remove_leftovers, remove_leftovers_older_than, replace, replace_path, write_new,
};
use crate::sys::dir::Dir;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

const PRIVATE: Attributes = Attributes { mode: 0o600, owner: None };

fn made() -> (tempfile::TempDir, Dir) {
    let temp = tempfile::tempdir().unwrap();
    let dir = Dir::open(temp.path()).unwrap();
    (temp, dir)
}

fn names(dir: &Dir) -> Vec<String> {
    dir.entries().unwrap().into_iter().map(|name| name.into_string().unwrap()).collect()
}

#[test]
fn a_new_file_is_whole_and_never_written_over_another() {
    let (temp, dir) = made();
    write_new(&dir, "key", b"first", &PRIVATE).unwrap();
    let error = write_new(&dir, "key", b"second", &PRIVATE).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(error.to_string().contains(temp.path().join("key").to_str().unwrap()), "{error}");
    assert_eq!(fs::read(temp.path().join("key")).unwrap(), b"first");
    assert_eq!(names(&dir), ["key"], "no temporary file stays");
}

#[test]
fn the_way_by_link_refuses_a_taken_name_too_and_leaves_nothing() {
    let (temp, dir) = made();
    let by_link = |name: &str, content: &[u8]| {
        let mut file = Temp::create(&dir, &PRIVATE)?;
        file.fill(content)?;
        file.publish_by_link(name)
    };
    by_link("key", b"first").unwrap();
    assert_eq!(by_link("key", b"second").unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(fs::read(temp.path().join("key")).unwrap(), b"first");
    assert_eq!(names(&dir), ["key"]);
}

#[test]
fn owner_and_mode_are_final_before_there_is_content() {
    assert!(nix::unistd::geteuid().is_root(), "this test needs root to give a file away");
    let (temp, dir) = made();
    let file = Temp::create(&dir, &Attributes { mode: 0o646, owner: Some((4242, 4343)) }).unwrap();
    let is = fs::metadata(temp.path().join(&file.name)).unwrap();
    assert_eq!((is.uid(), is.gid(), is.mode() & 0o7777, is.len()), (4242, 4343, 0o646, 0));
    drop(file);
    assert_eq!(names(&dir), Vec::<String>::new(), "given up means gone");
}

#[test]
fn replacing_makes_a_new_inode_and_does_not_follow_a_link() {
    let (temp, dir) = made();
    let outside = temp.path().join("outside");
    fs::write(&outside, "precious").unwrap();
    symlink(&outside, temp.path().join("name")).unwrap();
    replace(&dir, "name", b"one", &PRIVATE).unwrap();
    assert_eq!(fs::read_to_string(&outside).unwrap(), "precious");
    let held = File::open(temp.path().join("name")).unwrap();
    replace_path(&temp.path().join("name"), b"two", &PRIVATE).unwrap();
    assert_ne!(fs::metadata(temp.path().join("name")).unwrap().ino(), held.metadata().unwrap().ino());
    assert_eq!(held.metadata().unwrap().len(), 3, "who had the old file open keeps it");
    assert_eq!(names(&dir), ["name", "outside"]);
}

#[test]
fn a_file_that_cannot_be_published_leaves_nothing_behind() {
    let (temp, dir) = made();
    fs::create_dir(temp.path().join("taken")).unwrap();
    replace(&dir, "taken", b"x", &PRIVATE).unwrap_err();
    write_new(&dir, "taken", b"x", &PRIVATE).unwrap_err();
    for name in ["../escape", "", "..", "a/b"] {
        assert_eq!(write_new(&dir, name, b"x", &PRIVATE).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(replace(&dir, name, b"x", &PRIVATE).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    assert_eq!(names(&dir), ["taken"]);
    assert!(replace_path(Path::new("/"), b"x", &PRIVATE).is_err());
}

#[test]
fn only_our_own_leftovers_are_removed() {
    let (temp, dir) = made();
    let mut left = Temp::create(&dir, &PRIVATE).unwrap();
    left.published = true; // as if killed: drop removes nothing
    assert!(is_temp_name(left.name.as_ref()));
    drop(left);
    fs::create_dir(temp.path().join(".certcast-0123456789abcdef.tmp")).unwrap();
    symlink("keep", temp.path().join(".certcast-0123456789abcdee.tmp")).unwrap();
    for name in ["keep", ".certcast-x.tmp", ".certcast-0123456789abcdef", "a.certcast-0123456789abcdef.tmp"] {
        fs::write(temp.path().join(name), "").unwrap();
    }
    assert_eq!(remove_leftovers(&dir).unwrap(), 1);
    assert_eq!(names(&dir).len(), 6);
    assert_eq!(remove_leftovers(&dir).unwrap(), 0);
}

#[test]
fn the_file_of_a_writer_at_work_elsewhere_stays() {
    let (temp, dir) = made();
    let hour = Duration::from_secs(3600);
    let [young, old] = [".certcast-0123456789abcdef.tmp", ".certcast-0123456789abcdee.tmp"];
    fs::write(temp.path().join(young), "").unwrap();
    File::create(temp.path().join(old)).unwrap().set_modified(SystemTime::now() - 2 * hour).unwrap();
    assert_eq!(remove_leftovers_older_than(&dir, hour).unwrap(), 1);
    assert_eq!(names(&dir), [young]);
}
