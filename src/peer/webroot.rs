//! Challenge files below this node's webroots.
//!
//! A webroot may belong to somebody hostile, who plants links, pipes and directories in it or swaps
//! them in a loop. Everything happens below a directory handle with no link followed, so nothing
//! outside is ever written, read or removed. The webroot's own path is the administrator's word and
//! may be a link, which is resolved once: when the link is switched to another release meanwhile, the file is removed
//! where it was written.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::challenge::{Challenge, Thumbprint, Token, WELL_KNOWN};
use crate::model::deadline::Deadline;
use crate::model::names::Identifier;
use crate::peer::ledger::{Entry, Ledger};
use crate::peer::policy::Grant;
use crate::sys::atomic::{self, Attributes};
use crate::sys::bounded;
use crate::sys::dir::Dir;
use crate::sys::lock::Lock;
use crate::wire::message::{TokenFailure, Withdrawal};

/// Another conversation writes a handful of small files.
const LOCK: Duration = Duration::from_secs(20);

/// Nodes may share a webroot, over NFS: our lock keeps no other node from writing there, and what
/// one writes takes no hour.
const LEFTOVER: Duration = Duration::from_secs(3600);

/// Longer than any.
const VALIDATION_AT_MOST: u64 = 4096;

/// This node's webroots.
#[derive(Debug)]
pub struct Webroots<'a> {
    /// For every name that has none of its own.
    pub default: &'a Path,
    /// For some names.
    pub by_name: &'a BTreeMap<Identifier, PathBuf>,
    /// The state directory.
    pub state: &'a Path,
    /// The age after which a challenge is nobody's any more.
    pub keep: Duration,
    /// Of which ACME accounts the caller may place and remove challenges.
    pub grant: &'a Grant,
}

