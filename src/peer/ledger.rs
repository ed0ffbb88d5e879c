//! Which challenge files this product wrote here: nothing else is ever removed.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::model::challenge::{Thumbprint, Token};
use crate::model::escape::escaped;
use crate::model::names::Identifier;
use crate::sys::atomic::{self, Attributes};
use crate::sys::bounded;
use crate::sys::dir::Dir;

/// Ten full orders of Let's Encrypt at once.
const ENTRIES_AT_MOST: usize = 1000;
const ENTRY_AT_MOST: u64 = 16 * 1024;

/// One challenge file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name there.
    pub token: Token,
    /// For which name.
    pub name: Identifier,
    /// Of which ACME account.
    pub account: Thumbprint,
    /// Below which webroot.
    pub webroot: PathBuf,
    /// When, in seconds since 1970.
    pub at: i64,
}

/// The entries, one file each. An entry is durable before its challenge file is written and stays
/// until that is removed, so a crash leaves a record without a file rather than a file without a record.
#[derive(Debug)]
pub struct Ledger {
    dir: Dir,
}

impl Ledger {
    /// Opens it in the state directory.
    pub fn open(state: &Path) -> io::Result<Ledger> {
        Ok(Ledger { dir: Dir::open(state)?.create_beneath("challenges", 0o700)? })
    }

    /// Notes an entry, unless there are very many: a stolen key must not fill the disk. One that is
    /// there already can always be noted again.
    pub fn note(&self, entry: &Entry) -> io::Result<()> {
        if !self.knows(&entry.token)? {
            self.dir.entries_up_to(ENTRIES_AT_MOST - 1).map_err(|error| self.full(error))?;
        }
        let attributes = Attributes { mode: 0o600, owner: None };
        atomic::replace(&self.dir, entry.token.as_str(), &serde_json::to_vec(entry)?, &attributes)
    }

    fn full(&self, error: io::Error) -> io::Error {
        if error.kind() != io::ErrorKind::InvalidData {
            return error;
        }
        let text = format!(
            "{ENTRIES_AT_MOST} challenges are noted in {} and no more are taken: they go when certbot's cleanup \
             hook runs or after challenge.keep_tokens; set that lower here, and the next challenge removes what is older",
            escaped(&self.dir.path().to_string_lossy())
        );
        io::Error::new(io::ErrorKind::QuotaExceeded, text)
    }

    /// Forgets an entry.
    pub fn forget(&self, token: &Token) -> io::Result<()> {
        self.dir.unlink_if_there(token.as_str())?;
        Ok(())
    }

    /// Whether a token has an entry, damaged or not.
    pub fn knows(&self, token: &Token) -> io::Result<bool> {
        self.dir.exists(token.as_str())
    }

    /// One entry. One that speaks of another token is damaged.
    pub fn entry(&self, token: &Token) -> Option<Entry> {
        let text = bounded::read_beneath(&self.dir, Path::new(token.as_str()), ENTRY_AT_MOST).ok()?;
        serde_json::from_slice(&text).ok().filter(|entry: &Entry| entry.token == *token)
    }

    /// When an entry was written, also a damaged one, in seconds since 1970.
    pub fn written(&self, token: &Token) -> io::Result<i64> {
        Ok(self.dir.stat(token.as_str())?.modified)
    }

    /// The tokens that have an entry, damaged or not.
    pub fn tokens(&self) -> io::Result<Vec<Token>> {
        atomic::remove_leftovers(&self.dir)?;
        Ok(self.dir.entries()?.into_iter().filter_map(|name| name.to_str()?.parse().ok()).collect())
    }
}
