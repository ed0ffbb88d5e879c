//! What a node must remember beyond one transaction: small records below its state, each kind in a directory of its own.

use std::io;
use std::path::Path;

use crate::sys::atomic::{self, Attributes};
use crate::sys::bounded;
use crate::sys::dir::Dir;

const SIZE_AT_MOST: u64 = 1024 * 1024;

/// What is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Which leafs of a lineage were brought here: [`crate::peer::brought`].
    Brought,
    /// How the last transactions ended: [`crate::peer::history`].
    Outcomes,
    /// Which bundle the own node's services were last brought to: [`crate::peer::settled`].
    Settled,
    /// Which versions of a lineage were written here: [`crate::peer::written`].
    Written,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::Brought, Kind::Outcomes, Kind::Settled, Kind::Written];

    /// Its directory below the state.
    pub fn directory(self) -> &'static str {
        match self {
            Kind::Brought => "brought",
            Kind::Outcomes => "outcomes",
            Kind::Settled => "settled",
            Kind::Written => "written",
        }
    }
}

/// One record, or none where none was ever kept. A disk that does not say is an error.
pub fn read(state: &Path, kind: Kind, name: &str) -> io::Result<Option<Vec<u8>>> {
    match bounded::read_bounded(&state.join(kind.directory()).join(name), SIZE_AT_MOST) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        text => text.map(Some),
    }
}

/// Keeps one record, in place of an older one; durable when this returns. The caller holds the node's lock. Killed on the
/// way, it leaves a temporary file for [`tidy`].
pub fn keep(state: &Path, kind: Kind, name: &str, content: &[u8]) -> io::Result<()> {
    let directory = Dir::open(state)?.create_beneath(kind.directory(), 0o700)?;
    atomic::replace(&directory, name, content, &Attributes { mode: 0o600, owner: None })
}

/// Removes one record; one that is not there is done.
pub fn remove(state: &Path, kind: Kind, name: &str) -> io::Result<()> {
    match Dir::open(state)?.open_if_there(kind.directory())? {
        Some(directory) => directory.unlink_if_there(name).map(drop),
        None => Ok(()),
    }
}

/// Takes away what killed calls left. Recovery begins with this, under the node's lock.
pub fn tidy(state: &Path) {
    let remove = |kind: Kind| match Dir::open(state)?.open_if_there(kind.directory())? {
        Some(directory) => atomic::remove_leftovers(&directory).map(drop),
        None => Ok(()),
    };
    for error in Kind::ALL.into_iter().filter_map(|kind| remove(kind).err()) {
        tracing::warn!("cannot tidy up: {error}");
    }
}
