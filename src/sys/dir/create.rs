//! Making a directory, with the owner and mode that it is to have.

use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::stat::{Mode, fchmod, mkdirat};
use nix::unistd::{Gid, Uid, fchown, geteuid};

use super::Dir;
use crate::sys::at_path::at_path;

/// What a directory is made with, whatever it is to have in the end: nobody looks in before its owner is right.
const PRIVATE: u32 = 0o700;

impl Dir {
    /// Makes a directory if it is missing, with exactly this mode, and opens it.
    ///
    /// An existing one is opened as it is. A crash leaves it absent, or empty and still private, and one that was left
    /// so gets its owner and mode from the next call.
    pub fn create_beneath(&self, name: impl AsRef<OsStr>, mode: u32) -> io::Result<Dir> {
        self.create(name.as_ref(), mode, false)
    }

    /// As [`Dir::create_beneath`]; a directory made here gets this directory's owner and group.
    pub fn create_beneath_as_owner(&self, name: impl AsRef<OsStr>, mode: u32) -> io::Result<Dir> {
        self.create(name.as_ref(), mode, true)
    }

    fn create(&self, name: &OsStr, mode: u32, as_owner: bool) -> io::Result<Dir> {
        let path = self.checked("make directory", name)?;
        let is_new = match mkdirat(&self.fd, name, Mode::from_bits_truncate(PRIVATE)) {
            Ok(()) => true,
            Err(Errno::EEXIST) => false,
            Err(errno) => return Err(at_path("make directory", &path, errno)),
        };
        let found = self.open_beneath(name)?;
        // Who may write here could have swapped in another directory since; one that holds
        // something is not the one just made, and its owner and mode are not ours to change.
        if !(is_new || self.is_half_made(&found, mode, as_owner)?) || !found.entries()?.is_empty() {
            return Ok(found);
        }
        match self.dress(&found, mode, as_owner) {
            Ok(()) => {}
            Err(error) if is_new => {
                let _ = self.rmdir(name);
                return Err(at_path("set owner and mode of directory", &path, error));
            }
            // It was here before us, and may be right for somebody as it is.
            Err(_) => return Ok(found),
        }
        found.sync()?;
        self.sync()?;
        Ok(found)
    }

    /// Whether a kill between its making and its mode may have left it so: private, and of one of the two owners that
    /// it has on the way.
    fn is_half_made(&self, found: &Dir, mode: u32, as_owner: bool) -> io::Result<bool> {
        let is = found.stat_self()?;
        let is_private = is.mode & 0o777 == PRIVATE && mode != PRIVATE;
        Ok(is_private && (is.uid == geteuid().as_raw() || (as_owner && is.uid == self.stat_self()?.uid)))
    }

    /// Owner before mode: chown takes set-id bits away, and a mode must not open to the wrong group.
    fn dress(&self, fresh: &Dir, mode: u32, as_owner: bool) -> io::Result<()> {
        let (wanted, is) = (self.stat_self()?, fresh.stat_self()?);
        if as_owner && (wanted.uid, wanted.gid) != (is.uid, is.gid) {
            fchown(&fresh.fd, Some(Uid::from_raw(wanted.uid)), Some(Gid::from_raw(wanted.gid)))?;
        }
        Ok(fchmod(&fresh.fd, Mode::from_bits_truncate(mode))?)
    }

    /// Gives it an owner and then a mode, which must not open to the wrong group.
    pub fn set_owner_and_mode(&self, uid: u32, gid: u32, mode: u32) -> io::Result<()> {
        fchown(&self.fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
            .and_then(|()| fchmod(&self.fd, Mode::from_bits_truncate(mode)))
            .map_err(|errno| at_path("set owner and mode of", self.path(), errno))
    }
}

/// Makes a directory by path for nobody else; what is there already stays as it is.
pub fn make_private(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(PRIVATE).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(io::Error::new(error.kind(), format!("cannot make {}: {error}", path.display())))
        }
        _ => Ok(()),
    }
}

/// Makes a state directory, and what is above it, for nobody else; what is there already stays as it is.
pub fn make_state(path: &Path) -> io::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(PRIVATE).create(path);
    made.map_err(|error| {
        io::Error::new(error.kind(), format!("cannot make the state directory {}: {error}", path.display()))
    })
}
