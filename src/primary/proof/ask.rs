//! One question: what does this very address answer for this challenge, asked as the CA asks?

use std::collections::{BTreeSet, HashMap};
use std::error::Error;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::Url;
use reqwest::blocking::{Client, ClientBuilder, Response};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONNECTION, HOST, LOCATION};
use reqwest::redirect::Policy;

use super::failure::Kind;
use super::redirect::{follow, is_redirect};
use crate::model::challenge::Challenge;
use crate::model::deadline::Deadline;
use crate::model::escape::{escaped, escaped_bytes};
use crate::model::names::Identifier;

/// A SYN is sent at 0, 1 and 3 seconds: who has not answered then is not there.
const CONNECT: Duration = Duration::from_secs(4);
/// One question with all its redirects. Boulder waits 10 seconds.
const ANSWER: Duration = Duration::from_secs(10);
/// No validation is longer; the rest is only for the message.
const BODY: usize = 4096;
/// How much of a wrong body a message shows, in bytes.
const SHOWN: usize = 80;

/// Where the ports that the CA asks are to be found: there, except in tests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    pub(super) http: u16,
    pub(super) https: u16,
}

impl Ports {
    pub(super) const PUBLIC: Ports = Ports { http: 80, https: 443 };

    fn of(self, url: &Url) -> u16 {
        if url.port_or_known_default() == Some(443) { self.https } else { self.http }
    }
}

/// What was wrong, and the page that said so when it is not the first.
pub(super) struct Fault {
    pub(super) kind: Kind,
    pub(super) redirected_to: Option<String>,
}

/// Asks addresses for challenges.
///
/// One client serves every address: the URL names the address and the Host header the name, so
/// that connections are kept for all names of a node. For https the name must also be in the TLS
/// handshake, so an address that redirects there gets a client of its own, pinned to it.
pub(super) struct Asker {
    ports: Ports,
    plain: Client,
    tls: Mutex<HashMap<IpAddr, Client>>,
    /// The names that were answered for by another host, with that host.
    detours: Mutex<BTreeSet<(Identifier, Identifier)>>,
}

impl Asker {
    pub(super) fn new(ports: Ports) -> Result<Self, reqwest::Error> {
        Ok(Asker { ports, plain: builder().build()?, tls: Mutex::default(), detours: Mutex::default() })
    }

    /// Whether `address` serves the challenge. With `fresh`, over a connection of its own.
    pub(super) fn ask(
        &self,
        challenge: &Challenge,
        address: IpAddr,
        fresh: bool,
        deadline: Deadline,
    ) -> Result<(), Fault> {
        let deadline = deadline.at_most(ANSWER);
        let first = Url::parse(&url(challenge))
            .map_err(|error| Fault { kind: Kind::NotAsked(error.to_string()), redirected_to: None })?;
        let mut trail = vec![first];
        loop {
            match self.visit(&trail, challenge, address, fresh, deadline) {
                Ok(None) => {
                    self.note_detours(challenge.name(), &trail);
                    return Ok(());
                }
                Ok(Some(next)) => trail.push(next),
                Err(kind) => {
                    let redirected_to = trail.get(1..).and_then(<[Url]>::last).map(Url::to_string);
                    return Err(Fault { kind, redirected_to });
                }
            }
        }
    }

