//! What is served here now: fresh TLS handshakes, comparing the leaf.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use openssl::ssl::{HandshakeError, Ssl, SslContext, SslMethod, SslVerifyMode};
use serde::{Deserialize, Serialize};

use crate::model::config::{ProbeTarget, Service};
use crate::model::deadline::Deadline;
use crate::model::digest::Digest;
use crate::model::names::Identifier;
use crate::sys::addresses;
use crate::sys::parallel::in_parallel;
use crate::sys::timed::{SharedDeadline, TimedReader, TimedWriter};

/// A local handshake takes milliseconds; two seconds mean that nobody answers.
const HANDSHAKE: Duration = Duration::from_secs(2);
/// Old workers accept for a moment after a reload, so one match proves little.
const MATCHES_IN_A_ROW: usize = 3;
/// Handshakes at the same time; more only queue in the service.
const PARALLEL: usize = 8;
/// Between two rounds, so that a row of matches spans some time and not one moment.
const PAUSE: Duration = Duration::from_millis(40);
/// Before the next look at what does not show the new one.
const AGAIN: Duration = Duration::from_millis(20);
/// After a long wait the next look comes after this part of it: looking has its price, for the service too.
const PART: u32 = 16;
/// A node with very many addresses is probed on these many of them.
const ADDRESSES_AT_MOST: usize = 32;
/// So many handshakes in vain at a place that takes connections and has never said anything tell enough of it: two for each that
/// is under way at the same time, as a busy one gets two.
const SILENT_AT_MOST: usize = 2 * PARALLEL;
/// A certificate may have thousands of names; these many show what is served for it.
const NAMES_AT_MOST: usize = 100;

/// A place where this lineage was served before, so where the new leaf must be served after.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Expectation {
    /// Where.
    pub address: SocketAddr,
    /// For which name.
    pub name: Identifier,
}

/// A place and the leaf that it is to show; none stands for any.
pub type Expected = (Expectation, Option<Digest>);

/// What one handshake showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// A leaf.
    Leaf(Digest),
    /// Something listens, but no certificate came.
    NoCertificate(String),
    /// Nothing listens.
    NoListener,
    /// The time was up before it could be asked.
    NotAsked,
}

/// The addresses at which a service's probes look: a port alone stands for every address of this node.
pub fn places(service: &Service) -> Vec<SocketAddr> {
    let local = addresses::local().unwrap_or_default();
    let mut places = BTreeSet::new();
    for target in &service.probe {
        match target {
            ProbeTarget::Address(address) => _ = places.insert(*address),
            ProbeTarget::Port(port) => {
                places.extend(local.iter().take(ADDRESSES_AT_MOST).map(|ip: &IpAddr| SocketAddr::new(*ip, *port)));
            }
        }
    }
    places.into_iter().collect()
}

/// What is shown at each place for each name. A place without a listener is asked only once, and is not among them.
pub fn look(places: &[SocketAddr], names: &[Identifier], deadline: Deadline) -> Vec<(Expectation, Shown)> {
    let names = &names[..names.len().min(NAMES_AT_MOST)];
    let mut open: Vec<_> = listening(places, deadline)
        .into_iter()
        .flat_map(|address| names.iter().map(move |name| Expectation { address, name: name.clone() }))
        .collect();
    let client = Client::new();
    let silent = Silent::default();
    let handshake = |pair: &Expectation| {
        let begun = Instant::now();
        let shown = client.handshake(pair, deadline);
        silent.note(pair.address, matches!(shown, Shown::Leaf(_)) || begun.elapsed() < HANDSHAKE);
        match shown {
            // It was cut short.
            Shown::NoCertificate(_) | Shown::NoListener if deadline.has_passed() => Shown::NotAsked,
            shown => shown,
        }
    };
    let ask = |pair: &Expectation| match handshake(pair) {
        // A worker on its way out, or a busy machine, may fail one handshake. What is not seen here is not expected
        // afterwards, so a regression at that place would go unnoticed: it is asked again.
        Shown::NoCertificate(_) | Shown::NoListener if !silent.is(pair.address) => {
            thread::sleep(PAUSE.min(deadline.left()));
            handshake(pair)
        }
        shown => shown,
    };
    let mut seen = Vec::new();
    loop {
        let looked = in_parallel(&open, PARALLEL, |pair| (!silent.is(pair.address)).then(|| ask(pair)));
        let mut left = Vec::new();
        for (pair, shown) in open.into_iter().zip(looked) {
            match shown {
                Some(shown) => seen.push((pair, shown)),
                None => left.push(pair),
            }
        }
        open = left;
        // What was passed over is asked after all where somebody has spoken since.
        if open.iter().all(|pair| silent.is(pair.address)) {
            break;
        }
    }
    seen.extend(open.into_iter().map(|pair| (pair, Shown::NoCertificate("silent".into()))));
    seen
}

/// The places that have said nothing yet, with how often that took all of a handshake's time. One that has says so by none.
#[derive(Default)]
struct Silent(Mutex<BTreeMap<SocketAddr, Option<usize>>>);

impl Silent {
    fn is(&self, place: SocketAddr) -> bool {
        let places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(places.get(&place), Some(Some(SILENT_AT_MOST..)))
    }

    fn note(&self, place: SocketAddr, has_answered: bool) {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let times = places.entry(place).or_insert(Some(0));
        *times = times.filter(|_| !has_answered).map(|times| times + 1);
    }
}

