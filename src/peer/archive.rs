//! `archive/NAME`: the files of every version, under certbot's numbers.

use std::io;
use std::path::Path;

use thiserror::Error;
use zeroize::Zeroizing;

use crate::model::bundle::{Bundle, FILE_AT_MOST, Number, Part, PemFiles, can_be_served};
use crate::model::certificate::Leaf;
use crate::model::digest::Digest;
use crate::model::escape::escaped;
use crate::model::names::LineageName;
use crate::sys::atomic::{self, Attributes};
use crate::sys::bounded;
use crate::sys::dir::Dir;
use crate::wire::message::{LINEAGES_AT_MOST, Ownership, TreeAttributes};

/// Why the archive cannot take a version.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// Another certificate has this number here.
    #[error(
        "{path}/{file} holds another certificate under the same number; renew once more, or move {path}, its live/ directory \
         and its renewal/ file away, then resync"
    )]
    Taken {
        /// The archive directory.
        path: String,
        /// The file.
        file: String,
    },
    /// The disk. The path is in the error.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What the archive lacks of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lacks {
    /// Files that are not here; undoing removes them again.
    pub absent: Vec<Part>,
    /// Files that are here and worth nothing; they are mended in place and stay so.
    pub torn: Vec<Part>,
}

/// One lineage's archive directory.
#[derive(Debug)]
pub struct Archive {
    dir: Dir,
}

impl Archive {
    /// Opens it, if it is there.
    pub fn open(letsencrypt: &Dir, lineage: &LineageName) -> io::Result<Option<Archive>> {
        let dir = letsencrypt.open_if_there(Path::new("archive").join(lineage.as_str()))?;
        Ok(dir.map(|dir| Archive { dir }))
    }

    /// Opens it, made where it is missing: `archive` with certbot's 0700, `archive/NAME` as on the primary.
    pub fn create(letsencrypt: &Dir, lineage: &LineageName, like: Ownership) -> io::Result<Archive> {
        let parent = letsencrypt.create_beneath("archive", 0o700)?;
        let is_new = !parent.exists(lineage.as_str())?;
        let dir = parent.create_beneath(lineage.as_str(), 0o700)?;
        if is_new {
            own_directory(&dir, like)?;
        }
        Ok(Archive { dir })
    }

    /// Reads one version; none when a file is missing.
    pub fn read(&self, number: Number) -> io::Result<Option<PemFiles>> {
        match self.files_of(number, || Err(io::ErrorKind::NotFound.into())) {
            Ok(files) => Ok(Some(files)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A version, where this stands for a part that is missing.
    fn files_of(&self, number: Number, missing: impl Fn() -> io::Result<String>) -> io::Result<PemFiles> {
        let text = |part: Part| match bounded::read_beneath(&self.dir, Path::new(&part.file(number)), FILE_AT_MOST) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing(),
            Err(error) => Err(error),
        };
        Ok(PemFiles {
            cert: text(Part::Cert)?,
            privkey: Zeroizing::new(text(Part::Privkey)?),
            chain: text(Part::Chain)?,
            fullchain: text(Part::Fullchain)?,
        })
    }

    /// Whether so many more lineages may be kept here: a stolen key must not fill the disk with them.
    pub fn check_room(letsencrypt: &Dir, more: usize) -> io::Result<()> {
        if more == 0 {
            return Ok(());
        }
        let Some(archives) = letsencrypt.open_if_there("archive")? else { return Ok(()) };
        match archives.entries_up_to(LINEAGES_AT_MOST.saturating_sub(more)) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let path = letsencrypt.path().join("archive");
                let text = format!(
                    "{LINEAGES_AT_MOST} lineages are kept in {} and no more are taken; remove those that no primary \
                     sends any more, here and in live/",
                    escaped(&path.to_string_lossy())
                );
                Err(io::Error::new(io::ErrorKind::QuotaExceeded, text))
            }
            other => other.map(|_| ()),
        }
    }

