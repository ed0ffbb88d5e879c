//! What was found wrong at one node for one challenge, and what to do about it.

use thiserror::Error;

use super::redirect::RedirectFault;
use super::{Role, Target};
use crate::model::names::Identifier;

/// How an address answered instead of serving the challenge.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Kind {
    /// Nobody listens on the port.
    #[error("refuses the connection")]
    Refused,
    /// The connection was neither accepted nor refused.
    #[error("does not take a connection")]
    NoConnection,
    /// The network says it cannot be reached.
    #[error("cannot be reached ({0})")]
    Unreachable(String),
    /// Connected, but no whole answer came in time.
    #[error("does not answer in time")]
    Slow,
    /// The connection ended early or what came is not HTTP.
    #[error("does not answer as a web server does ({0})")]
    Broken(String),
    /// A redirect led to https, and no TLS session came about.
    #[error("fails the TLS handshake ({0})")]
    Tls(String),
    /// Any status but 200 and a redirect.
    #[error("answers {0}")]
    Status(u16),
    /// 200, with something else than the validation.
    #[error("answers something else, beginning \"{got}\",")]
    WrongBody {
        /// The beginning of it, escaped.
        got: String,
    },
    /// A redirect that the CA would not follow.
    #[error("answers {status}, a redirect to \"{to}\",")]
    Redirect {
        /// Its status.
        status: u16,
        /// Its target, escaped.
        to: String,
        /// Why it is not followed.
        why: RedirectFault,
    },
    /// It never came to asking: the time ran out, or something here is wrong.
    #[error("was not asked ({0})")]
    NotAsked(String),
}

/// A challenge that an address does not serve. What a person reads of it is its line in [`super::summary()`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The name that the CA would validate.
    pub name: Identifier,
    /// Who was asked.
    pub target: Target,
    /// What was asked for first.
    pub url: String,
    /// Where redirects led, asked at the same address, when the answer came from there.
    pub redirected_to: Option<String>,
    /// What came instead.
    pub kind: Kind,
}

impl Failure {
    /// The likely cause and the remedy.
    pub(super) fn hint(&self) -> String {
        let vhost = format!("the vhost for {}", self.name);
        let (webroot, addresses) = match &self.target.role {
            Role::Node(node) => {
                (format!("'webroot' in {node}'s config.toml"), format!("the addresses configured for {node}"))
            }
            Role::Front => ("which servers it forwards to".to_owned(), "challenge.fronts".to_owned()),
        };
        let port = match &self.redirected_to {
            Some(url) if url.starts_with("https:") => 443,
            _ => 80,
        };
        match &self.kind {
            Kind::Refused => format!("no web server listens on port {port} there; start it, or correct {addresses}"),
            Kind::NoConnection | Kind::Unreachable(_) => format!(
                "it is off or cut off, a firewall drops port {port}, or this node cannot reach it although the \
                 public can (hairpin NAT: see challenge.prove_at); look at that, and at {addresses}"
            ),
            Kind::Slow => {
                "the web server there, or what is behind it, hangs; look at its error log and load".to_owned()
            }
            Kind::Broken(_) => format!(
                "no web server that speaks HTTP is on port {port} there, or it drops the request; look at its error log"
            ),
            Kind::Tls(_) => format!(
                "it redirects the challenge to https, where TLS does not work; mend that, or exempt \
                 /.well-known/acme-challenge/ from the redirect in {vhost}"
            ),
            Kind::Status(404 | 410) => format!(
                "the web server there does not serve the webroot certcast writes to; look at 'root' of {vhost} and at {webroot}"
            ),
            Kind::Status(403) => format!(
                "the web server there may not read the file, or a rule denies it; let its user into every directory of \
                 the webroot, look for rules against names that begin with a dot in {vhost}, and at {webroot}"
            ),
            Kind::Status(401) => {
                format!("it asks for a password; exempt /.well-known/acme-challenge/ from that in {vhost}")
            }
            Kind::Status(500..) => format!(
                "the web server there or what is behind it fails; look at its error log, and let {vhost} serve \
                 /.well-known/acme-challenge/ as files from the webroot"
            ),
            Kind::Status(_) => format!("the CA takes 200 only; let {vhost} serve the webroot as plain files"),
            Kind::WrongBody { .. } => format!(
                "an application, a cache or another vhost answers instead of the webroot; look at which vhost answers \
                 for {} there, and at {webroot}",
                self.name
            ),
            Kind::Redirect { why, .. } => {
                format!("{why}; exempt /.well-known/acme-challenge/ from the redirect in {vhost}")
            }
            Kind::NotAsked(_) => {
                "what is not proven counts as failed; raise challenge.budget if it was the time".to_owned()
            }
        }
    }
}
