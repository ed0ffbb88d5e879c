//! A host's files, reached through its holder's root directory: no program is run for it.

use std::fmt;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use certcast::model::digest::Digest;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::Mode;

use super::host::Host;
use super::namespaces::repository;

/// What stands at a path: everything two trees must agree on but the content's meaning.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// Below the directory asked for.
    pub path: PathBuf,
    /// `f`, `d` or `l`.
    pub kind: char,
    /// Permission bits; 0o777 for links, whose bits mean nothing.
    pub mode: u32,
    /// User and group, by number.
    pub owner: (u32, u32),
    /// Where a link points.
    pub target: Option<PathBuf>,
    /// What a file holds.
    pub content: Option<Vec<u8>>,
}

/// One short line: a failed comparison of two trees is to be read by a person.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{} {:o} {:?} {}", self.kind, self.mode, self.owner, self.path.display())?;
        if let Some(target) = &self.target {
            write!(f, " -> {}", target.display())?;
        }
        match &self.content {
            Some(content) => write!(f, " {} bytes, sha256 {}", content.len(), Digest::of(content)),
            None => Ok(()),
        }
    }
}

impl Host {
    /// A file's bytes. Links, absolute ones too, are followed as on the host itself.
    #[track_caller]
    pub fn read(&self, path: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.open(path, OFlag::O_RDONLY).read_to_end(&mut bytes).unwrap();
        bytes
    }

    /// A file as text.
    #[track_caller]
    pub fn text(&self, path: &str) -> String {
        String::from_utf8(self.read(path)).unwrap()
    }

    /// Writes a file, with its directories; an existing one keeps its owner and mode.
    #[track_caller]
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        if let Some(parent) = Path::new(path).parent() {
            std::fs::create_dir_all(self.path(parent)).unwrap();
        }
        self.open(path, OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC).write_all(content.as_ref()).unwrap();
    }

    /// Adds to a file's end.
    #[track_caller]
    pub fn append(&self, path: &str, content: impl AsRef<[u8]>) {
        self.open(path, OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_APPEND).write_all(content.as_ref()).unwrap();
    }

    /// Whether there is anything, be it a dangling link.
    pub fn exists(&self, path: &str) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    /// Makes a directory and those above it.
    #[track_caller]
    pub fn mkdir(&self, path: &str) {
        std::fs::create_dir_all(self.path(path)).unwrap();
    }

    /// Makes a symbolic link.
    #[track_caller]
    pub fn link(&self, target: &str, path: &str) {
        symlink(target, self.path(path)).unwrap();
    }

    /// Removes a file, a link or a whole directory.
    #[track_caller]
    pub fn remove(&self, path: &str) {
        let path = self.path(path);
        if path.symlink_metadata().unwrap().is_dir() {
            std::fs::remove_dir_all(path).unwrap();
        } else {
            std::fs::remove_file(path).unwrap();
        }
    }

    /// Renames within the host.
    #[track_caller]
    pub fn rename(&self, from: &str, to: &str) {
        std::fs::rename(self.path(from), self.path(to)).unwrap();
    }

    /// Sets permission bits.
    #[track_caller]
    pub fn chmod(&self, path: &str, mode: u32) {
        std::fs::set_permissions(self.path(path), Permissions::from_mode(mode)).unwrap();
    }

    /// Sets user and group by number; a link itself, not what it points to.
    #[track_caller]
    pub fn chown(&self, path: &str, user: u32, group: u32) {
        std::os::unix::fs::lchown(self.path(path), Some(user), Some(group)).unwrap();
    }

    /// The permission bits.
    #[track_caller]
    pub fn mode(&self, path: &str) -> u32 {
        self.path(path).symlink_metadata().unwrap().mode() & 0o7777
    }

    /// User and group by number.
    #[track_caller]
    pub fn owner(&self, path: &str) -> (u32, u32) {
        let found = self.path(path).symlink_metadata().unwrap();
        (found.uid(), found.gid())
    }

    /// Where a link points.
    #[track_caller]
    pub fn target(&self, path: &str) -> PathBuf {
        std::fs::read_link(self.path(path)).unwrap()
    }

    /// The names in a directory, sorted; none when it does not exist.
    pub fn list(&self, path: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path(path)) else { return Vec::new() };
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Everything below a directory, sorted by path; nothing when it does not exist. What is removed during the walk is
    /// not there, nor is the repository, which every host has where it is on this machine.
    pub fn tree(&self, path: &str) -> Vec<Entry> {
        let (top, hidden) = (self.path(path), self.path(repository()));
        let found = walkdir::WalkDir::new(&top).min_depth(1).sort_by_file_name();
        found
            .into_iter()
            .filter_entry(move |entry| entry.path() != hidden)
            .filter_map(|entry| match entry {
                Ok(entry) => unless_gone(describe(&top, &entry)),
                Err(error) => unless_gone(Err(error.into())),
            })
            .collect()
    }

    /// A small disk at a directory, made if need be: `options` as for tmpfs, such as `size=64k` or `nr_inodes=20`.
    pub fn small_disk(&self, path: &str, options: &str) {
        self.mkdir(path);
        self.run(["mount", "-t", "tmpfs", "-o", options, "disk", path]).ok();
    }

    pub(super) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        let below = path.strip_prefix("/").unwrap_or_else(|_| panic!("{} must be absolute", path.display()));
        self.root().join(below)
    }

    #[track_caller]
    fn open(&self, path: &str, flags: OFlag) -> File {
        let root = OpenOptions::new().read(true).open(self.root()).unwrap();
        let mode = if flags.contains(OFlag::O_CREAT) { Mode::from_bits_truncate(0o644) } else { Mode::empty() };
        let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).mode(mode).resolve(ResolveFlag::RESOLVE_IN_ROOT);
        // Whoever renames anywhere on the machine while the kernel resolves makes it ask to be asked again.
        let file: OwnedFd = loop {
            match openat2(&root, path, how) {
                Err(Errno::EAGAIN) => {}
                other => break other.unwrap_or_else(|error| panic!("{}:{path}: {error}", self.name())),
            }
        };
        file.into()
    }
}

#[track_caller]
fn unless_gone(entry: io::Result<Entry>) -> Option<Entry> {
    match entry {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        entry => Some(entry.unwrap()),
    }
}

fn describe(top: &Path, found: &walkdir::DirEntry) -> io::Result<Entry> {
    let metadata = found.path().symlink_metadata()?;
    let kind = metadata.file_type();
    let (is_link, is_file) = (kind.is_symlink(), kind.is_file());
    Ok(Entry {
        path: found.path().strip_prefix(top).unwrap().to_owned(),
        kind: if kind.is_dir() {
            'd'
        } else if is_link {
            'l'
        } else {
            'f'
        },
        mode: metadata.mode() & 0o7777,
        owner: (metadata.uid(), metadata.gid()),
        target: is_link.then(|| std::fs::read_link(found.path())).transpose()?,
        content: is_file.then(|| std::fs::read(found.path())).transpose()?,
    })
}
