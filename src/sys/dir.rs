//! A directory by handle, so that what happens in it cannot be redirected.
//!
//! A path is resolved anew at every call, and whoever may write in one of its directories can
//! swap a symbolic link in between. A handle stays the directory it was. Guarantees:
//! - every operation takes *one* name in this directory, or (`open_beneath`) a path that the
//!   kernel keeps beneath it; no symbolic link is followed in any component of either;
//! - a name that is empty, `.`, `..`, or holds a slash or NUL is refused before any system call;
//! - nothing here is durable after a power cut until [`Dir::sync`] has returned; a rename or an
//!   exchange is seen whole or not at all, by readers and after a crash alike.

use super::at_path::{at_path, shown};
use nix::dir::Dir as Listing;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2, readlinkat, renameat};
use nix::sys::stat::{Mode, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, fsync, linkat, symlinkat, unlinkat};
use rustix::fs::{RenameFlags, renameat_with};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

pub use create::{make_private, make_state};
pub use stat::{Kind, Stat};

mod create;
mod stat;
#[cfg(test)]
mod tests;

/// More entries than this in one directory are an error and not a list.
pub const ENTRIES_AT_MOST: usize = 65_536;

/// The kernel answers EAGAIN when somebody renames directories while it resolves.
const RESOLVE_ATTEMPTS: usize = 16;

/// An open directory.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

