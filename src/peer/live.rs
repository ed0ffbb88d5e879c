//! `live/NAME`: the directory of links that says which version is in use.

use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use thiserror::Error;

use crate::model::bundle::{Number, Part};
use crate::model::names::LineageName;
use crate::peer::archive::own_directory;
use crate::peer::state::Before;
use crate::sys::atomic::{self, Attributes};
use crate::sys::dir::{Dir, Kind};
use crate::wire::message::Ownership;
use crate::wire::transaction_id::TransactionId;

const README: &[u8] = b"What is here are links to each certificate's newest version, kept up by certcast\n\
from the server where certbot runs. Name them in the configuration of services; do not edit, move or delete them.\n";

/// What is wrong with `live/NAME` for us.
#[derive(Debug, Error)]
pub enum LiveError {
    /// Not certbot's layout.
    #[error("{0}: {1}")]
    Foreign(String, String),
    /// The disk. The path is in the error.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The `live` directory, seen for one lineage and one transaction.
#[derive(Debug)]
pub struct Live {
    dir: Dir,
    lineage: LineageName,
}

impl Live {
    /// Opens `live`, made with certbot's 0700 where it is missing.
    pub fn create(letsencrypt: &Dir, lineage: &LineageName) -> io::Result<Live> {
        Ok(Live { dir: letsencrypt.create_beneath("live", 0o700)?, lineage: lineage.clone() })
    }

    /// Opens `live`, if it is there.
    pub fn open(letsencrypt: &Dir, lineage: &LineageName) -> io::Result<Option<Live>> {
        Ok(letsencrypt.open_if_there("live")?.map(|dir| Live { dir, lineage: lineage.clone() }))
    }

    /// The visible directory's path.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join(self.lineage.as_str())
    }

    /// The staged directory's path.
    pub fn stage_path(&self, transaction: &TransactionId) -> PathBuf {
        self.dir.path().join(self.stage_name(transaction))
    }

    fn stage_name(&self, transaction: &TransactionId) -> String {
        format!(".{}.stage-{transaction}", self.lineage)
    }

    /// The number that the visible directory shows; none when there is no such directory.
    pub fn number(&self) -> Result<Option<Number>, LiveError> {
        self.number_of(self.lineage.as_str())
    }