impl Webroots<'_> {
    /// Makes the challenges readable for the web server, and collects old ones.
    pub fn publish(&self, challenges: &[Challenge]) -> Vec<TokenFailure> {
        self.with_ledger(challenges.iter().map(Challenge::name), |ledger| {
            self.collect_garbage(ledger);
            let publish = |challenge| self.publish_one(ledger, challenge);
            challenges.iter().filter_map(|challenge| failure(challenge.name(), publish(challenge))).collect()
        })
    }

    /// Removes challenges. One that is not there is done.
    pub fn withdraw(&self, withdrawals: &[Withdrawal]) -> Vec<TokenFailure> {
        self.with_ledger(withdrawals.iter().map(|withdrawal| &withdrawal.name), |ledger| {
            self.collect_garbage(ledger);
            let withdraw = |each| self.withdraw_one(ledger, each);
            withdrawals.iter().filter_map(|each| failure(&each.name, withdraw(each))).collect()
        })
    }

    fn webroot_of(&self, name: &Identifier) -> &Path {
        self.by_name.get(name).map_or(self.default, PathBuf::as_path)
    }

    /// Another account's challenge is not to be written over either: that takes it away as well.
    fn publish_one(&self, ledger: &Ledger, challenge: &Challenge) -> io::Result<()> {
        let account = challenge.account();
        self.check_account(&account)?;
        let before = ledger.entry(challenge.token());
        self.check_noted(ledger, challenge.token(), before.as_ref())?;
        let configured = self.webroot_of(challenge.name());
        // What cannot be resolved cannot be opened either, which says why.
        let webroot = fs::canonicalize(configured).unwrap_or_else(|_| configured.to_owned());
        let root = Dir::open(&webroot).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                let why = format!("{error}: set node.webroot or node.webroots to what the web server here serves");
                io::Error::new(error.kind(), why)
            }
            _ => error,
        })?;
        // The configuration may have changed since: what was written elsewhere would be forgotten.
        if let Some(elsewhere) = before.filter(|entry| entry.webroot != webroot) {
            remove(ledger, &elsewhere.webroot, challenge.token())?;
        }
        if !ledger.knows(challenge.token())? {
            check_nobodys(&root, challenge)?;
        }
        let at = jiff::Timestamp::now().as_second();
        let (name, token) = (challenge.name().clone(), challenge.token().clone());
        ledger.note(&Entry { token, name, account, webroot, at })?;
        let [well_known, acme] = WELL_KNOWN;
        let dir = root.create_beneath_as_owner(well_known, 0o755)?.create_beneath_as_owner(acme, 0o755)?;
        let directory = dir.stat_self()?;
        // Only root may give files away; what anybody else writes is readable all the same.
        let owner = nix::unistd::geteuid().is_root().then_some((directory.uid, directory.gid));
        let attributes = Attributes { mode: 0o644, owner };
        atomic::replace(&dir, challenge.token().as_str(), challenge.validation().as_bytes(), &attributes)
    }

    fn withdraw_one(&self, ledger: &Ledger, withdrawal: &Withdrawal) -> io::Result<()> {
        let Withdrawal { name, token } = withdrawal;
        let entry = ledger.entry(token);
        self.check_noted(ledger, token, entry.as_ref())?;
        match entry {
            Some(entry) => remove(ledger, &entry.webroot, token),
            // A damaged entry is still ours; only its webroot must be guessed.
            None if ledger.knows(token)? => remove(ledger, self.webroot_of(name), token),
            None => Ok(()),
        }
    }

    fn check_account(&self, account: &Thumbprint) -> io::Result<()> {
        self.grant.allows_account(account).map_err(|cause| io::Error::new(io::ErrorKind::PermissionDenied, cause))
    }

    /// Whether what is noted of a token lets the caller touch it. Whose it is when its entry is damaged nobody can say.
    fn check_noted(&self, ledger: &Ledger, token: &Token, entry: Option<&Entry>) -> io::Result<()> {
        if let Some(entry) = entry {
            return self.check_account(&entry.account);
        }
        if self.grant.is_for_every_account() || !ledger.knows(token)? {
            return Ok(());
        }
        let text = "its record here is damaged, so that nobody can say of which ACME account it is, and this key is not for \
                    all (--account); it goes by itself after challenge.keep_tokens";
        Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
    }

    /// What no cleanup ever came for goes by its age. A failure waits for the next time.
    fn collect_garbage(&self, ledger: &Ledger) {
        let now = jiff::Timestamp::now().as_second();
        let keep = i64::try_from(self.keep.as_secs()).unwrap_or(i64::MAX);
        // One from the future was written under a wrong clock.
        let is_old = |at: i64| now.saturating_sub(at).saturating_abs() > keep;
        for token in ledger.tokens().unwrap_or_default() {
            let removed = match ledger.entry(&token) {
                Some(entry) if is_old(entry.at) => remove(ledger, &entry.webroot, &token),
                None if ledger.written(&token).is_ok_and(is_old) => self.remove_damaged(ledger, &token),
                _ => continue,
            };
            match removed {
                Ok(()) => tracing::info!(%token, "removed a challenge of old age"),
                Err(error) => tracing::warn!(%token, "cannot remove an old challenge: {error}"),
            }
        }
    }

    /// The record no longer says where its file is: it is ours wherever it is.
    fn remove_damaged(&self, ledger: &Ledger, token: &Token) -> io::Result<()> {
        let webroots = self.by_name.values().map(PathBuf::as_path).chain([self.default]);
        webroots.into_iter().try_for_each(|webroot| unlink(webroot, token))?;
        ledger.forget(token)
    }

    fn with_ledger<'n>(
        &self,
        names: impl Iterator<Item = &'n Identifier>,
        act: impl FnOnce(&Ledger) -> Vec<TokenFailure>,
    ) -> Vec<TokenFailure> {
        let lock = Lock::acquire(&self.state.join("challenges.lock"), Deadline::after(LOCK));
        match lock.and_then(|lock| Ok((lock, Ledger::open(self.state)?))) {
            Ok((_lock, ledger)) => act(&ledger),
            Err(error) => names.map(|name| TokenFailure { name: name.clone(), cause: error.to_string() }).collect(),
        }
    }
}

/// Whether no other ACME client has this token's file. What is no file is what somebody planted.
fn check_nobodys(root: &Dir, challenge: &Challenge) -> io::Result<()> {
    let [well_known, acme] = WELL_KNOWN;
    let path = Path::new(well_known).join(acme).join(challenge.token().as_str());
    match bounded::read_beneath(root, &path, VALIDATION_AT_MOST) {
        Ok(text) if text != challenge.validation().as_bytes() => {
            let path = root.path().join(path);
            let text = format!("{} is another ACME client's: it has another validation", path.display());
            Err(io::Error::new(io::ErrorKind::AlreadyExists, text))
        }
        _ => Ok(()),
    }
}

fn failure(name: &Identifier, result: io::Result<()>) -> Option<TokenFailure> {
    result.err().map(|error| TokenFailure { name: name.clone(), cause: error.to_string() })
}

fn remove(ledger: &Ledger, webroot: &Path, token: &Token) -> io::Result<()> {
    unlink(webroot, token)?;
    ledger.forget(token)
}

/// One that is not there is done.
fn unlink(webroot: &Path, token: &Token) -> io::Result<()> {
    let [well_known, acme] = WELL_KNOWN;
    let opened = Dir::open(webroot).and_then(|root| root.open_beneath(Path::new(well_known).join(acme)));
    let removed = opened.and_then(|dir| {
        // Somebody hostile may have filled the directory; that must not keep the token there.
        _ = atomic::remove_leftovers_older_than(&dir, LEFTOVER);
        dir.unlink(token.as_str())?;
        dir.sync()
    });
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
