use super::{Dir, Kind};
use nix::errno::Errno;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

fn made() -> (tempfile::TempDir, Dir) {
    let temp = tempfile::tempdir().unwrap();
    let dir = Dir::open(temp.path()).unwrap();
    (temp, dir)
}

#[test]
fn no_symlink_is_followed_beneath_and_nothing_outside_is_reached() {
    let (temp, dir) = made();
    let outside = tempfile::tempdir().unwrap();
    fs::create_dir(outside.path().join("inner")).unwrap();
    symlink(outside.path(), temp.path().join("last")).unwrap();
    fs::create_dir(temp.path().join("real")).unwrap();
    symlink("real", temp.path().join("inward")).unwrap();

    for rel in ["last", "last/inner", "inward"] {
        let error = dir.open_beneath(rel).unwrap_err().to_string();
        assert!(error.contains("symbolic link"), "{rel}: {error}");
    }
    for rel in ["..", "real/../..", outside.path().to_str().unwrap()] {
        let error = dir.open_beneath(rel).unwrap_err().to_string();
        assert!(error.contains("outside"), "{rel}: {error}");
    }
    assert_eq!(dir.create_beneath("last", 0o755).unwrap_err().to_string().matches("symbolic link").count(), 1);
    dir.open_beneath("real").unwrap();
}

#[test]
fn only_single_names_are_taken() {
    let (_temp, dir) = made();
    dir.create_beneath("sub", 0o755).unwrap();
    for name in ["", ".", "..", "sub/x", "/etc", "a\0b"] {
        assert_eq!(dir.unlink(name).unwrap_err().kind(), ErrorKind::InvalidInput, "{name:?}");
        assert_eq!(dir.symlink("t", name).unwrap_err().kind(), ErrorKind::InvalidInput, "{name:?}");
        assert_eq!(dir.create_beneath(name, 0o755).unwrap_err().kind(), ErrorKind::InvalidInput, "{name:?}");
        assert_eq!(dir.rename("sub", name).unwrap_err().kind(), ErrorKind::InvalidInput, "{name:?}");
        assert_eq!(dir.exchange("sub", name).unwrap_err().kind(), ErrorKind::InvalidInput, "{name:?}");
        assert_eq!(dir.remove_tree(name).unwrap_err().kind(), ErrorKind::InvalidInput, "{name:?}");
    }
}

#[test]
fn a_new_directory_has_the_mode_asked_for_and_an_old_one_keeps_its_own() {
    let (temp, dir) = made();
    dir.create_beneath("new", 0o777).unwrap();
    let mode = || fs::metadata(temp.path().join("new")).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(), 0o777, "the umask must not count");
    dir.create_beneath("new", 0o700).unwrap();
    assert_eq!(mode(), 0o777);
}

#[test]
fn a_new_directory_gets_its_parents_owner_when_asked() {
    assert!(nix::unistd::geteuid().is_root(), "this test needs root to give a directory away");
    let (temp, dir) = made();
    std::os::unix::fs::chown(temp.path(), Some(4242), Some(4343)).unwrap();
    dir.create_beneath_as_owner("given", 0o755).unwrap();
    dir.create_beneath("kept", 0o755).unwrap();
    let owner = |name| fs::metadata(temp.path().join(name)).map(|m| (m.uid(), m.gid())).unwrap();
    assert_eq!(owner("given"), (4242, 4343));
    assert_eq!(owner("kept").0, 0);
}

#[test]
fn what_a_kill_left_private_gets_its_owner_and_mode_and_what_somebody_made_so_does_not() {
    assert!(nix::unistd::geteuid().is_root(), "this test needs root to give a directory away");
    let (temp, dir) = made();
    std::os::unix::fs::chown(temp.path(), Some(4242), Some(4343)).unwrap();
    let left = |name: &str, owner: u32, mode: u32| {
        let path = temp.path().join(name);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        std::os::unix::fs::chown(&path, Some(owner), Some(owner)).unwrap();
    };
    left("made", 0, 0o700);
    left("given", 4242, 0o700);
    left("set-id", 0, 0o2700);
    left("strangers", 4444, 0o700);
    left("closed", 0, 0o750);
    left("filled", 0, 0o700);
    fs::write(temp.path().join("filled/file"), "").unwrap();
    let after = |name: &str| {
        dir.create_beneath_as_owner(name, 0o755).unwrap();
        let is = fs::metadata(temp.path().join(name)).unwrap();
        (is.uid(), is.gid(), is.mode() & 0o7777)
    };
    for name in ["made", "given", "set-id"] {
        assert_eq!(after(name), (4242, 4343, 0o755), "{name}");
    }
    assert_eq!(after("strangers"), (4444, 4444, 0o700));
    assert_eq!(after("closed"), (0, 0, 0o750));
    assert_eq!(after("filled"), (0, 0, 0o700));
}

