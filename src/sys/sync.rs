//! Makes files that another program wrote survive a power cut.
//!
//! certbot never syncs: a power cut soon after a renewal leaves empty files under the new names.
//! When [`sync_tree_files`] has returned, the files, the names that lead to them and the
//! directories that hold those names are on the disk. It changes nothing.

use super::at_path::{at_path, shown};
use super::dir::Dir;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Syncs files, given by path or by a link to them, then their directories and those above.
///
/// Directories come last: a name must not reach the disk before what it names.
pub fn sync_tree_files(paths: &[impl AsRef<Path>]) -> io::Result<()> {
    let mut directories = BTreeSet::new();
    for path in paths {
        let path = path.as_ref();
        let target = fs::canonicalize(path).map_err(|error| at_path("sync", path, error))?;
        sync_file(&target)?;
        directories.extend(two_above(&target));
        directories.extend(two_above(path));
    }
    directories.iter().try_for_each(|directory| Dir::open(directory)?.sync())
}

fn sync_file(path: &Path) -> io::Result<()> {
    // Non-blocking: a FIFO in the file's place must not make us wait for its writer.
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let file = File::from(open(path, flags, Mode::empty()).map_err(|errno| at_path("sync", path, errno))?);
    let kind = file.metadata().map_err(|error| at_path("sync", path, error))?.file_type();
    if !kind.is_file() && !kind.is_dir() {
        let text = format!("cannot sync {}: not a regular file", shown(path));
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    file.sync_all().map_err(|error| at_path("sync", path, error))
}

/// The directory of a name, and the one above it: a first issue makes the directory too.
fn two_above(path: &Path) -> impl Iterator<Item = PathBuf> {
    path.ancestors().skip(1).take(2).filter(|above| !above.as_os_str().is_empty()).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{sync_tree_files, two_above};
    use nix::sys::stat::Mode;
    use std::io::ErrorKind;
    use std::path::Path;

    #[test]
    fn files_and_links_are_synced_and_what_is_missing_is_named() {
        let temp = tempfile::tempdir().unwrap();
        let (file, link) = (temp.path().join("file"), temp.path().join("link"));
        std::fs::write(&file, "x").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        sync_tree_files(&[&file, &link]).unwrap();
        std::fs::remove_file(&file).unwrap();
        let error = sync_tree_files(&[&link]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("link"), "{error}");
    }

    #[test]
    fn a_fifo_is_refused_and_not_waited_for() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("fifo");
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
        assert_eq!(sync_tree_files(&[&path]).unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn the_directory_and_the_one_above_are_named() {
        let above = |path| two_above(Path::new(path)).map(|p| p.display().to_string()).collect::<Vec<_>>();
        assert_eq!(above("/a/b/c/d"), ["/a/b/c", "/a/b"]);
        assert_eq!(above("/a"), ["/"]);
        assert_eq!(above("a/b"), ["a"]);
    }
}