impl Dir {
    /// Opens a directory by path. Links on the way are followed, here and nowhere else.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Dir> {
        let path = path.as_ref();
        let fd = nix::fcntl::open(path, directory_flags(), Mode::empty())
            .map_err(|errno| at_path("open directory", path, errno))?;
        Ok(Dir { fd, path: path.to_owned() })
    }

    /// Opens a directory beneath this one; no link is followed, nothing outside is reached.
    pub fn open_beneath(&self, rel: impl AsRef<Path>) -> io::Result<Dir> {
        let rel = rel.as_ref();
        let fd = self.resolve_beneath(rel, directory_flags(), "open directory")?;
        Ok(Dir { fd, path: self.path.join(rel) })
    }

    /// Opens what is beneath this directory, following no link; for files that others may plant.
    pub(super) fn resolve_beneath(&self, rel: &Path, flags: OFlag, tried: &str) -> io::Result<OwnedFd> {
        let how = OpenHow::new().flags(flags).resolve(
            ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS,
        );
        let mut attempts = 1;
        let errno = loop {
            match openat2(&self.fd, rel, how) {
                Ok(fd) => return Ok(fd),
                Err(Errno::EAGAIN | Errno::EINTR) if attempts < RESOLVE_ATTEMPTS => attempts += 1,
                Err(errno) => break errno,
            }
        };
        let path = self.path.join(rel);
        Err(match errno {
            Errno::ENOSYS => io::Error::new(
                io::ErrorKind::Unsupported,
                format!("cannot {tried} {}: this kernel has no openat2; Linux 5.6 or newer is needed", shown(&path)),
            ),
            Errno::ELOOP => io::Error::new(
                io::Error::from(errno).kind(),
                format!("cannot {tried} {}: a symbolic link is in the way and is not followed", shown(&path)),
            ),
            Errno::EXDEV => io::Error::new(
                io::Error::from(errno).kind(),
                format!("cannot {tried} {}: it leads outside of {}", shown(&path), shown(&self.path)),
            ),
            errno => at_path(tried, &path, errno),
        })
    }

    /// Removes a file or a link; an absent one is an error of kind `NotFound`.
    pub fn unlink(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        self.on("remove", name.as_ref(), |name| match unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir) {
            // A read-only file system refuses before it looks: what is not there need not be removed.
            Err(Errno::EROFS) => match fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
                Err(Errno::ENOENT) => Err(Errno::ENOENT),
                _ => Err(Errno::EROFS),
            },
            other => other,
        })
    }

    /// Removes a file or a link; says whether it was there.
    pub fn unlink_if_there(&self, name: impl AsRef<OsStr>) -> io::Result<bool> {
        match self.unlink(name) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Opens a directory below this one, as [`Dir::open_beneath`]; none where it is not there.
    pub fn open_if_there(&self, path: impl AsRef<Path>) -> io::Result<Option<Dir>> {
        match self.open_beneath(path) {
            Ok(dir) => Ok(Some(dir)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes an empty directory.
    pub fn rmdir(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        self.on("remove directory", name.as_ref(), |name| unlinkat(&self.fd, name, UnlinkatFlags::RemoveDir))
    }

    /// Makes a symbolic link; the target is text and is not looked at.
    pub fn symlink(&self, target: impl AsRef<OsStr>, name: impl AsRef<OsStr>) -> io::Result<()> {
        self.on("make link", name.as_ref(), |name| symlinkat(target.as_ref(), &self.fd, name))
    }

    /// Where a symbolic link points.
    pub fn read_link(&self, name: impl AsRef<OsStr>) -> io::Result<PathBuf> {
        self.on("read link", name.as_ref(), |name| readlinkat(&self.fd, name)).map(PathBuf::from)
    }

    /// The names in this directory, sorted; more than [`ENTRIES_AT_MOST`] are an error.
    pub fn entries(&self) -> io::Result<Vec<OsString>> {
        self.entries_up_to(ENTRIES_AT_MOST)
    }

    /// The names in this directory, sorted; more than that many are an error.
    pub fn entries_up_to(&self, most: usize) -> io::Result<Vec<OsString>> {
        let failed = |errno: Errno| at_path("list directory", &self.path, errno);
        // Opened anew: a listing through our own handle would share and move its position.
        let mut listing = Listing::openat(&self.fd, ".", directory_flags(), Mode::empty()).map_err(failed)?;
        let mut names = Vec::new();
        for entry in listing.iter() {
            let name = entry.map_err(failed)?.file_name().to_bytes().to_vec();
            if name == b"." || name == b".." {
                continue;
            }
            if names.len() == most {
                let text = format!("cannot list directory {}: more than {most} entries", shown(&self.path));
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            names.push(OsString::from_vec(name));
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Whether there is something of that name; a dangling link is something.
    pub fn exists(&self, name: impl AsRef<OsStr>) -> io::Result<bool> {
        match self.stat(name) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The metadata of a name; of a link itself.
    pub fn stat(&self, name: impl AsRef<OsStr>) -> io::Result<Stat> {
        self.on("look at", name.as_ref(), |name| fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW))
            .map(|stat| Stat::from(&stat))
    }

    /// The metadata of this directory.
    pub fn stat_self(&self) -> io::Result<Stat> {
        fstat(&self.fd).map(|stat| Stat::from(&stat)).map_err(|errno| at_path("look at", &self.path, errno))
    }

    /// Makes the names in this directory, as they are now, survive a power cut.
    pub fn sync(&self) -> io::Result<()> {
        fsync(&self.fd).map_err(|errno| at_path("sync directory", &self.path, errno))
    }

    /// Gives a file here a second name; one that exists already is an error of kind `AlreadyExists`.
    pub fn link(&self, name: impl AsRef<OsStr>, second: impl AsRef<OsStr>) -> io::Result<()> {
        let path = self.checked("link", second.as_ref())?;
        self.checked("link", name.as_ref())?;
        linkat(&self.fd, name.as_ref(), &self.fd, second.as_ref(), AtFlags::empty())
            .map_err(|errno| at_path("link", &path, errno))
    }

    /// Gives a file here the same name in another directory too; one that exists already is an error of kind `AlreadyExists`.
    pub fn link_into(&self, name: impl AsRef<OsStr>, other: &Dir) -> io::Result<()> {
        let path = other.checked("link", name.as_ref())?;
        linkat(&self.fd, name.as_ref(), &other.fd, name.as_ref(), AtFlags::empty())
            .map_err(|errno| at_path("link", &path, errno))
    }

    /// Renames within this directory, replacing what is there.
    pub fn rename(&self, from: impl AsRef<OsStr>, to: impl AsRef<OsStr>) -> io::Result<()> {
        let path = self.checked("rename to", to.as_ref())?;
        self.checked("rename", from.as_ref())?;
        renameat(&self.fd, from.as_ref(), &self.fd, to.as_ref()).map_err(|errno| at_path("rename to", &path, errno))
    }

    /// Renames within this directory; what is there already is an error of kind `AlreadyExists`.
    ///
    /// The kernel refuses, where it and the file system can (not on NFS, FUSE and older ZFS). Where
    /// they cannot, one look before has to do: callers hold the lock of all who make such names.
    pub fn rename_noreplace(&self, from: impl AsRef<OsStr>, to: impl AsRef<OsStr>) -> io::Result<()> {
        let (from, to) = (from.as_ref(), to.as_ref());
        let flagged = self.rename_flagged(from, to, RenameFlags::NOREPLACE);
        self.or_look_and_rename(flagged, from, to)
    }

    fn or_look_and_rename(&self, flagged: io::Result<()>, from: &OsStr, to: &OsStr) -> io::Result<()> {
        match flagged {
            Err(error) if knows_no_flags(&error) => {
                if self.exists(to)? {
                    return Err(at_path("rename to", &self.path.join(to), Errno::EEXIST));
                }
                self.rename(from, to)
            }
            other => other.map_err(|error| at_path("rename to", &self.path.join(to), error)),
        }
    }

    /// Swaps two names in one step, the only one that no crash and no reader sees half done.
    ///
    /// The error is the system's own, with its number: EINVAL and ENOSYS say that the file system
    /// or the kernel cannot, EBUSY that one of the two is a mount point.
    pub fn exchange(&self, from: impl AsRef<OsStr>, to: impl AsRef<OsStr>) -> io::Result<()> {
        self.rename_flagged(from.as_ref(), to.as_ref(), RenameFlags::EXCHANGE)
    }

    pub(super) fn rename_flagged(&self, from: &OsStr, to: &OsStr, flags: RenameFlags) -> io::Result<()> {
        self.checked("rename", from)?;
        self.checked("rename to", to)?;
        Ok(renameat_with(&self.fd, from, &self.fd, to, flags)?)
    }

    /// Removes a directory that holds files and links only.
    ///
    /// One that holds a directory is refused before anything is removed, and so is a link. A crash
    /// in between leaves it with fewer entries: for directories that nothing refers to any more.
    pub fn remove_tree(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        let name = name.as_ref();
        self.checked("remove directory", name)?;
        let doomed = self.open_beneath(name)?;
        let entries = doomed.entries()?;
        for entry in &entries {
            if doomed.stat(entry)?.kind == Kind::Directory {
                let text =
                    format!("refused to remove {}: it holds directory {}", shown(&doomed.path), shown(entry.as_ref()));
                return Err(io::Error::new(io::ErrorKind::DirectoryNotEmpty, text));
            }
        }
        for entry in &entries {
            doomed.unlink(entry)?;
        }
        self.rmdir(name)
    }

    /// The path it was opened by, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn on<T>(&self, tried: &str, name: &OsStr, call: impl FnOnce(&OsStr) -> nix::Result<T>) -> io::Result<T> {
        let path = self.checked(tried, name)?;
        call(name).map_err(|errno| at_path(tried, &path, errno))
    }

    /// The path of a name that is one name.
    pub(super) fn checked(&self, tried: &str, name: &OsStr) -> io::Result<PathBuf> {
        let bytes = name.as_bytes();
        if bytes.is_empty() || bytes == b"." || bytes == b".." || bytes.contains(&b'/') || bytes.contains(&0) {
            let text = format!("cannot {tried} {:?} in {}: not a file name", shown(name.as_ref()), shown(&self.path));
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Ok(self.path.join(name))
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether the file system (EINVAL) or the kernel (ENOSYS) knows no flags for a rename.
pub(super) fn knows_no_flags(error: &io::Error) -> bool {
    [Errno::EINVAL, Errno::ENOSYS].iter().any(|&errno| error.raw_os_error() == Some(errno as i32))
}

fn directory_flags() -> OFlag {
    OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC
}
