//! On the primary's own node: which bundle its services were last brought to.
//!
//! certbot switches its links alone, so the disk does not say whether the services were told.

use std::io;
use std::path::{Path, PathBuf};

use crate::model::digest::Digest;
use crate::model::names::LineageName;
use crate::sys::atomic::{self, Attributes};
use crate::sys::bounded;

fn path(state: &Path, lineage: &LineageName) -> PathBuf {
    state.join("settled").join(lineage.as_str())
}

/// Whether the services were brought to this bundle.
pub fn is(state: &Path, lineage: &LineageName, digest: Digest) -> bool {
    bounded::read_bounded(&path(state, lineage), 256).is_ok_and(|text| text == digest.to_string().as_bytes())
}

/// Remembers that the services were brought to this bundle.
pub fn set(state: &Path, lineage: &LineageName, digest: Digest) -> io::Result<()> {
    let path = path(state, lineage);
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    atomic::replace_path(&path, digest.to_string().as_bytes(), &Attributes { mode: 0o600, owner: None })
}