    fn number_of(&self, name: &str) -> Result<Option<Number>, LiveError> {
        let foreign = |why: String| LiveError::Foreign(self.dir.path().join(name).display().to_string(), why);
        let stat = match self.dir.stat(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            stat => stat?,
        };
        if stat.kind != Kind::Directory {
            return Err(foreign("not a directory".into()));
        }
        let dir = self.dir.open_beneath(name)?;
        let mut numbers = Vec::new();
        for entry in dir.entries()? {
            let entry = entry.to_string_lossy();
            if entry == "README" || entry.starts_with(".certcast-") {
                continue;
            }
            let Some(part) = Part::ALL.into_iter().find(|part| part.link() == entry) else {
                return Err(foreign(format!("holds {entry}, which is no file of certbot's")));
            };
            let target = match dir.read_link(&*entry) {
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    return Err(foreign(format!("{entry} is not a link into archive/")));
                }
                target => target?,
            };
            match self.number_in(part, &target) {
                Some(number) => numbers.push(number),
                None => return Err(foreign(format!("{entry} points to {}", target.display()))),
            }
        }
        match numbers.as_slice() {
            [number, rest @ ..] if rest.len() == 3 && rest.iter().all(|other| other == number) => Ok(Some(*number)),
            [_, _, _, _] => Err(foreign("its links show different versions".into())),
            _ => Err(foreign("some of its four links are missing".into())),
        }
    }

    fn number_in(&self, part: Part, target: &Path) -> Option<Number> {
        let file = target.to_str()?.strip_prefix(&format!("../../archive/{}/", self.lineage))?;
        Part::of_file(file).filter(|(of, _)| *of == part).map(|(_, number)| number)
    }

    fn target(&self, part: Part, number: Number) -> String {
        format!("../../archive/{}/{}", self.lineage, part.file(number))
    }

    /// Stages a directory that shows a number, durable and invisible to everybody but us.
    pub fn stage(&self, transaction: &TransactionId, number: Number, like: Ownership) -> io::Result<()> {
        let dir = self.dir.create_beneath(self.stage_name(transaction), 0o700)?;
        for part in Part::ALL {
            dir.symlink(self.target(part, number), part.link())?;
        }
        let attributes = Attributes { mode: 0o644, owner: Some((like.uid, like.gid)) };
        atomic::write_new(&dir, "README", README, &attributes)?;
        own_directory(&dir, like)?;
        self.dir.sync()
    }

    /// Makes the staged directory the visible one: in one step where the kernel and the file system
    /// can, else link by link, with the journal's word for what a crash leaves.
    pub fn switch(&self, transaction: &TransactionId, before: Before, to: Number) -> io::Result<()> {
        let (stage, visible) = (self.stage_name(transaction), self.lineage.as_str());
        match before {
            Before::Certbot => return Ok(()),
            Before::Nothing => self.dir.rename_noreplace(&stage, visible)?,
            Before::Number(_) | Before::Foreign => match self.dir.exchange(&stage, visible) {
                Err(error) if before != Before::Foreign && cannot_exchange(&error) => self.relink(to)?,
                other => other?,
            },
        }
        self.dir.sync()
    }

    /// Whether `switch` made the new directory the visible one, or made a part of it so.
    pub fn is_switched(&self, before: Before, to: Number) -> io::Result<bool> {
        match before {
            Before::Certbot => Ok(false),
            Before::Number(from) => Ok(from != to && self.names(to)?),
            // A tree that is taken over may have links of ours among others.
            Before::Nothing | Before::Foreign => self.shows(self.lineage.as_str(), to),
        }
    }

    /// Whether anything is under the stage's name.
    pub fn has_stage(&self, transaction: &TransactionId) -> io::Result<bool> {
        self.dir.exists(self.stage_name(transaction))
    }

    /// Whether any link of the visible directory names this number.
    pub fn names(&self, number: Number) -> io::Result<bool> {
        let visible = self.lineage.as_str();
        if !self.dir.exists(visible)? || self.dir.stat(visible)?.kind != Kind::Directory {
            return Ok(false);
        }
        let dir = self.dir.open_beneath(visible)?;
        for part in Part::ALL {
            match dir.read_link(part.link()) {
                Ok(link) if self.number_in(part, &link) == Some(number) => return Ok(true),
                // There is none, or it is no link.
                Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) => {
                    return Err(error);
                }
                _ => {}
            }
        }
        Ok(false)
    }

    /// Makes the old directory the visible one again, whatever a crash or `switch` left. It may be repeated until
    /// `discard` begins.
    ///
    /// What waits under the stage's name tells whether the switch was made, not what is visible: somebody
    /// may have put a file beside our links in the meantime.
    pub fn undo(&self, transaction: &TransactionId, before: Before, to: Number) -> io::Result<()> {
        let (stage, visible) = (self.stage_name(transaction), self.lineage.as_str());
        match before {
            Before::Certbot => return Ok(()),
            Before::Nothing if !self.dir.exists(&stage)? && self.dir.exists(visible)? => {
                self.dir.rename_noreplace(visible, &stage)?;
            }
            // Without anything under the stage's name this is an error: there is nothing to go back to.
            Before::Foreign if !self.shows(&stage, to)? => self.exchange(&stage, visible)?,
            Before::Nothing | Before::Foreign => {}
            Before::Number(from) if self.shows(visible, from)? => {}
            Before::Number(from) if self.shows(&stage, from)? => self.exchange(&stage, visible)?,
            Before::Number(from) => self.relink(from)?,
        }
        self.dir.sync()
    }

    /// Whether a directory shows this number in full. A disk that does not say is no answer: what is exchanged once too often
    /// is the new one again.
    fn shows(&self, name: &str, number: Number) -> io::Result<bool> {
        match self.number_of(name) {
            Ok(shown) => Ok(shown == Some(number)),
            Err(LiveError::Foreign(..)) => Ok(false),
            Err(LiveError::Io(error)) => Err(error),
        }
    }

    fn exchange(&self, stage: &str, visible: &str) -> io::Result<()> {
        let path = self.path();
        let told =
            |error: io::Error| io::Error::new(error.kind(), format!("cannot exchange {}: {error}", path.display()));
        self.dir.exchange(stage, visible).map_err(told)
    }

    /// Leaves certbot's other file in `live`, where it is missing, and takes away what a killed call left of it.
    pub fn explain(&self) -> io::Result<()> {
        atomic::remove_leftovers(&self.dir)?;
        if self.dir.exists("README")? {
            return Ok(());
        }
        atomic::write_new(&self.dir, "README", README, &Attributes { mode: 0o644, owner: None })
    }

    /// Removes what is staged: the new directory before a switch or after its undoing, the old one after a success.
    /// A directory in which somebody put something is kept; its path is returned.
    pub fn discard(&self, transaction: &TransactionId) -> io::Result<Option<PathBuf>> {
        let stage = self.stage_name(transaction);
        if let Ok(visible) = self.dir.open_beneath(self.lineage.as_str()) {
            remove_prepared(&visible)?;
        }
        if !self.dir.exists(&stage)? {
            return Ok(None);
        }
        if !self.is_ours(&stage)? {
            return self.keep(transaction);
        }
        self.dir.remove_tree(&stage)?;
        self.dir.sync()?;
        Ok(None)
    }

    /// Puts what is staged aside for good, and says where; for a directory that was taken over.
    pub fn keep(&self, transaction: &TransactionId) -> io::Result<Option<PathBuf>> {
        let (stage, backup) = (self.stage_name(transaction), format!(".{}.replaced-{transaction}", self.lineage));
        if !self.dir.exists(&stage)? {
            return Ok(None);
        }
        self.dir.rename_noreplace(&stage, &backup)?;
        self.dir.sync()?;
        Ok(Some(self.dir.path().join(backup)))
    }

    /// Whether a directory holds only what `stage` and `relink` make, all of it or a part.
    fn is_ours(&self, name: &str) -> io::Result<bool> {
        // Somebody's link to a directory was taken over.
        if self.dir.stat(name)?.kind != Kind::Directory {
            return Ok(false);
        }
        let dir = self.dir.open_beneath(name)?;
        for entry in dir.entries()? {
            let entry = entry.to_string_lossy();
            let part = Part::ALL.into_iter().find(|part| part.link() == entry);
            let links = |part| dir.read_link(&*entry).is_ok_and(|target| self.number_in(part, &target).is_some());
            if !(entry == "README" || entry.starts_with(".certcast-") || part.is_some_and(links)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Points the four links at one number, each by an atomic rename. Repeating it mends any mix of numbers.
    fn relink(&self, number: Number) -> io::Result<()> {
        let dir = self.dir.open_beneath(self.lineage.as_str())?;
        remove_prepared(&dir)?;
        for part in Part::ALL {
            dir.symlink(self.target(part, number), prepared(part))?;
            dir.rename(prepared(part), part.link())?;
        }
        dir.sync()
    }
}

/// The name under which a link waits for its rename.
fn prepared(part: Part) -> String {
    format!(".certcast-{}.link", part.stem())
}

fn remove_prepared(dir: &Dir) -> io::Result<()> {
    for part in Part::ALL {
        dir.unlink_if_there(prepared(part))?;
    }
    Ok(())
}

/// A file system without `RENAME_EXCHANGE`, or a `live/NAME` that is a mount point.
fn cannot_exchange(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EINVAL | Errno::ENOSYS | Errno::EBUSY | Errno::EXDEV | Errno::EOPNOTSUPP))
}
