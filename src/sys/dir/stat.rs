//! What the system says of one name in a directory.

use nix::sys::stat::{FileStat, SFlag};

/// What a name in a directory stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, whatever it points to.
    Link,
    /// A FIFO, socket or device.
    Other,
}

/// The metadata of one name, of a link itself and not of its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: Kind,
    /// The permission bits, with set-id and sticky.
    pub mode: u32,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// Last change of the content, in seconds since 1970.
    pub modified: i64,
}

impl From<&FileStat> for Stat {
    fn from(stat: &FileStat) -> Self {
        let kind = match SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) {
            SFlag::S_IFREG => Kind::File,
            SFlag::S_IFDIR => Kind::Directory,
            SFlag::S_IFLNK => Kind::Link,
            _ => Kind::Other,
        };
        Stat { kind, mode: stat.st_mode & 0o7777, uid: stat.st_uid, gid: stat.st_gid, modified: stat.st_mtime }
    }
}
