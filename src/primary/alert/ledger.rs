//! What was told last of each subject: one alert for a change, one for its end, and no storm.
//!
//! Of one subject at most [`CHANGES_AT_MOST`] changes are told within an hour, unless it becomes critical. What changed since
//! is told by the first run after that, if it still differs from what was told last.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::notice::{Notice, Observation, Trouble};
use crate::model::config::Severity;
use crate::sys::atomic::{self, Attributes};
use crate::sys::bounded;

const FILE: &str = "told.json";
const FILE_AT_MOST: u64 = 64 * 1024 * 1024;
/// Of one subject, within [`WINDOW`].
pub const CHANGES_AT_MOST: usize = 3;
const WINDOW: Duration = Duration::from_secs(60 * 60);
/// Of a subject that is well for so long nothing need be known.
const FORGOTTEN: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// All subjects.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Ledger {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Entry {
    /// What is believed to be wrong by whoever was told.
    told: Option<Trouble>,
    /// Since when something is wrong, told or not.
    since: Option<Timestamp>,
    /// The latest changes that were told.
    changes: Vec<Timestamp>,
    /// How many notices there were.
    count: u64,
    /// When each route heard of it last.
    heard: BTreeMap<String, Timestamp>,
    seen: Option<Timestamp>,
}

impl Ledger {
    /// What an earlier run left. A damaged one counts as none: everything is told again.
    pub fn read(directory: &Path) -> io::Result<Ledger> {
        match bounded::read_bounded(&directory.join(FILE), FILE_AT_MOST) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Ledger::default()),
            text => Ok(serde_json::from_slice(&text?).unwrap_or_default()),
        }
    }

    /// Whole or not at all.
    pub fn write(&mut self, directory: &Path, now: Timestamp) -> io::Result<()> {
        self.entries.retain(|_, entry| {
            let seen = entry.seen.unwrap_or(now);
            entry.told.is_some() || entry.since.is_some() || !has_passed(seen, FORGOTTEN, now)
        });
        let text = serde_json::to_vec(self)?;
        atomic::replace_path(&directory.join(FILE), &text, &Attributes { mode: 0o600, owner: None })
    }

    /// What is to be told of it, if anything is.
    pub fn compare(&mut self, observation: &Observation, now: Timestamp) -> Option<Notice> {
        let Observation { subject, trouble, is_applied } = observation;
        if trouble.is_none() && !is_applied && !self.entries.contains_key(&subject.key()) {
            return None;
        }
        let entry = self.entries.entry(subject.key()).or_default();
        entry.seen = Some(now);
        let since = entry.since.unwrap_or(now);
        entry.since = trouble.as_ref().map(|_| since);
        let may_change = entry.may_change(now);
        let notice = match (&entry.told, trouble) {
            (None, None) => {
                return is_applied.then(|| {
                    entry.count += 1;
                    Notice::of_an_application(subject, now, entry.count)
                });
            }
            (Some(told), Some(trouble)) if told.event == trouble.event => return None,
            (told, Some(trouble)) => {
                let is_worse = trouble.severity == Severity::Critical
                    && told.as_ref().is_none_or(|told| told.severity < Severity::Critical);
                if !is_worse && !may_change {
                    return None;
                }
                let notice = Notice::of(subject, trouble, since, now, entry.count + 1);
                let (over, severity_before) =
                    (told.as_ref().map(|told| told.event), told.as_ref().map(|told| told.severity));
                Notice { over, severity_before, ..notice }
            }
            (Some(_), None) if !may_change => return None,
            (Some(told), None) => Notice::of_the_end(subject, told, since, now, entry.count + 1),
        };
        entry.told.clone_from(trouble);
        entry.changes.push(now);
        entry.count += 1;
        Some(notice)
    }

    /// Whether a route is to be reminded of a trouble that lasts.
    pub fn is_due(&self, observation: &Observation, route: &str, remind: Duration, now: Timestamp) -> bool {
        let Some(entry) = self.entries.get(&observation.subject.key()) else { return false };
        let heard = entry.heard.get(route).or(entry.changes.last());
        entry.told.is_some()
            && observation.trouble.is_some()
            && heard.is_some_and(|heard| has_passed(*heard, remind, now))
    }

    /// The trouble as it is now, once more.
    pub fn reminder(&self, observation: &Observation, now: Timestamp) -> Option<Notice> {
        let entry = self.entries.get(&observation.subject.key())?;
        let notice = Notice::of(
            &observation.subject,
            observation.trouble.as_ref()?,
            entry.since.unwrap_or(now),
            now,
            entry.count,
        );
        // The same for all that are reminded within a minute.
        let id = format!("{}-{}", notice.id, now.as_second() / 60);
        Some(Notice { id, is_reminder: true, ..notice })
    }

    /// Notes that a route has heard of it.
    pub fn note_told(&mut self, observation: &Observation, route: &str, now: Timestamp) {
        if let Some(entry) = self.entries.get_mut(&observation.subject.key()) {
            entry.heard.insert(route.to_owned(), now);
        }
    }
}

impl Entry {
    fn may_change(&mut self, now: Timestamp) -> bool {
        self.changes.retain(|change| !has_passed(*change, WINDOW, now));
        self.changes.len() < CHANGES_AT_MOST
    }
}

fn has_passed(since: Timestamp, span: Duration, now: Timestamp) -> bool {
    // A clock that was put back makes nothing wait for it.
    since > now || since.duration_until(now).unsigned_abs() >= span
}

#[cfg(test)]
mod tests;
