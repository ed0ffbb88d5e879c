//! One `[[alert]]` at work: its secret, its order, what is tried again and what is put aside.

use std::io;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use thiserror::Error;
use zeroize::Zeroizing;

use super::notice::Notice;
use super::spool::{Health, Spool};
use super::{alertmanager, email, exec, http, influx, ntfy, pagerduty, slack, webhook};
use crate::model::config::{Alert, Route, SecretSource};
use crate::model::deadline::Deadline;
use crate::model::escape::{escaped, escaped_up_to};
use crate::sys::bounded;
use crate::sys::lock::Lock;

const SECRET_AT_MOST: u64 = 64 * 1024;
/// So much of a secret's beginning is no secret yet.
const TOLD_OF_A_SECRET: usize = 6;
/// In a file that is read back, and before a person.
const ERROR_AT_MOST: usize = 1000;
/// So many are read from the disk and removed there together.
const AT_ONCE: usize = 100;
const LOCK: Duration = Duration::from_secs(3);

/// Why a notice did not arrive. No secret is in it.
#[derive(Debug, Error)]
pub enum SendError {
    /// The receiver was not there, had no time, or no room: it is sent again.
    #[error("{0}")]
    Unreached(String),
    /// The receiver would not have it.
    #[error("{0}")]
    Refused(String),
    /// Some have it, and would have it twice: it is not sent again.
    #[error("{0}")]
    Partly(String),
}

/// How sending went.
#[derive(Debug)]
pub struct Sent {
    /// So many arrived, the first ones.
    pub count: usize,
    /// Why the next did not.
    pub error: Option<SendError>,
}

/// A route that can be sent by.
#[derive(Debug)]
pub struct Outlet {
    /// Its name in messages.
    pub label: String,
    /// Its part of the configuration.
    pub alert: Alert,
    /// What waits for it.
    pub spool: Spool,
}

/// The value of `to`.
pub fn kind(route: &Route) -> &'static str {
    match route {
        Route::Telegraf(_) => "telegraf",
        Route::Alertmanager(_) => "alertmanager",
        Route::Webhook(_) => "webhook",
        Route::Slack => "slack",
        Route::Ntfy(_) => "ntfy",
        Route::PagerDuty(_) => "pagerduty",
        Route::Email { .. } => "email",
        Route::Exec(_) => "exec",
        Route::Healthcheck(_) => "healthcheck",
    }
}

impl Outlet {
    /// Whether it hears of nothing but that all is well.
    pub fn is_dead_mans_switch(&self) -> bool {
        matches!(self.alert.route, Route::Healthcheck(_))
    }

    /// Sends what waits until it is all sent, something fails, or the time is up. Another process that does so is not waited for.
    pub fn flush(&self, directory: &Path, deadline: Deadline) -> io::Result<()> {
        if self.is_dead_mans_switch() {
            return Ok(());
        }
        let lock = directory.join(format!("{}.lock", self.spool.key()));
        let _sending = match Lock::acquire(&lock, Deadline::after(Duration::ZERO)) {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => return Ok(()),
            lock => lock?,
        };
        while !deadline.has_passed() {
            let notices = self.spool.first(AT_ONCE)?;
            if notices.is_empty() {
                let _held = Lock::acquire(&directory.join("lock"), Deadline::after(LOCK))?;
                if !self.spool.drop_too_long()? {
                    break;
                }
                tracing::error!("{}: an alert is lost: it is too long", self.label);
                continue;
            }
            let sent = self.send(&notices, deadline);
            let _held = Lock::acquire(&directory.join("lock"), Deadline::after(LOCK))?;
            if !self.conclude(&sent, &notices)? {
                break;
            }
        }
        Ok(())
    }

    /// Whether to go on.
    fn conclude(&self, sent: &Sent, notices: &[Notice]) -> io::Result<bool> {
        if let Some(last) = sent.count.checked_sub(1).and_then(|last| notices.get(last)) {
            self.spool.remove_up_to(&last.id)?;
        }
        let before = self.spool.health();
        let mut health = before.clone();
        if sent.count > 0 {
            (health.failing, health.refusals) = (None, 0);
        }
        if let Some(error) = &sent.error {
            tracing::warn!("{}: {error}", self.label);
            if let (SendError::Refused(_), Some(first)) = (error, notices.get(sent.count)) {
                if health.refusals >= self.alert.retries {
                    self.spool.bury(first)?;
                    health.refusals = 0;
                } else {
                    health.refusals += 1;
                }
            }
            let since = health.failing.map_or_else(Timestamp::now, |(since, _)| since);
            health.failing = Some((since, escaped_up_to(&error.to_string(), ERROR_AT_MOST)));
        }
        if self.spool.first(1)?.is_empty() {
            health = Health::default();
        }
        if health != before {
            self.spool.note(&health)?;
        }
        Ok(sent.error.is_none())
    }

