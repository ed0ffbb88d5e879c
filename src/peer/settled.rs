//! On the primary's own node: which bundle its services were last brought to.
//!
//! certbot switches its links alone, so the disk does not say whether the services were told.

use std::io;
use std::path::Path;

use crate::model::digest::Digest;
use crate::model::names::LineageName;
use crate::peer::memo;

const KIND: &str = "settled";

/// Whether the services were brought to this bundle.
pub fn is(state: &Path, lineage: &LineageName, digest: Digest) -> bool {
    memo::read(state, KIND, lineage.as_str()).is_ok_and(|text| text == Some(digest.to_string().into_bytes()))
}

/// Remembers that the services were brought to this bundle; durable when this returns. The caller holds the node's lock.
pub fn set(state: &Path, lineage: &LineageName, digest: Digest) -> io::Result<()> {
    memo::keep(state, KIND, lineage.as_str(), digest.to_string().as_bytes())
}
