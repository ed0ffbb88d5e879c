//! certbot's tree on the primary: which version of a lineage is live, whole and fit to be sent.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use thiserror::Error;
use zeroize::Zeroizing;

use crate::model::bundle::{Bundle, BundleError, FILE_AT_MOST, Number, Part, PemFiles};
use crate::model::digest::Digest;
use crate::model::escape::escaped;
use crate::model::names::LineageName;
use crate::sys::bounded::read_bounded;
use crate::sys::sync::sync_tree_files;
use crate::wire::message::{Ownership, TreeAttributes, Version};

/// A lineage as certbot left it, checked as a whole.
#[derive(Debug)]
pub struct Lineage {
    /// Its name on the primary.
    pub name: LineageName,
    /// The live version.
    pub number: Number,
    /// Its content.
    pub bundle: Bundle,
    /// All versions that the archive has, the live one included.
    pub keep: Vec<Number>,
    /// Owners and modes.
    pub attributes: TreeAttributes,
}

/// Why a lineage is not fit to be sent. Nothing is sent then.
#[derive(Debug, Error)]
pub enum LineageError {
    /// No such lineage.
    #[error("there is no lineage {0} in {1}; 'certbot certificates' lists them")]
    Missing(LineageName, PathBuf),
    /// A link that certbot does not make.
    #[error("{0} {1}")]
    Link(PathBuf, String),
    /// certbot was stopped while it switched its links, or switches them now.
    #[error(
        "the links in {0} show different versions ({1}): certbot was stopped while it switched them; \
         run 'certbot certificates', which mends them, then 'certcast resync'"
    )]
    Mixed(PathBuf, String),
    /// The archive has a whole newer version than the links show.
    #[error(
        "{0} shows version {1}, but the archive has a newer one, {2}: certbot was stopped before it switched; \
         run 'certbot renew', then 'certcast resync'"
    )]
    Behind(PathBuf, Number, Number),
    /// The files do not make a bundle.
    #[error("{0}: {1}")]
    Unfit(PathBuf, BundleError),
    /// A file cannot be read.
    #[error("cannot read {0}")]
    Io(PathBuf, #[source] io::Error),
}

impl LineageError {
    /// Whether certbot may just be about to switch, so that another look a moment later may be better.
    pub fn may_pass(&self) -> bool {
        matches!(self, LineageError::Mixed(..) | LineageError::Behind(..) | LineageError::Io(..))
    }
}

impl Lineage {
    /// Reads and checks the live version, and makes it survive a power cut: certbot never syncs.
    pub fn read(letsencrypt: &Path, name: &LineageName, now: i64) -> Result<Lineage, LineageError> {
        let live = letsencrypt.join("live").join(name.as_str());
        let archive = letsencrypt.join("archive").join(name.as_str());
        if !live.is_dir() {
            return Err(LineageError::Missing(name.clone(), letsencrypt.to_owned()));
        }
        let number = live_number(&live, &archive)?;
        let keep = numbers(&archive)?;
        if let Some(&newest) = keep.iter().max().filter(|&&newest| newest > number) {
            return Err(LineageError::Behind(live, number, newest));
        }
        let paths = Part::ALL.map(|part| archive.join(part.file(number)));
        sync_tree_files(&paths).map_err(|error| LineageError::Io(archive.clone(), error))?;
        let [cert, privkey, chain, fullchain] = paths.map(|path| {
            let bytes = read_bounded(&path, FILE_AT_MOST).map_err(|error| LineageError::Io(path.clone(), error))?;
            String::from_utf8(bytes).map_err(|_| LineageError::Link(path, "is not PEM: it is no text".into()))
        });
        let files = PemFiles { cert: cert?, privkey: Zeroizing::new(privkey?), chain: chain?, fullchain: fullchain? };
        let bundle = Bundle::check(files, now).map_err(|error| LineageError::Unfit(live.clone(), error))?;
        let attributes = TreeAttributes {
            directory: ownership(&live)?,
            key: ownership(&archive.join(Part::Privkey.file(number)))?,
            public: ownership(&archive.join(Part::Cert.file(number)))?,
        };
        Ok(Lineage { name: name.clone(), number, bundle, keep, attributes })
    }

