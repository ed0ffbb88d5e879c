//! Joined files: chain and key in one file, for services that want it so (`service.joined`).

use std::io;
use std::path::{Path, PathBuf};

use openssl::x509::X509;
use zeroize::Zeroizing;

use crate::model::bundle::{FILE_AT_MOST, PemFiles};
use crate::model::escape::escaped;
use crate::sys::atomic::{self, Attributes};
use crate::sys::bounded;
use crate::sys::dir::{Dir, Kind};
use crate::wire::message::Ownership;
use crate::wire::transaction_id::TransactionId;

/// One joined file and its directory. The new content is staged beside it, the old one kept beside
/// it until the transaction ends, so that both ways are one atomic rename.
#[derive(Debug)]
pub struct Joined {
    dir: Dir,
    name: String,
}

impl Joined {
    /// Opens the directory of a joined file.
    pub fn open(path: &Path) -> io::Result<Joined> {
        let unfit = || io::Error::new(io::ErrorKind::InvalidInput, format!("{} names no file", path.display()));
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(unfit)?;
        Ok(Joined { dir: Dir::open(path.parent().ok_or_else(unfit)?)?, name: name.to_owned() })
    }

    /// The visible file's path.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join(&self.name)
    }

    /// The staged file's path.
    pub fn stage_path(&self, transaction: &TransactionId) -> PathBuf {
        self.dir.path().join(self.beside("stage", transaction))
    }

    /// Whether the visible file is there.
    pub fn exists(&self) -> io::Result<bool> {
        self.dir.exists(&self.name)
    }

    /// Whether the visible file holds exactly this bundle.
    pub fn holds(&self, files: &PemFiles) -> bool {
        bounded::read_beneath(&self.dir, Path::new(&self.name), 2 * FILE_AT_MOST)
            .map(Zeroizing::new)
            .is_ok_and(|present| *present == content(files).as_bytes())
    }

    /// The certificates of the visible file, as PEM; none where it is not there or has none.
    pub fn certificates(&self) -> io::Result<Option<String>> {
        self.certificates_of(&self.name)
    }

    /// Those of what was visible before, as long as that is kept.
    pub fn old_certificates(&self, transaction: &TransactionId) -> io::Result<Option<String>> {
        self.certificates_of(&self.beside("old", transaction))
    }

    fn certificates_of(&self, name: &str) -> io::Result<Option<String>> {
        let text = match bounded::read_beneath(&self.dir, Path::new(name), 2 * FILE_AT_MOST) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let certificates = X509::stack_from_pem(&text).unwrap_or_default();
        let pem: Result<Vec<_>, _> = certificates.iter().map(|certificate| certificate.to_pem()).collect();
        Ok(String::from_utf8(pem?.concat()).ok().filter(|pem| !pem.is_empty()))
    }

    /// Writes the new content beside the visible file, durable, with the visible file's owner and
    /// mode or the key's, and gives the old content a second name. Everybody never reads it: the key is in it.
    pub fn stage(&self, transaction: &TransactionId, files: &PemFiles, key: Ownership) -> io::Result<()> {
        let mut like = Attributes { mode: key.mode, owner: Some((key.uid, key.gid)) };
        if self.exists()? {
            let stat = self.dir.stat(&self.name)?;
            if stat.kind != Kind::File {
                let why = format!("{} is no regular file", self.path().display());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
            }
            like = Attributes { mode: stat.mode & 0o770, owner: Some((stat.uid, stat.gid)) };
            self.dir.link(&self.name, self.beside("old", transaction))?;
        }
        atomic::write_new(&self.dir, &self.beside("stage", transaction), content(files).as_bytes(), &like)
    }

    /// Makes the staged content visible.
    pub fn switch(&self, transaction: &TransactionId) -> io::Result<()> {
        self.dir.rename(self.beside("stage", transaction), &self.name)?;
        self.dir.sync()
    }

    /// Whether there is something to go back to.
    pub fn check_the_way_back(&self, transaction: &TransactionId, existed: bool) -> io::Result<()> {
        let old = self.beside("old", transaction);
        if existed && !self.dir.exists(&old)? {
            return Err(self.lost(&old, io::ErrorKind::NotFound.into()));
        }
        Ok(())
    }

    /// Makes the old content visible again; once or many times until `discard` begins, whatever a crash left.
    ///
    /// The old copy stays under its own name: when it is not there, it is lost and not put back already.
    pub fn undo(&self, transaction: &TransactionId, existed: bool) -> io::Result<()> {
        let [stage, old, back] = ["stage", "old", "back"].map(|what| self.beside(what, transaction));
        if existed {
            self.dir.unlink_if_there(&back)?;
            self.dir.link(&old, &back).map_err(|error| self.lost(&old, error))?;
            // Of two names of one file, as they are where nothing was switched, this leaves both.
            self.dir.rename(&back, &self.name)?;
        } else if !self.dir.exists(&stage)? && self.exists()? {
            self.dir.unlink(&self.name)?;
        }
        self.dir.sync()
    }

    /// Gives what was there before a name to stay under, and says which.
    pub fn keep(&self, transaction: &TransactionId) -> io::Result<Option<PathBuf>> {
        let (old, backup) = (self.beside("old", transaction), self.beside("replaced", transaction));
        if !self.dir.exists(&old)? {
            return Ok(None);
        }
        self.dir.rename(old, &backup)?;
        self.dir.sync()?;
        Ok(Some(self.dir.path().join(backup)))
    }

    /// Removes what was staged or kept.
    pub fn discard(&self, transaction: &TransactionId) -> io::Result<()> {
        for what in ["stage", "old", "back"] {
            self.dir.unlink_if_there(self.beside(what, transaction))?;
        }
        atomic::remove_leftovers(&self.dir)?;
        self.dir.sync()
    }

    fn lost(&self, old: &str, error: io::Error) -> io::Error {
        if error.kind() != io::ErrorKind::NotFound {
            return error;
        }
        let (visible, old) = (self.path(), self.dir.path().join(old));
        let (visible, old) = (escaped(&visible.to_string_lossy()), escaped(&old.to_string_lossy()));
        let why = format!(
            "{visible} cannot go back: {old}, the copy of what it held before, is gone; put the old content back under that \
             name, then 'certcast recover'"
        );
        io::Error::new(io::ErrorKind::NotFound, why)
    }

    fn beside(&self, what: &str, transaction: &TransactionId) -> String {
        format!(".{}.{what}-{transaction}", self.name)
    }
}

fn content(files: &PemFiles) -> Zeroizing<String> {
    Zeroizing::new([files.fullchain.as_str(), files.privkey.as_str()].concat())
}

#[cfg(test)]
mod tests;
