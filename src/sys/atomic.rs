//! Files that are whole or absent.
//!
//! A file appears under its name only when its content, owner and mode are on the disk: written
//! under a temporary name in the same directory, synced, renamed, and the directory synced. After
//! a kill, a power cut or a full disk at any moment the name holds what it held before, or all of
//! the new; what may stay is a temporary file, and [`remove_leftovers`] takes it away. The content
//! is never readable by more than the final owner and mode allow, not even for a moment.

use super::at_path::at_path;
use super::dir::{Dir, Kind, Stat, knows_no_flags};
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{Gid, Uid, fchown, linkat};
use rustix::fs::RenameFlags;
use std::ffi::OsStr;
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[cfg(test)]
mod tests;

const TEMP_PREFIX: &str = ".certcast-";
const TEMP_SUFFIX: &str = ".tmp";

/// Owner, by number, and mode of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// The permission bits, whatever the umask is.
    pub mode: u32,
    /// User and group; `None` leaves what the system gives a new file.
    pub owner: Option<(u32, u32)>,
}

impl Attributes {
    /// Those of a file; of one that is not there, for nobody else.
    pub fn of(path: &Path) -> Attributes {
        match std::fs::metadata(path) {
            Ok(metadata) => {
                Attributes { mode: metadata.mode() & 0o7777, owner: Some((metadata.uid(), metadata.gid())) }
            }
            Err(_) => Attributes { mode: 0o600, owner: None },
        }
    }
}

/// Writes a file that must not exist yet; one that does is an error of kind `AlreadyExists`.
///
/// After an error nothing of that name was made.
pub fn write_new(dir: &Dir, name: &str, content: &[u8], attrs: &Attributes) -> io::Result<()> {
    let path = dir.checked("write", name.as_ref())?;
    let mut temp = Temp::create(dir, attrs).map_err(|error| at_path("write", &path, error))?;
    temp.fill(content).and_then(|()| temp.publish_new(name)).map_err(|error| at_path("write", &path, error))?;
    dir.sync().inspect_err(|_| {
        // The name is ours and may not survive a power cut: an error means absent.
        let _ = dir.unlink(name);
    })
}

/// Writes a file in place of the one of that name, if there is one.
///
/// A reader that has the old one open keeps it; a link of that name is replaced, not followed.
pub fn replace(dir: &Dir, name: &str, content: &[u8], attrs: &Attributes) -> io::Result<()> {
    replace_before_sync(dir, name, content, attrs)?;
    dir.sync()
}

/// The same without the last step, for many files in one directory: durable when the caller has synced that.
pub fn replace_before_sync(dir: &Dir, name: &str, content: &[u8], attrs: &Attributes) -> io::Result<()> {
    let path = dir.checked("write", name.as_ref())?;
    let mut temp = Temp::create(dir, attrs).map_err(|error| at_path("write", &path, error))?;
    temp.fill(content).map_err(|error| at_path("write", &path, error))?;
    temp.publish_over(name)
}

/// [`replace`] for a path whose directory is trusted and exists.
pub fn replace_path(path: &Path, content: &[u8], attrs: &Attributes) -> io::Result<()> {
    let Some(name) = path.file_name().and_then(OsStr::to_str) else {
        return Err(at_path("write", path, io::Error::new(io::ErrorKind::InvalidInput, "not a file name")));
    };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    replace(&Dir::open(parent)?, name, content, attrs)
}

/// [`replace_path`] for somebody's file: where a link leads, with the owner and mode that it has; a new one is for nobody else.
pub fn rewrite(path: &Path, content: &[u8]) -> io::Result<()> {
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    replace_path(&path, content, &Attributes::of(&path))
}

/// Removes what killed writers left in a directory, and says how many there were.
///
/// It takes a writer at work for a dead one: the caller holds the lock that writers hold.
pub fn remove_leftovers(dir: &Dir) -> io::Result<usize> {
    remove_leftovers_where(dir, |_| true)
}

