//! From the file's `[[alert]]` to a route: which keys its kind needs, and which it does not know.

use std::ops::Range;
use std::time::Duration;

use reqwest::Url;
use toml::Spanned;

use super::alert::{Alert, AlertKind, EndpointUrl, Mailbox, Route, SecretSource, Severity};
use super::check::argv;
use super::diagnostic::Fault;
use super::raw::RawAlert;
use super::value::Text;

impl AlertKind {
    fn name(self) -> &'static str {
        match self {
            AlertKind::Telegraf => "telegraf",
            AlertKind::Alertmanager => "alertmanager",
            AlertKind::Webhook => "webhook",
            AlertKind::Slack => "slack",
            AlertKind::Ntfy => "ntfy",
            AlertKind::Pagerduty => "pagerduty",
            AlertKind::Email => "email",
            AlertKind::Exec => "exec",
            AlertKind::Healthcheck => "healthcheck",
        }
    }
}

pub(super) fn alert(raw: RawAlert) -> Result<Alert, Fault> {
    let (kind, at) = (*raw.to.get_ref(), raw.to.span());
    refuse_foreign(kind, &raw)?;
    let secret = secret(&raw)?;
    if secret.is_none() {
        let needed = match kind {
            AlertKind::Slack => Some("the webhook's URL"),
            AlertKind::Pagerduty => Some("the routing key"),
            _ => None,
        };
        if let Some(what) = needed {
            return Err(needs(kind, at, &format!("secret_file or secret_env, which keeps {what}")));
        }
    }
    let events = match raw.events {
        Some(events) if events.get_ref().is_empty() => {
            return Err(Fault::new(
                events.span(),
                "no event would ever be told",
                "expected an event, or no `events` for all",
            ));
        }
        Some(events) => events.into_inner(),
        None => Vec::new(),
    };
    let retries = match raw.retries {
        None => 5,
        Some(retries) => u32::try_from(*retries.get_ref()).ok().filter(|n| *n <= 100).ok_or_else(|| {
            Fault::new(retries.span(), format!("{} retries", retries.get_ref()), "expected a number from 0 to 100")
        })?,
    };
    Ok(Alert {
        route: route(kind, at, secret.is_some(), (raw.url, raw.argv, raw.from, raw.recipients, raw.user))?,
        secret,
        events,
        min_severity: raw.min_severity.unwrap_or(Severity::Warning),
        timeout: raw.timeout.map_or(Duration::from_secs(10), |text| text.0.0),
        retries,
        remind: raw.remind.map(|text| text.0.0),
    })
}

fn refuse_foreign(kind: AlertKind, raw: &RawAlert) -> Result<(), Fault> {
    let (mail, exec) = (kind == AlertKind::Email, kind == AlertKind::Exec);
    let keys = [
        ("url", raw.url.as_ref().map(Spanned::span), !exec && kind != AlertKind::Slack),
        ("argv", raw.argv.as_ref().map(Spanned::span), exec),
        ("from", raw.from.as_ref().map(Spanned::span), mail),
        ("recipients", raw.recipients.as_ref().map(Spanned::span), mail),
        ("user", raw.user.as_ref().map(Spanned::span), mail),
        ("secret_file", raw.secret_file.as_ref().map(Spanned::span), !exec),
        ("secret_env", raw.secret_env.as_ref().map(Spanned::span), !exec),
    ];
    for (key, span, taken) in keys {
        let Some(span) = span.filter(|_| !taken) else { continue };
        let text = format!("an alert to {} has no `{key}`", kind.name());
        return Err(if kind == AlertKind::Slack && key == "url" {
            Fault::new(span, text, "the webhook's URL is a secret: keep it in secret_file or secret_env").secret()
        } else {
            Fault::new(span, text, "leave this key out")
        });
    }
    Ok(())
}

fn secret(raw: &RawAlert) -> Result<Option<SecretSource>, Fault> {
    match (&raw.secret_file, &raw.secret_env) {
        (Some(_), Some(env)) => {
            Err(Fault::new(env.span(), "the secret is named twice", "expected secret_file or secret_env, not both"))
        }
        (Some(file), None) => Ok(Some(SecretSource::File(file.get_ref().0.0.clone()))),
        (None, Some(env)) => Ok(Some(SecretSource::Env(env.get_ref().0.0.clone()))),
        (None, None) => Ok(None),
    }
}

