//! What a node must remember beyond one transaction: small records below its state, each kind in a directory of its own.

use std::io;
use std::path::Path;

use crate::sys::atomic::{self, Attributes};
use crate::sys::bounded;
use crate::sys::dir::Dir;

const SIZE_AT_MOST: u64 = 1024 * 1024;

/// One record, or none where none was ever kept. A disk that does not say is an error.
pub fn read(state: &Path, kind: &str, name: &str) -> io::Result<Option<Vec<u8>>> {
    match bounded::read_bounded(&state.join(kind).join(name), SIZE_AT_MOST) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        text => text.map(Some),
    }
}

/// Keeps one record, in place of an older one; durable when this returns. The caller holds the node's lock, so a temporary
/// file here is what a killed call left, and goes.
pub fn keep(state: &Path, kind: &str, name: &str, content: &[u8]) -> io::Result<()> {
    let directory = Dir::open(state)?.create_beneath(kind, 0o700)?;
    atomic::remove_leftovers(&directory)?;
    atomic::replace(&directory, name, content, &Attributes { mode: 0o600, owner: None })
}

/// Takes away what a call that was killed left, for the next [`keep`] may be long in coming. The caller holds the node's lock.
pub fn tidy(state: &Path) {
    for kind in ["brought", "outcomes", "settled", "written"] {
        let directory = Dir::open(state).and_then(|state| state.open_if_there(kind));
        let removed = directory.and_then(|directory| directory.map_or(Ok(0), |dir| atomic::remove_leftovers(&dir)));
        if let Err(error) = removed {
            tracing::warn!("cannot tidy up: {error}");
        }
    }
}