/// Those places that take connections, and those that there was no time to ask.
pub fn listening(places: &[SocketAddr], deadline: Deadline) -> Vec<SocketAddr> {
    let may_listen = |&address: &SocketAddr| {
        let listens = deadline.has_passed() || connect(address, deadline).is_ok() || deadline.has_passed();
        listens.then_some(address)
    };
    in_parallel(places, PARALLEL, may_listen).into_iter().flatten().collect()
}

/// Waits until each expectation shows its leaf several times in a row, for so long at least; else what the first failing
/// one shows.
///
/// One look at anything else begins the row anew.
pub fn wait_for(expected: &[Expected], row: Duration, deadline: Deadline) -> Result<(), (Expectation, Shown)> {
    if expected.is_empty() {
        return Ok(());
    }
    let client = Client::new();
    let otherwise = |(pair, leaf): &Expected| match client.handshake(pair, deadline) {
        Shown::Leaf(shown) if leaf.is_none_or(|leaf| shown == leaf) => None,
        other => Some((pair.clone(), other)),
    };
    let any_otherwise = |pairs: &[Expected]| in_parallel(pairs, PARALLEL, otherwise).into_iter().flatten().next();
    let (mut matches, mut begun, mut seen) = (0, Instant::now(), None);
    let waiting = Instant::now();
    loop {
        // One that does not show it is enough: a row begins when the first does, and then all are asked together.
        let (first, rest) = expected.split_at(usize::from(matches == 0));
        let pause = match any_otherwise(first).or_else(|| any_otherwise(rest)) {
            None => {
                if matches == 0 {
                    begun = Instant::now();
                }
                matches += 1;
                seen = None;
                PAUSE
            }
            Some(wrong) => {
                matches = 0;
                // What the deadline cut short says less than what was seen before it.
                let wrong = seen.filter(|_| deadline.has_passed()).unwrap_or(wrong);
                if deadline.left() <= AGAIN {
                    return Err(wrong);
                }
                seen = Some(wrong);
                AGAIN.max(waiting.elapsed() / PART).min(deadline.left() / 2)
            }
        };
        if matches >= MATCHES_IN_A_ROW && begun.elapsed() >= row {
            return Ok(());
        }
        thread::sleep(pause);
    }
}

/// What all handshakes of one look share.
struct Client(Result<SslContext, String>);

impl Client {
    /// No verification: what matters is which leaf is shown. No session is ever offered for resumption.
    fn new() -> Client {
        let context = SslContext::builder(SslMethod::tls_client()).map(|mut context| {
            context.set_verify(SslVerifyMode::NONE);
            context.build()
        });
        Client(context.map_err(|error| error.to_string()))
    }

    fn handshake(&self, pair: &Expectation, deadline: Deadline) -> Shown {
        if deadline.has_passed() {
            return Shown::NotAsked;
        }
        let limit = deadline.at_most(HANDSHAKE);
        let Ok(stream) = connect(pair.address, limit) else { return Shown::NoListener };
        match self.leaf_of(stream, &pair.name, limit) {
            Ok(leaf) => Shown::Leaf(leaf),
            Err(why) => Shown::NoCertificate(why),
        }
    }

    fn leaf_of(&self, stream: TcpStream, name: &Identifier, limit: Deadline) -> Result<Digest, String> {
        let told = |error: &dyn std::fmt::Display| error.to_string();
        let stream = Timed::new(stream, limit).map_err(|e| told(&e))?;
        let mut ssl = Ssl::new(self.0.as_ref().map_err(String::clone)?).map_err(|e| told(&e))?;
        // RFC 6066 section 3: no server name for an address. A wildcard stands for any one label.
        if let Identifier::Dns(host) = name {
            ssl.set_hostname(&host.replacen('*', "certcast-probe", 1)).map_err(|e| told(&e))?;
        }
        // A server that wants a certificate from us ends the handshake, but it has shown its own by then.
        let certificate = match ssl.connect(stream) {
            Ok(stream) => stream.ssl().peer_certificate(),
            Err(HandshakeError::Failure(middle)) => {
                Some(middle.ssl().peer_certificate().ok_or_else(|| told(middle.error()))?)
            }
            Err(error) => return Err(told(&error)),
        };
        let certificate = certificate.ok_or("no certificate")?;
        Ok(Digest::of(&certificate.to_der().map_err(|e| told(&e))?))
    }
}

/// A connection whose reads and writes end at one deadline together: a listener that drips bytes
/// must not hold up the handshake, and with it this node's lock.
#[derive(Debug)]
struct Timed {
    read: TimedReader<TcpStream>,
    write: TimedWriter<TcpStream>,
}

impl Timed {
    fn new(stream: TcpStream, limit: Deadline) -> io::Result<Timed> {
        let limit = SharedDeadline::new(limit);
        Ok(Timed { read: TimedReader::new(stream.try_clone()?, &limit), write: TimedWriter::new(stream, &limit) })
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read.read(buffer)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write.flush()
    }
}

/// `connect_timeout` refuses a zero limit.
fn connect(address: SocketAddr, deadline: Deadline) -> io::Result<TcpStream> {
    let left = deadline.at_most(HANDSHAKE).left().max(Duration::from_millis(1));
    TcpStream::connect_timeout(&address, left)
}

#[cfg(test)]
mod tests;