    /// Sends them, as many in one message as a machine takes, or a person reads; what is refused together, each alone.
    pub fn send(&self, notices: &[Notice], deadline: Deadline) -> Sent {
        let in_one = match self.alert.route {
            Route::Telegraf(_) | Route::Alertmanager(_) => AT_ONCE,
            Route::Slack | Route::Ntfy(_) | Route::Email { .. } => 10,
            Route::Webhook(_) | Route::PagerDuty(_) | Route::Exec(_) | Route::Healthcheck(_) => 1,
        };
        let mut count = 0;
        for message in notices.chunks(in_one) {
            let mut sent = self.send_in_time(message, deadline);
            if message.len() > 1 && matches!(sent, Err(SendError::Refused(_))) {
                sent = message.iter().try_for_each(|one| {
                    self.send_in_time(std::slice::from_ref(one), deadline)?;
                    count += 1;
                    Ok(())
                });
            } else if sent.is_ok() {
                count += message.len();
            }
            if let Err(error) = sent {
                return Sent { count, error: Some(error) };
            }
        }
        Sent { count, error: None }
    }

    fn send_in_time(&self, message: &[Notice], deadline: Deadline) -> Result<(), SendError> {
        if deadline.has_passed() {
            return Err(SendError::Unreached("the time was up".to_owned()));
        }
        match self.send_message(message, deadline) {
            Err(SendError::Partly(why)) => {
                tracing::warn!("{}: {why}", self.label);
                Ok(())
            }
            sent => sent,
        }
    }

    /// Sends one message, within the time that it may take.
    pub fn send_message(&self, notices: &[Notice], deadline: Deadline) -> Result<(), SendError> {
        let deadline = deadline.at_most(self.alert.timeout);
        let secret = self.secret()?;
        let secret = secret.as_ref().map(|secret| secret.as_str());
        let sent = match &self.alert.route {
            Route::Telegraf(url) => influx::send(url, secret, notices, deadline),
            Route::Alertmanager(url) => alertmanager::send(url, secret, notices, deadline),
            Route::Webhook(url) => notices.iter().try_for_each(|notice| webhook::send(url, secret, notice, deadline)),
            Route::Slack => slack::send(secret.unwrap_or_default(), notices, deadline),
            Route::Ntfy(url) => ntfy::send(url, secret, notices, deadline),
            Route::PagerDuty(url) => {
                let send = |notice| pagerduty::send(url, secret.unwrap_or_default(), notice, deadline);
                notices.iter().try_for_each(send)
            }
            Route::Email { server, from, to, user } => {
                let login = user.as_deref().zip(secret);
                email::send(&email::Envelope { server, from, to, login }, notices, deadline)
            }
            Route::Exec(argv) => notices.iter().try_for_each(|notice| exec::send(argv, notice, deadline)),
            Route::Healthcheck(_) => return self.ping(deadline),
        };
        sent.map_err(|error| without(secret, error))
    }

    /// Says that all is well.
    pub fn ping(&self, deadline: Deadline) -> Result<(), SendError> {
        let secret = self.secret()?;
        let Route::Healthcheck(url) = &self.alert.route else { return Ok(()) };
        let url = match url {
            Some(url) => url.clone(),
            None => http::secret_url(secret.as_ref().map_or("", |secret| secret.as_str()))?,
        };
        let secret = secret.as_ref().map(|secret| secret.as_str());
        http::get(&url, deadline.at_most(self.alert.timeout)).map_err(|error| without(secret, error))
    }

    fn secret(&self) -> Result<Option<Zeroizing<String>>, SendError> {
        let unknown = |what: &str| SendError::Unreached(format!("the secret cannot be read: {what}"));
        let text = match &self.alert.secret {
            None => return Ok(None),
            Some(SecretSource::Env(name)) => {
                let value = std::env::var(name).map_err(|_| unknown(&format!("the variable {name} is not set")))?;
                Zeroizing::new(value)
            }
            Some(SecretSource::File(path)) => {
                let text = bounded::read_bounded(path, SECRET_AT_MOST);
                let text = text.map_err(|error| unknown(&format!("{}: {error}", path.display())))?;
                Zeroizing::new(String::from_utf8_lossy(&Zeroizing::new(text)).into_owned())
            }
        };
        let line = text.lines().next().unwrap_or_default().trim();
        if line.is_empty() {
            return Err(unknown("its first line is empty"));
        }
        Ok(Some(Zeroizing::new(line.to_owned())))
    }
}

/// A receiver may say a secret back, and what was cut off may end within it.
fn without(secret: Option<&str>, error: SendError) -> SendError {
    let Some(secret) = secret else { return error };
    let clean = |text: String| {
        let text = text.replace(secret, "…").replace(&escaped(secret), "…");
        let begins = |length: &usize| secret.get(..*length).is_some_and(|begin| text.contains(begin));
        match (TOLD_OF_A_SECRET..secret.len()).rev().find(begins).and_then(|length| secret.get(..length)) {
            Some(begin) => text.replace(begin, "…"),
            None => text,
        }
    };
    match error {
        SendError::Unreached(text) => SendError::Unreached(clean(text)),
        SendError::Refused(text) => SendError::Refused(clean(text)),
        SendError::Partly(text) => SendError::Partly(clean(text)),
    }
}