#[test]
fn exchange_swaps_both_and_keeps_the_number_of_the_error() {
    let (temp, dir) = made();
    for name in ["old", "new"] {
        fs::create_dir(temp.path().join(name)).unwrap();
        fs::write(temp.path().join(name).join("which"), name).unwrap();
    }
    dir.exchange("new", "old").unwrap();
    assert_eq!(fs::read_to_string(temp.path().join("old/which")).unwrap(), "new");
    assert_eq!(fs::read_to_string(temp.path().join("new/which")).unwrap(), "old");
    let error = dir.exchange("new", "absent").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(Errno::ENOENT as i32));
}

#[test]
fn rename_noreplace_never_overwrites() {
    let (temp, dir) = made();
    fs::write(temp.path().join("a"), "a").unwrap();
    fs::write(temp.path().join("b"), "b").unwrap();
    assert_eq!(dir.rename_noreplace("a", "b").unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(fs::read_to_string(temp.path().join("b")).unwrap(), "b");
    dir.rename_noreplace("a", "c").unwrap();
    dir.rename("c", "b").unwrap();
    assert_eq!(fs::read_to_string(temp.path().join("b")).unwrap(), "a");
}

#[test]
fn where_the_file_system_knows_no_flags_a_rename_still_never_overwrites() {
    for errno in [Errno::EINVAL, Errno::ENOSYS] {
        let (temp, dir) = made();
        fs::write(temp.path().join("a"), "a").unwrap();
        fs::write(temp.path().join("b"), "b").unwrap();
        let refused = || Err(std::io::Error::from(errno));
        let answer = dir.or_look_and_rename(refused(), "a".as_ref(), "b".as_ref());
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(temp.path().join("b")).unwrap(), "b");
        dir.or_look_and_rename(refused(), "a".as_ref(), "c".as_ref()).unwrap();
        assert_eq!(fs::read_to_string(temp.path().join("c")).unwrap(), "a");
        assert!(!temp.path().join("a").exists());
    }
}

#[test]
fn remove_tree_refuses_depth_and_links_and_leaves_targets_alone() {
    let (temp, dir) = made();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("precious"), "x").unwrap();
    symlink(outside.path(), temp.path().join("link")).unwrap();
    fs::create_dir_all(temp.path().join("deep/er")).unwrap();
    fs::write(temp.path().join("deep/file"), "x").unwrap();
    fs::create_dir(temp.path().join("flat")).unwrap();
    symlink(outside.path(), temp.path().join("flat/link")).unwrap();
    fs::write(temp.path().join("flat/file"), "x").unwrap();

    dir.remove_tree("link").unwrap_err();
    assert_eq!(dir.remove_tree("deep").unwrap_err().kind(), ErrorKind::DirectoryNotEmpty);
    assert!(temp.path().join("deep/file").exists(), "refused means nothing was removed");
    dir.remove_tree("flat").unwrap();
    assert!(!dir.exists("flat").unwrap());
    assert!(outside.path().join("precious").exists());
}

#[test]
fn links_are_seen_as_links_and_entries_are_bounded() {
    let (_temp, dir) = made();
    dir.symlink("/nowhere", "dangling").unwrap();
    assert!(dir.exists("dangling").unwrap());
    assert_eq!(dir.stat("dangling").unwrap().kind, Kind::Link);
    assert_eq!(dir.read_link("dangling").unwrap().to_str(), Some("/nowhere"));
    dir.create_beneath("d", 0o755).unwrap();
    assert_eq!(dir.entries().unwrap(), ["d", "dangling"]);
    assert_eq!(dir.entries().unwrap(), ["d", "dangling"], "a second listing begins at the start");
    assert!(dir.entries_up_to(1).unwrap_err().to_string().contains("more than 1"));
    dir.rmdir("d").unwrap();
    dir.unlink("dangling").unwrap();
    assert_eq!(dir.unlink("dangling").unwrap_err().kind(), ErrorKind::NotFound);
}
