//! What each route was told last of each subject: one alert for a change, one for its end, and no storm.
//!
//! Of one subject a route is told at most [`CHANGES_AT_MOST`] changes within an hour, unless it becomes worse than ever told.
//! What changed since is told by the first run after that, if it still differs from what was told last.
//!
//! What is to be told stands in the ledger itself until it is in the route's spool: killed anywhere in between, it is told, at
//! worst twice under one id.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::notice::{Notice, Observation, Subject, Trouble};
use crate::model::config::{Alert, Event, Route, Severity};
use crate::sys::atomic::{self, Attributes};
use crate::sys::bounded;

const FILE: &str = "told.json";
const FILE_AT_MOST: u64 = 64 * 1024 * 1024;
/// Of one subject, within [`WINDOW`].
pub const CHANGES_AT_MOST: usize = 3;
const WINDOW: Duration = Duration::from_secs(60 * 60);
/// Alertmanager forgets in a restart, so what lasts is said to it again.
const SAID_AGAIN: Duration = Duration::from_secs(60 * 60);
/// Of a subject that is well for so long nothing need be known.
const FORGOTTEN: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// All subjects.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Ledger {
    entries: BTreeMap<String, Entry>,
    /// What is in no spool yet, with its route's key.
    pub outbox: Vec<(String, Notice)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    subject: Subject,
    /// Since when something is wrong, told or not.
    since: Option<Timestamp>,
    seen: Timestamp,
    routes: BTreeMap<String, Heard>,
}

/// What a route was told of a subject.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Heard {
    /// What whoever listens there believes to be wrong.
    told: Option<Trouble>,
    /// Since when.
    since: Option<Timestamp>,
    /// The latest changes.
    changes: Vec<Timestamp>,
    /// The latest word.
    last: Option<Timestamp>,
}

impl Ledger {
    /// What an earlier run left. A damaged one, or one too large to be ours, counts as none: everything is told again.
    pub fn read(directory: &Path) -> io::Result<Ledger> {
        match bounded::read_bounded(&directory.join(FILE), FILE_AT_MOST) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::FileTooLarge) => {
                Ok(Ledger::default())
            }
            text => Ok(serde_json::from_slice(&text?).unwrap_or_default()),
        }
    }

    /// Whole or not at all.
    pub fn write(&mut self, directory: &Path, now: Timestamp) -> io::Result<()> {
        self.entries.retain(|_, entry| {
            let is_wrong = entry.since.is_some() || entry.routes.values().any(|heard| heard.told.is_some());
            is_wrong || !has_passed(entry.seen, FORGOTTEN, now)
        });
        let text = serde_json::to_vec(self)?;
        atomic::replace_path(&directory.join(FILE), &text, &Attributes { mode: 0o600, owner: None })
    }

    /// Puts into the outbox what a route is to be told of an observation.
    pub fn compare(&mut self, observation: &Observation, route: &str, alert: &Alert, now: Timestamp) {
        let Observation { subject, trouble, is_applied } = observation;
        // Also what is told later, as what it was before.
        let trouble = trouble.as_ref().map(Trouble::harmless);
        if trouble.is_none() && !is_applied && !self.entries.contains_key(&subject.key()) {
            return;
        }
        let new = || Entry { subject: subject.clone(), since: None, seen: now, routes: BTreeMap::new() };
        let entry = self.entries.entry(subject.key()).or_insert_with(new);
        entry.seen = now;
        entry.since = trouble.as_ref().map(|_| entry.since.unwrap_or(now));
        let since = entry.since.unwrap_or(now);
        let heard = entry.routes.entry(route.to_owned()).or_default();
        let wanted = trouble.as_ref().filter(|trouble| wants(alert, trouble.event, trouble.severity));
        if let Some(notice) = heard.compare(subject, wanted, since, alert, now) {
            self.outbox.push((route.to_owned(), notice));
        } else if *is_applied && wants(alert, Event::Applied, Severity::Info) {
            self.outbox.push((route.to_owned(), Notice::of_an_application(subject, now)));
        }
    }

    /// The subjects of which some route believes that something is wrong, and when each was seen last.
    pub fn troubled(&self) -> impl Iterator<Item = (&Subject, Timestamp)> {
        let is_told = |entry: &&Entry| entry.since.is_some() || entry.routes.values().any(|heard| heard.told.is_some());
        self.entries.values().filter(is_told).map(|entry| (&entry.subject, entry.seen))
    }
}

impl Heard {
    fn compare(
        &mut self,
        subject: &Subject,
        wanted: Option<&Trouble>,
        since: Timestamp,
        alert: &Alert,
        now: Timestamp,
    ) -> Option<Notice> {
        self.changes.retain(|change| !has_passed(*change, WINDOW, now));
        let may_change = self.changes.len() < CHANGES_AT_MOST;
        let notice = match (&self.told, wanted) {
            (None, None) => return None,
            (Some(told), Some(trouble)) if told.event == trouble.event && told.severity == trouble.severity => {
                let again = alert.remind.or(matches!(alert.route, Route::Alertmanager(_)).then_some(SAID_AGAIN))?;
                if !has_passed(self.last.unwrap_or(since), again, now) {
                    return None;
                }
                self.last = Some(now);
                return Some(Notice { is_reminder: true, ..Notice::of(subject, trouble, since, now) });
            }
            (told, Some(trouble)) => {
                let is_worse = told.as_ref().is_none_or(|told| told.severity < trouble.severity);
                if !(may_change || is_worse && trouble.severity == Severity::Critical) {
                    return None;
                }
                Notice { before: told.clone(), ..Notice::of(subject, trouble, since, now) }
            }
            (Some(_), None) if !may_change => return None,
            (Some(told), None) => Notice::of_the_end(subject, told, self.since.unwrap_or(since), now),
        };
        let is_end = wanted.is_none();
        self.told = wanted.cloned();
        self.since = wanted.map(|_| since);
        self.changes.push(now);
        self.last = Some(now);
        // Who wants no ends has his way, and is told of the next trouble.
        (!is_end || is_wanted(alert, Event::Recovered)).then_some(notice)
    }
}

fn is_wanted(alert: &Alert, event: Event) -> bool {
    alert.events.is_empty() || alert.events.contains(&event)
}

fn wants(alert: &Alert, event: Event, severity: Severity) -> bool {
    is_wanted(alert, event) && severity >= alert.min_severity
}

fn has_passed(since: Timestamp, span: Duration, now: Timestamp) -> bool {
    // A clock that was put back makes nothing wait for it.
    since > now || since.duration_until(now).unsigned_abs() >= span
}

#[cfg(test)]
mod tests;