    /// The digest over the four files.
    pub fn digest(&self) -> Digest {
        self.bundle.digest()
    }

    /// What of it is live.
    pub fn version(&self) -> Version {
        Version { number: self.number, digest: self.digest() }
    }
}

/// The names of all lineages that certbot has live; none where it has never made one.
pub fn all(letsencrypt: &Path) -> Result<Vec<LineageName>, LineageError> {
    let live = letsencrypt.join("live");
    let failed = |error| LineageError::Io(live.clone(), error);
    let mut names = Vec::new();
    let entries = match fs::read_dir(&live) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && letsencrypt.is_dir() => return Ok(names),
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if !entry.path().is_dir() {
            continue;
        }
        if let Some(Ok(name)) = entry.file_name().to_str().map(str::parse::<LineageName>) {
            names.push(name);
        } else {
            tracing::warn!("passed over {}: no lineage's name", escaped(&entry.path().to_string_lossy()));
        }
    }
    names.sort();
    Ok(names)
}

fn live_number(live: &Path, archive: &Path) -> Result<Number, LineageError> {
    let home = fs::canonicalize(archive).map_err(|error| LineageError::Io(archive.to_owned(), error))?;
    let mut numbers = Vec::new();
    for part in Part::ALL {
        let link = live.join(part.link());
        let failed = |error| LineageError::Io(link.clone(), error);
        let unfit = |why: &str| LineageError::Link(link.clone(), why.to_owned());
        if !fs::symlink_metadata(&link).map_err(failed)?.is_symlink() {
            return Err(unfit("is not a link into archive/: certbot cannot renew such a lineage either"));
        }
        // Not canonicalised as a whole: the archive's own key may be a link (certbot --reuse-key).
        let target = live.join(fs::read_link(&link).map_err(failed)?);
        let parent = target.parent().map(fs::canonicalize).transpose().map_err(failed)?;
        let file = target.file_name().and_then(|name| Part::of_file(name.to_str()?));
        match file.filter(|(of, _)| *of == part && parent.as_ref() == Some(&home)) {
            Some((_, number)) => numbers.push(number),
            None => return Err(unfit(&format!("points to {}, outside archive/", escaped(&target.to_string_lossy())))),
        }
    }
    match numbers.as_slice() {
        [first, rest @ ..] if rest.iter().all(|number| number == first) => Ok(*first),
        _ => {
            let shown = Part::ALL.iter().zip(&numbers).map(|(part, number)| part.file(*number));
            Err(LineageError::Mixed(live.to_owned(), shown.collect::<Vec<_>>().join(", ")))
        }
    }
}

/// The numbers of which the archive has all four parts.
fn numbers(archive: &Path) -> Result<Vec<Number>, LineageError> {
    let failed = |error| LineageError::Io(archive.to_owned(), error);
    let mut found: Vec<(Number, usize)> = Vec::new();
    for entry in fs::read_dir(archive).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let Some((_, number)) = name.to_str().and_then(Part::of_file) else { continue };
        match found.iter_mut().find(|(known, _)| *known == number) {
            Some((_, parts)) => *parts += 1,
            None => found.push((number, 1)),
        }
    }
    Ok(found.into_iter().filter(|(_, parts)| *parts == Part::ALL.len()).map(|(number, _)| number).collect())
}

fn ownership(path: &Path) -> Result<Ownership, LineageError> {
    let metadata = fs::metadata(path).map_err(|error| LineageError::Io(path.to_owned(), error))?;
    Ok(Ownership { uid: metadata.uid(), gid: metadata.gid(), mode: metadata.mode() & 0o7777 })
}
