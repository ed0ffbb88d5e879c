//! On the primary's own node: which bundle its services were last brought to.
//!
//! certbot switches its links alone, so the disk does not say whether the services were told.

use std::io;
use std::path::{Path, PathBuf};

use crate::model::digest::Digest;
use crate::model::names::LineageName;
use crate::sys::atomic::{self, Attributes};
use crate::sys::bounded;
use crate::sys::dir::Dir;

const DIRECTORY: &str = "settled";

fn path(state: &Path, lineage: &LineageName) -> PathBuf {
    state.join(DIRECTORY).join(lineage.as_str())
}

/// Whether the services were brought to this bundle.
pub fn is(state: &Path, lineage: &LineageName, digest: Digest) -> bool {
    bounded::read_bounded(&path(state, lineage), 256).is_ok_and(|text| text == digest.to_string().as_bytes())
}

/// Remembers that the services were brought to this bundle. The caller holds the node's lock, so a
/// temporary file here is what a killed call left.
pub fn set(state: &Path, lineage: &LineageName, digest: Digest) -> io::Result<()> {
    let directory = Dir::open(state)?.create_beneath(DIRECTORY, 0o700)?;
    atomic::remove_leftovers(&directory)?;
    let attributes = Attributes { mode: 0o600, owner: None };
    atomic::replace(&directory, lineage.as_str(), digest.to_string().as_bytes(), &attributes)
}