    /// What was seen of redirects to other hosts.
    pub(super) fn detours(self) -> BTreeSet<(Identifier, Identifier)> {
        self.detours.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_detours(&self, name: &Identifier, trail: &[Url]) {
        let hosts = trail.iter().skip(1).filter_map(|page| page.domain()?.parse().ok());
        let mut detours = self.detours.lock().unwrap_or_else(PoisonError::into_inner);
        detours.extend(hosts.filter(|host| host != name).map(|host| (name.clone(), host)));
    }

    /// Asks for the last page of the trail; the next page when it redirects, none when it is right.
    fn visit(
        &self,
        trail: &[Url],
        challenge: &Challenge,
        address: IpAddr,
        fresh: bool,
        deadline: Deadline,
    ) -> Result<Option<Url>, Kind> {
        let Some(page) = trail.last() else { return Ok(None) };
        let response = self.get(page, address, fresh, deadline)?;
        let status = response.status().as_u16();
        if is_redirect(status) {
            let location = response.headers().get(LOCATION).map(|value| value.as_bytes().to_vec());
            return follow(trail, status, location.as_deref()).map(Some).map_err(|(to, why)| Kind::Redirect {
                status,
                to: escaped(&to),
                why,
            });
        }
        if status != 200 {
            return Err(Kind::Status(status));
        }
        let mut body = Vec::new();
        response.take(BODY as u64 + 1).read_to_end(&mut body).map_err(|error| broken(&error))?;
        // Boulder cuts exactly these off the end before it compares.
        if body.len() <= BODY && trimmed(&body) == challenge.validation().as_bytes() {
            return Ok(None);
        }
        Err(Kind::WrongBody { got: escaped_bytes(&body[..body.len().min(SHOWN)]) })
    }

    fn get(&self, page: &Url, address: IpAddr, fresh: bool, deadline: Deadline) -> Result<Response, Kind> {
        if deadline.has_passed() {
            return Err(Kind::Slow);
        }
        let secure = page.scheme() == "https";
        let client = if secure { self.pinned(address) } else { Ok(self.plain.clone()) };
        let client = client.map_err(|error| Kind::NotAsked(cause(&error)))?;
        let mut request = client.get(self.target(page, address)?).header(HOST, host(page)).timeout(deadline.left());
        if fresh {
            request = request.header(CONNECTION, "close");
        }
        request.send().map_err(|error| refused_how(&error, secure))
    }

    /// The page's URL as the client needs it to reach the address: its host for http is the
    /// address itself, for https the name, which the pinned client takes there. In place of an address there is no name to keep.
    fn target(&self, page: &Url, address: IpAddr) -> Result<Url, Kind> {
        let unfit = || Kind::NotAsked("the URL cannot be asked".to_owned());
        let mut target = page.clone();
        let port = self.ports.of(page);
        if page.scheme() != "https" || page.domain().is_none() {
            target.set_ip_host(address).map_err(|()| unfit())?;
        }
        target.set_port(Some(port)).map_err(|()| unfit())?;
        Ok(target)
    }

    fn pinned(&self, address: IpAddr) -> Result<Client, reqwest::Error> {
        let mut clients = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&address) {
            return Ok(client.clone());
        }
        // As the CA does: the certificate is what is being renewed, so it may well be expired.
        let client = builder()
            .tls_danger_accept_invalid_certs(true)
            .tls_danger_accept_invalid_hostnames(true)
            .dns_resolver(Arc::new(Pinned(address)))
            .build()?;
        clients.insert(address, client.clone());
        Ok(client)
    }
}

/// What the CA asks for first.
pub(super) fn url(challenge: &Challenge) -> String {
    match challenge.name() {
        Identifier::Ip(IpAddr::V6(address)) => format!("http://[{address}]{}", challenge.url_path()),
        name => format!("http://{name}{}", challenge.url_path()),
    }
}

/// A client that does nothing by itself: no proxy, no redirect, no name lookup beyond its pin.
fn builder() -> ClientBuilder {
    Client::builder()
        .user_agent("certcast")
        .no_proxy()
        .redirect(Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .http1_only()
        .connect_timeout(CONNECT)
}

/// A resolver that knows one address for every name.
struct Pinned(IpAddr);

impl Resolve for Pinned {
    fn resolve(&self, _: Name) -> Resolving {
        let address: Addrs = Box::new(std::iter::once(SocketAddr::new(self.0, 0)));
        Box::pin(std::future::ready(Ok(address)))
    }
}

fn host(page: &Url) -> String {
    let name = page.host_str().unwrap_or_default();
    page.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"))
}

fn trimmed(body: &[u8]) -> &[u8] {
    let end = body.iter().rposition(|byte| !b"\n\r\t ".contains(byte)).map_or(0, |last| last + 1);
    &body[..end]
}

fn refused_how(error: &reqwest::Error, secure: bool) -> Kind {
    match (io_kind(error), error.is_connect(), error.is_timeout()) {
        (Some(io::ErrorKind::ConnectionRefused), true, _) => Kind::Refused,
        (_, true, true) | (Some(io::ErrorKind::TimedOut), true, _) => Kind::NoConnection,
        (_, false, true) => Kind::Slow,
        (Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable), true, _) => {
            Kind::Unreachable(cause(error))
        }
        (_, true, _) if secure => Kind::Tls(cause(error)),
        (_, true, _) => Kind::Unreachable(cause(error)),
        _ => Kind::Broken(cause(error)),
    }
}

fn broken(error: &io::Error) -> Kind {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<reqwest::Error>());
    if error.kind() == io::ErrorKind::TimedOut || inner.is_some_and(reqwest::Error::is_timeout) {
        return Kind::Slow;
    }
    inner.map_or_else(|| Kind::Broken(cause(error)), |inner| Kind::Broken(cause(inner)))
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

fn io_kind(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind).last()
}

/// The innermost cause; what is around it only says that a request failed.
fn cause(error: &(dyn Error + 'static)) -> String {
    causes(error).last().map(|cause| escaped(&cause.to_string())).unwrap_or_default()
}
