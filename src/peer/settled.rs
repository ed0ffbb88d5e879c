//! On the primary's own node: which bundle its services were last brought to.
//!
//! certbot switches its links alone, so the disk does not say whether the services were told.

use std::io;
use std::path::Path;

use crate::model::digest::Digest;
use crate::model::names::LineageName;
use crate::peer::memo::{self, Kind};

/// Which bundle the services were last brought to, if that is known. A damaged note is none.
pub fn last(state: &Path, lineage: &LineageName) -> io::Result<Option<Digest>> {
    let noted = memo::read(state, Kind::Settled, lineage.as_str())?;
    Ok(noted.and_then(|text| String::from_utf8(text).ok()?.parse().ok()))
}

/// Whether the services were brought to this bundle.
pub fn is(state: &Path, lineage: &LineageName, digest: Digest) -> bool {
    last(state, lineage).is_ok_and(|noted| noted == Some(digest))
}

/// Remembers that the services were brought to this bundle; durable when this returns. The caller holds the node's lock.
pub fn set(state: &Path, lineage: &LineageName, digest: Digest) -> io::Result<()> {
    memo::keep(state, Kind::Settled, lineage.as_str(), digest.to_string().as_bytes())
}