type Places = (
    Option<Spanned<Text<EndpointUrl>>>,
    Option<Spanned<Vec<String>>>,
    Option<Spanned<Text<Mailbox>>>,
    Option<Spanned<Vec<Text<Mailbox>>>>,
    Option<Spanned<String>>,
);

fn route(kind: AlertKind, at: Range<usize>, has_secret: bool, places: Places) -> Result<Route, Fault> {
    let (url, program, from, recipients, user) = places;
    let url = url.map(|url| fitting_scheme(kind, url)).transpose()?;
    let missing = |what: &str| needs(kind, at.clone(), &format!("`{what}`"));
    let needed_url = |url: Option<Url>| url.ok_or_else(|| missing("url"));
    Ok(match kind {
        AlertKind::Telegraf => Route::Telegraf(needed_url(url)?),
        AlertKind::Alertmanager => Route::Alertmanager(needed_url(url)?),
        AlertKind::Webhook => Route::Webhook(needed_url(url)?),
        AlertKind::Ntfy => Route::Ntfy(needed_url(url)?),
        AlertKind::Slack => Route::Slack,
        AlertKind::Pagerduty => Route::PagerDuty(or_default(url, "https://events.pagerduty.com/v2/enqueue", &at)?),
        AlertKind::Exec => Route::Exec(argv(program.ok_or_else(|| missing("argv"))?)?),
        AlertKind::Healthcheck => match (&url, has_secret) {
            (None, false) => return Err(needs(kind, at, "`url`, or secret_file or secret_env, which keeps it")),
            (Some(_), true) => {
                return Err(Fault::new(
                    at,
                    "the URL to ping is named twice",
                    "expected `url` or a secret that keeps it, not both",
                ));
            }
            _ => Route::Healthcheck(url),
        },
        AlertKind::Email => {
            let recipients = recipients.ok_or_else(|| missing("recipients"))?;
            if recipients.get_ref().is_empty() {
                return Err(Fault::new(recipients.span(), "nobody would get the mail", "expected a mail address"));
            }
            if user.is_some() != has_secret {
                let text = "an alert by email logs in with a user and a password, or not at all";
                return Err(Fault::new(at, text, "expected `user` and secret_file or secret_env, or neither"));
            }
            Route::Email {
                server: or_default(url, "smtp://localhost:25", &at)?,
                from: from.ok_or_else(|| missing("from"))?.into_inner().0,
                to: recipients.into_inner().into_iter().map(|text| text.0).collect(),
                user: user.map(Spanned::into_inner),
            }
        }
    })
}

fn fitting_scheme(kind: AlertKind, url: Spanned<Text<EndpointUrl>>) -> Result<Url, Fault> {
    let span = url.span();
    let url = url.into_inner().0.0;
    let (fit, expected): (&[&str], _) = match kind {
        AlertKind::Email => (&["smtp", "smtps"], "expected \"smtp://host:port\" or \"smtps://host:port\""),
        AlertKind::Telegraf => (
            &["http", "https", "udp", "unix"],
            "expected an http or https URL, \"udp://host:port\" or \"unix:///path\"",
        ),
        _ => (&["http", "https"], "expected an http or https URL"),
    };
    if fit.contains(&url.scheme()) {
        return Ok(url);
    }
    Err(Fault::new(span, format!("an alert to {} does not go to {} URLs", kind.name(), url.scheme()), expected))
}

fn or_default(url: Option<Url>, default: &str, at: &Range<usize>) -> Result<Url, Fault> {
    url.map_or_else(|| Url::parse(default).map_err(|error| Fault::new(at.clone(), error.to_string(), default)), Ok)
}

fn needs(kind: AlertKind, at: Range<usize>, what: &str) -> Fault {
    Fault::new(at, format!("an alert to {} lacks a key", kind.name()), format!("needs {what}"))
}