    /// What has to be written of a version.
    ///
    /// A part that is here with other content is an error, unless what is here is nothing to keep: no pair that a server could
    /// serve, as left by somebody's power cut, or the very one that is sent, with something wrong beside it; or a version that was
    /// written by us and is not in use (`is_spare`). Else a stolen key could take the numbers of renewals to come.
    pub fn lacks(&self, number: Number, files: &PemFiles, is_spare: bool) -> Result<Lacks, ArchiveError> {
        let here = self.files_of(number, || Ok(String::new()))?;
        let is_damaged = || Bundle::check(here.clone(), 0).is_err_and(|error| error.is_damage());
        let is_to_keep = !is_spare && can_be_served(&here) && !(is_same_pair(&here, files) && is_damaged());
        let mut lacks = Lacks { absent: Vec::new(), torn: Vec::new() };
        for part in Part::ALL {
            match bounded::read_beneath(&self.dir, Path::new(&part.file(number)), FILE_AT_MOST) {
                Ok(present) if present == files.part(part).as_bytes() => {}
                Ok(_) if is_to_keep => {
                    let path = self.dir.path().display().to_string();
                    return Err(ArchiveError::Taken { path, file: part.file(number) });
                }
                Ok(_) => lacks.torn.push(part),
                Err(error) if error.kind() == io::ErrorKind::NotFound => lacks.absent.push(part),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(lacks)
    }

    /// Writes parts of a version; each is whole, owned and durable, or absent.
    pub fn write(
        &self,
        number: Number,
        files: &PemFiles,
        parts: &[Part],
        attributes: &TreeAttributes,
    ) -> io::Result<()> {
        for &part in parts {
            let like = if part == Part::Privkey { attributes.key } else { attributes.public };
            let like = Attributes { mode: like.mode, owner: Some((like.uid, like.gid)) };
            atomic::replace(&self.dir, &part.file(number), files.part(part).as_bytes(), &like)?;
        }
        Ok(())
    }

    /// Removes parts of a version, and what a killed write left. Missing files are fine.
    pub fn remove(&self, number: Number, parts: &[Part]) -> io::Result<()> {
        atomic::remove_leftovers(&self.dir)?;
        for part in parts {
            self.dir.unlink_if_there(part.file(number))?;
        }
        self.dir.sync()
    }

    /// Removes a version, and what a killed write left.
    pub fn prune(&self, number: Number) -> io::Result<()> {
        self.remove(number, &Part::ALL)
    }

    /// The leaf of one version; none where the file is missing or holds no certificate.
    pub fn leaf(&self, number: Number) -> io::Result<Option<Digest>> {
        match bounded::read_beneath(&self.dir, Path::new(&Part::Cert.file(number)), FILE_AT_MOST) {
            Ok(pem) => Ok(Leaf::read(&String::from_utf8_lossy(&pem)).ok().map(|leaf| leaf.digest)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The leafs of all versions. What is damaged is none; what cannot be read is an error.
    pub fn leafs(&self) -> io::Result<Vec<Digest>> {
        let certificates = self.files()?.into_iter().filter(|(part, _)| *part == Part::Cert);
        certificates.filter_map(|(_, number)| self.leaf(number).transpose()).collect()
    }

    /// The highest number below another one.
    pub fn previous(&self, number: Number) -> io::Result<Option<Number>> {
        let numbers = self.files()?.into_iter().map(|(_, number)| number);
        Ok(numbers.filter(|other| *other < number).max())
    }

    fn files(&self) -> io::Result<Vec<(Part, Number)>> {
        Ok(self.dir.entries()?.iter().filter_map(|name| Part::of_file(name.to_str()?)).collect())
    }
}

/// Whether a server would serve the same with both, but for the chain.
fn is_same_pair(one: &PemFiles, other: &PemFiles) -> bool {
    let leaf = |files: &PemFiles| Leaf::read(&files.fullchain).map(|leaf| leaf.digest).ok();
    leaf(one) == leaf(other) && one.privkey == other.privkey
}

/// Gives a directory of ours the owner and mode that the primary's has.
pub fn own_directory(dir: &Dir, like: Ownership) -> io::Result<()> {
    dir.set_owner_and_mode(like.uid, like.gid, like.mode)?;
    dir.sync()
}

#[cfg(test)]
mod tests;