/// The same for directories where writers are at work whose lock we do not have: what is younger stays.
pub fn remove_leftovers_older_than(dir: &Dir, age: Duration) -> io::Result<usize> {
    let limit = SystemTime::now().checked_sub(age).and_then(|limit| limit.duration_since(UNIX_EPOCH).ok());
    let limit = limit.and_then(|limit| i64::try_from(limit.as_secs()).ok()).unwrap_or(0);
    remove_leftovers_where(dir, |stat| stat.modified < limit)
}

fn remove_leftovers_where(dir: &Dir, is_dead: impl Fn(&Stat) -> bool) -> io::Result<usize> {
    let mut removed = 0;
    for name in dir.entries()? {
        if !is_temp_name(&name) {
            continue;
        }
        match dir.stat(&name) {
            Ok(stat) if stat.kind == Kind::File && is_dead(&stat) => {}
            Ok(_) => continue,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        }
        if dir.unlink_if_there(&name)? {
            removed += 1;
        }
    }
    if removed > 0 {
        dir.sync()?;
    }
    Ok(removed)
}

fn temp_name() -> String {
    // Hashers start from the system's randomness. The name need not be secret: O_EXCL refuses
    // one that is taken, it only must not be taken by a stranger again and again.
    let random = RandomState::new().build_hasher().finish();
    format!("{TEMP_PREFIX}{random:016x}{TEMP_SUFFIX}")
}

fn is_temp_name(name: &OsStr) -> bool {
    let middle = name.to_str().and_then(|name| name.strip_prefix(TEMP_PREFIX)?.strip_suffix(TEMP_SUFFIX));
    middle.is_some_and(|hex| hex.len() == 16 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// A file under its temporary name, unlinked on drop unless it was published.
struct Temp<'d> {
    dir: &'d Dir,
    name: String,
    file: File,
    published: bool,
}

impl<'d> Temp<'d> {
    /// Makes it, still empty, with its final owner and mode.
    fn create(dir: &'d Dir, attrs: &Attributes) -> io::Result<Self> {
        let name = temp_name();
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = openat(dir, name.as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
        let temp = Temp { dir, name, file: File::from(fd), published: false };
        let is = temp.file.metadata()?;
        // chown first, since it takes set-id bits away; not at all where nothing changes, since
        // only root may.
        if let Some((uid, gid)) = attrs.owner.filter(|&wanted| wanted != (is.uid(), is.gid())) {
            fchown(&temp.file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        }
        fchmod(&temp.file, Mode::from_bits_truncate(attrs.mode))?;
        Ok(temp)
    }

    fn fill(&mut self, content: &[u8]) -> io::Result<()> {
        self.file.write_all(content)?;
        self.file.sync_all()
    }

    fn publish_new(&mut self, name: &str) -> io::Result<()> {
        match self.dir.rename_flagged(self.name.as_ref(), name.as_ref(), RenameFlags::NOREPLACE) {
            Ok(()) => {
                self.published = true;
                Ok(())
            }
            Err(error) if knows_no_flags(&error) => self.publish_by_link(name),
            Err(error) => Err(error),
        }
    }

    /// A second name for the file, which like the flag refuses a taken one; then the first one goes. One that cannot be
    /// removed is not published: nobody would come for it.
    fn publish_by_link(&mut self, name: &str) -> io::Result<()> {
        linkat(self.dir, self.name.as_str(), self.dir, name, AtFlags::empty())?;
        self.dir.unlink(&self.name).inspect_err(|_| {
            let _ = self.dir.unlink(name);
        })?;
        self.published = true;
        Ok(())
    }

    fn publish_over(&mut self, name: &str) -> io::Result<()> {
        self.dir.rename(&self.name, name)?;
        self.published = true;
        Ok(())
    }
}

impl Drop for Temp<'_> {
    fn drop(&mut self) {
        if !self.published {
            let _ = self.dir.unlink(&self.name);
        }
    }
}
