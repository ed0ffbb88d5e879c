//! Whom to tell: one `[[alert]]` is one route. Parsed and checked here, sent elsewhere.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use reqwest::Url;
use serde::{Deserialize, Serialize};

use super::value::ValueError;

/// One `[[alert]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Where to, and in which form.
    pub route: Route,
    /// Where its secret is kept; the configuration never holds one.
    pub secret: Option<SecretSource>,
    /// What is told; empty: everything.
    pub events: Vec<Event>,
    /// What is less severe is not told.
    pub min_severity: Severity,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// How often what the receiver would not take is sent again, at later runs, before it is put aside; at most 100.
    pub retries: u32,
    /// After how long a lasting trouble is told again; never when absent.
    pub remind: Option<Duration>,
}

/// Where an alert goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `InfluxDB` line protocol, over HTTP, UDP or a unix socket. The secret, if any, is a token for HTTP.
    Telegraf(Url),
    /// Prometheus Alertmanager's API. The secret, if any, is a bearer token.
    Alertmanager(Url),
    /// JSON by POST. The secret, if any, is the key of its signature.
    Webhook(Url),
    /// A Slack-compatible incoming webhook, whose whole URL is the secret.
    Slack,
    /// ntfy: the URL names server and topic. The secret, if any, is an access token.
    Ntfy(Url),
    /// `PagerDuty` Events API v2. The secret is the routing key.
    PagerDuty(Url),
    /// Mail over SMTP. The secret, if any, is the user's password.
    Email {
        /// `smtp://host:port` or `smtps://host:port`.
        server: Url,
        /// The sender.
        from: Mailbox,
        /// The recipients; never empty.
        to: Vec<Mailbox>,
        /// The account to log in with; present exactly when there is a secret.
        user: Option<String>,
    },
    /// A program that gets the alert as JSON on stdin; never empty.
    Exec(Vec<String>),
    /// A dead man's switch that is pinged; its URL is here or, when that is a secret, there.
    Healthcheck(Option<Url>),
}

/// The value of `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum AlertKind {
    Telegraf,
    Alertmanager,
    Webhook,
    Slack,
    Ntfy,
    Pagerduty,
    Email,
    Exec,
    Healthcheck,
}

/// Where a secret is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// The first line of this file.
    File(PathBuf),
    /// This environment variable.
    Env(String),
}

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Will need somebody if it lasts.
    Warning,
    /// Needs somebody now.
    Critical,
}

/// What an alert can be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// A challenge could not be published or proven on every node.
    ChallengeFailed,
    /// A lineage on the primary is not fit to be sent.
    LineageUnfit,
    /// A node has a new certificate.
    Applied,
    /// A node refused the new certificate and kept the old one.
    Refused,
    /// A node took the new certificate and went back to the old one.
    RolledBack,
    /// A node could not be reached and is behind.
    Pending,
    /// A node needs a person.
    Stuck,
    /// A certificate runs out soon.
    Expiring,
    /// Another route does not take alerts.
    RouteFailing,
    /// A trouble told before is over.
    Recovered,
}

/// A URL without credentials in it. Errors never repeat it.
#[derive(Clone, Debug)]
pub(super) struct EndpointUrl(pub Url);

impl FromStr for EndpointUrl {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        const EXPECTED: &str = "a URL such as \"http://127.0.0.1:8186/write\"";
        if text.len() > 2048 {
            return Err(ValueError::unshown("the URL is longer than 2048 bytes", EXPECTED));
        }
        let url = Url::parse(text).map_err(|error| ValueError::unshown(format!("not a URL: {error}"), EXPECTED))?;
        let is_fit = match url.scheme() {
            "http" | "https" | "smtp" | "smtps" => url.has_host(),
            "udp" => url.has_host() && url.port().is_some(),
            "unix" => !url.has_host() && url.path().len() > 1,
            _ => false,
        };
        if !is_fit {
            let what = "not a URL of http, https, smtp or smtps with a host, nor udp://host:port, nor unix:///path";
            return Err(ValueError::unshown(what, EXPECTED));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(ValueError::unshown(
                "the URL holds a user or a password",
                "a URL without them; a secret is kept in secret_file or secret_env",
            ));
        }
        Ok(EndpointUrl(url))
    }
}

/// A mail address: one `@`, and nothing that could end a header or be an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox(String);

impl Mailbox {
    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Mailbox {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let fit = |part: &str| {
            !part.is_empty() && !part.starts_with('-') && !part.contains(['@', ' ', '<', '>', ',', ';', '"', '\\', ':'])
        };
        let plain = text.len() <= 254 && !text.chars().any(|c| c.is_control() || c.is_whitespace());
        match text.split_once('@') {
            Some((local, domain)) if plain && fit(local) && fit(domain) => Ok(Mailbox(text.to_owned())),
            _ => Err(ValueError::new(text, "is not a mail address", "an address such as \"ops@site.example\"")),
        }
    }
}

/// The name of an environment variable.
#[derive(Clone, Debug)]
pub(super) struct EnvName(pub String);

impl FromStr for EnvName {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let fit = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
        if text.is_empty()
            || text.len() > 128
            || text.starts_with(|c: char| c.is_ascii_digit())
            || !text.bytes().all(fit)
        {
            // Somebody may have written the secret itself here.
            return Err(ValueError::unshown(
                "not the name of an environment variable",
                "a name in capitals such as \"CERTCAST_SLACK_URL\"",
            ));
        }
        Ok(EnvName(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::{EndpointUrl, EnvName, Mailbox};

    #[test]
    fn a_url_holds_no_secret_and_an_error_does_not_repeat_it() {
        assert!("http://127.0.0.1:8186/write".parse::<EndpointUrl>().is_ok());
        for bad in
            ["https://u:hunter2@h/", "https://hunter2@h/", "file:///hunter2", "hunter2", "unix://hunter2", "https://"]
        {
            let error = bad.parse::<EndpointUrl>().unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_mail_address_cannot_add_a_header() {
        assert!("ops@site.example".parse::<Mailbox>().is_ok());
        for bad in [
            "",
            "ops",
            "@a",
            "a@",
            "a@b@c",
            "a@b\r\nBcc: x@y",
            "-t@b",
            "A <a@b>",
            "a@b,c@d",
            "a\nb@c",
            "a\x1b@c",
            "a\u{a0}@c",
        ] {
            assert!(bad.parse::<Mailbox>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn urls_are_of_the_schemes_that_alerts_go_by_and_variables_have_names() {
        for good in ["https://host/x", "udp://127.0.0.1:8089", "unix:///run/telegraf.sock"] {
            assert!(good.parse::<EndpointUrl>().is_ok(), "{good:?} was refused");
        }
        assert!("A_1".parse::<EnvName>().is_ok());
        for bad in ["ftp://host/", "http:", "file:///etc/passwd", "udp://host", "unix:///"] {
            assert!(bad.parse::<EndpointUrl>().is_err(), "{bad:?} was accepted");
        }
        for bad in ["", "1ABC", "abc", "A-B"] {
            assert!(bad.parse::<EnvName>().is_err(), "{bad:?} was accepted");
        }
    }
}
