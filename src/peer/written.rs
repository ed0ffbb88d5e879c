//! Which versions of a lineage this product wrote here: only those are ever pruned.
//!
//! A tree that was taken over holds versions, and keys, of somebody else's.

use std::io;
use std::path::{Path, PathBuf};

use crate::model::bundle::Number;
use crate::model::names::LineageName;
use crate::sys::atomic::{self, Attributes};
use crate::sys::bounded;

const SIZE_AT_MOST: u64 = 1024 * 1024;

fn path(state: &Path, lineage: &LineageName) -> PathBuf {
    state.join("written").join(lineage.as_str())
}

/// The numbers written here. Without a record there are none, and then nothing is pruned.
pub fn numbers(state: &Path, lineage: &LineageName) -> Vec<Number> {
    let text = bounded::read_bounded(&path(state, lineage), SIZE_AT_MOST).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// Remembers the numbers; durable when this returns.
pub fn set(state: &Path, lineage: &LineageName, numbers: &[Number]) -> io::Result<()> {
    let path = path(state, lineage);
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    atomic::replace_path(&path, &serde_json::to_vec(numbers)?, &Attributes { mode: 0o600, owner: None })
}
