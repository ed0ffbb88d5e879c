//! Telling somebody. certbot hides what hooks say, so this is the only voice that certcast has.
//!
//! What was seen is compared with what was told (`ledger`); what is new is put on the disk for each route (`spool`), and
//! then sent in that order (`route`). Nothing here changes an outcome, and no call takes longer than its budget by more than
//! what the disk takes.

mod alertmanager;
mod email;
mod exec;
mod http;
mod influx;
mod ledger;
mod notice;
mod ntfy;
pub mod observation;
mod pagerduty;
mod route;
mod slack;
mod spool;
mod webhook;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

pub use notice::{Kind, Notice, Observation, Subject, Trouble};
pub use route::SendError;

use crate::model::config::{Alert, Config};
use crate::model::deadline::Deadline;
use crate::primary::alert::ledger::Ledger;
use crate::primary::alert::route::Outlet;
use crate::primary::alert::spool::Spool;
use crate::primary::fleet::for_each;
use crate::sys::dir::{make_private, make_state};
use crate::sys::lock::Lock;

/// Whoever holds the lock reads or writes a few files.
const LOCK: Duration = Duration::from_secs(10);
/// A route that fails for so long is a trouble of its own, told by the others.
const FAILING: Duration = Duration::from_secs(5 * 60);

/// How one route stands.
#[derive(Debug)]
pub struct Standing {
    /// Which, as messages name it.
    pub label: String,
    /// How much waits to be sent.
    pub waiting: usize,
    /// What its receiver would not take, put aside.
    pub dead: usize,
    /// What was dropped, as there was too much.
    pub dropped: u64,
    /// Since when it fails, and why.
    pub failing: Option<(Timestamp, String)>,
}

/// Puts down what is new in these observations. What is wrong with that is in the log: it is nobody's failure.
///
/// Under the lock of what was observed, so that of two runs the later one has the last word.
pub fn note(config: &Config, observations: &[Observation]) {
    note_all(config, observations, |_, _| false);
}

/// The same, and that it is over with what is there no more: nobody will see its end. Whether it is, by when it was seen last.
pub fn note_all(config: &Config, observations: &[Observation], is_gone: impl Fn(&Subject, Timestamp) -> bool) {
    if config.alerts.is_empty() {
        return;
    }
    let seen = |ledger: &Ledger| {
        let gone = ledger.troubled().filter(|(subject, seen)| is_gone(subject, *seen));
        let ends = gone.map(|(subject, _)| Observation { subject: subject.clone(), trouble: None, is_applied: false });
        observations.iter().cloned().chain(ends).collect()
    };
    if let Err(error) = put_down(config, seen) {
        tracing::error!("an alert is lost: {error}");
    }
}

/// Sends for so long what waits. Under nobody's lock.
pub fn send(config: &Config, budget: Duration) {
    if config.alerts.is_empty() {
        return;
    }
    if let Err(error) = flush(config, Deadline::after(budget)) {
        tracing::error!("alerts wait: {error}");
    }
}

/// The names of all routes, as messages have them.
pub fn labels(config: &Config) -> Vec<String> {
    outlets(config).into_iter().map(|outlet| outlet.label).collect()
}

/// What is told of each route, for people.
pub fn standing(config: &Config) -> Vec<Standing> {
    let outlets = outlets(config);
    outlets.iter().map(|outlet| outlet.spool.standing(outlet.label.clone())).collect()
}

/// Sends a made-up alert by every route, past the spool, and says how each went.
pub fn test(config: &Config) -> io::Result<Vec<(String, Result<(), SendError>)>> {
    let notice = Notice::test(&config.node.name);
    for_each(outlets(config), |outlet| {
        let deadline = Deadline::after(outlet.alert.timeout);
        let went = outlet.send_message(std::slice::from_ref(&notice), deadline);
        (outlet.label, went)
    })
}

/// Pings the dead man's switches: all is well.
pub fn ping(config: &Config, budget: Duration) {
    let outlets = outlets(config).into_iter().filter(Outlet::is_dead_mans_switch).collect::<Vec<_>>();
    let deadline = Deadline::after(budget);
    let went = for_each(outlets, |outlet| outlet.ping(deadline).map_err(|error| format!("{}: {error}", outlet.label)));
    for error in went.into_iter().flatten().filter_map(Result::err) {
        tracing::warn!("{error}");
    }
}

fn put_down(config: &Config, observed: impl FnOnce(&Ledger) -> Vec<Observation>) -> io::Result<()> {
    let directory = directory(config)?;
    let _held = Lock::acquire(&directory.join("lock"), Deadline::after(LOCK))?;
    let mut ledger = Ledger::read(&directory)?;
    let outlets: Vec<_> = outlets(config).into_iter().filter(|outlet| !outlet.is_dead_mans_switch()).collect();
    let now = Timestamp::now();
    for observation in &observed(&ledger) {
        for outlet in &outlets {
            ledger.compare(observation, outlet.spool.key(), &outlet.alert, now);
        }
    }
    ledger.write(&directory, now)?;
    if ledger.outbox.is_empty() {
        return Ok(());
    }
    for outlet in &outlets {
        let key = outlet.spool.key();
        let of_it = |(route, _): &&(String, Notice)| route == key;
        let notices: Vec<&Notice> = ledger.outbox.iter().filter(of_it).map(|(_, notice)| notice).collect();
        match outlet.spool.append(&notices) {
            Ok(()) => ledger.outbox.retain(|(route, _)| route != key),
            Err(error) => tracing::error!("{}: {error}", outlet.label),
        }
    }
    // What is for no route any more.
    ledger.outbox.retain(|(route, _)| outlets.iter().any(|outlet| outlet.spool.key() == route));
    ledger.write(&directory, now)
}

fn flush(config: &Config, deadline: Deadline) -> io::Result<()> {
    let directory = directory(config)?;
    for_each(outlets(config), |outlet| {
        if let Err(error) = outlet.flush(&directory, deadline) {
            tracing::warn!("{}: {error}", outlet.label);
        }
    })?;
    let own = &config.node.name;
    let failing = standing(config).into_iter().map(|standing| {
        let since =
            standing.failing.filter(|(since, _)| since.duration_until(Timestamp::now()).unsigned_abs() >= FAILING);
        observation::of_route(own, &standing.label, since.map(|(_, cause)| cause))
    });
    let failing: Vec<_> = failing.collect();
    put_down(config, |_| failing)
}

fn directory(config: &Config) -> io::Result<PathBuf> {
    make_state(&config.node.state)?;
    let directory = config.node.state.join("alerts");
    make_private(&directory)?;
    Ok(directory)
}

fn outlets(config: &Config) -> Vec<Outlet> {
    let directory = config.node.state.join("alerts");
    let outlet = |(at, alert): (usize, &Alert)| {
        let kind = route::kind(&alert.route);
        let of_its_kind = config.alerts[..=at].iter().filter(|other| route::kind(&other.route) == kind).count();
        let spool = Spool::of(&directory, format!("{kind}-{of_its_kind}"));
        Outlet { label: format!("alert {} ({kind})", at + 1), alert: alert.clone(), spool }
    };
    config.alerts.iter().enumerate().map(outlet).collect()
}

#[cfg(test)]
mod tests;
