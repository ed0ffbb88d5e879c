//! Tiny web servers on loopback addresses, and what they are asked.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::super::{Failure, Ports, Proof, Target, prove_at, questions};
use crate::model::challenge::Challenge;
use crate::model::deadline::Deadline;

pub(super) const PRINT: &str = "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI";
pub(super) const TOKEN: &str = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJyPCt95vq5Y4";
pub(super) const PATH: &str = "/.well-known/acme-challenge/evaGxfADs6pSRb2LAv9IZf17Dt3juxGJyPCt95vq5Y4";

pub(super) fn challenge(name: &str) -> Challenge {
    Challenge::new(name.parse().unwrap(), TOKEN.parse().unwrap(), &right()).unwrap()
}

/// The right body.
pub(super) fn right() -> String {
    format!("{TOKEN}.{PRINT}")
}

pub(super) fn page(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

pub(super) fn ok(body: &str) -> String {
    page("200 OK", "", body)
}

pub(super) fn redirect(to: &str) -> String {
    page("302 Found", &format!("Location: {to}\r\n"), "")
}

/// A test's own loopback network: one port on as many addresses as it likes.
pub(super) struct Net {
    prefix: [u8; 3],
    pub(super) ports: Ports,
}

impl Net {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let prefix = [127, 64 + std::process::id().to_be_bytes()[3] / 2, NEXT.fetch_add(1, Ordering::Relaxed)];
        // Bound and let go: the network is this test's own, so the ports stay free.
        let free = || {
            let listener = TcpListener::bind((Ipv4Addr::new(prefix[0], prefix[1], prefix[2], 1), 0)).unwrap();
            (listener.local_addr().unwrap().port(), listener)
        };
        let (http, https) = (free(), free());
        Net { prefix, ports: Ports { http: http.0, https: https.0 } }
    }

    pub(super) fn address(&self, n: u8) -> IpAddr {
        Ipv4Addr::new(self.prefix[0], self.prefix[1], self.prefix[2], n).into()
    }

    pub(super) fn node(&self, n: u8) -> Target {
        Target::node(format!("web{n}").parse().unwrap(), self.address(n))
    }

    pub(super) fn prove(&self, names: &[&str], targets: &[Target], budget: Duration) -> Vec<Failure> {
        self.proof(names, targets, budget).failures
    }

    pub(super) fn proof(&self, names: &[&str], targets: &[Target], budget: Duration) -> Proof {
        let challenges: Vec<Challenge> = names.iter().map(|name| challenge(name)).collect();
        prove_at(self.ports, questions(&challenges, targets, |_, _| true), Deadline::after(budget))
    }

    /// What node 2 fails with for www.example, which the only node is.
    pub(super) fn only_failure(&self) -> Failure {
        let mut failures = self.prove(&["www.example"], &[self.node(2)], Duration::from_secs(20));
        assert_eq!(failures.len(), 1, "{failures:?}");
        failures.remove(0)
    }

    /// Serves what `answer` makes of host and path, many requests a connection; see [`Seen`].
    pub(super) fn serve(&self, n: u8, answer: impl Fn(&str, &str) -> String + Send + Sync + 'static) -> Seen {
        self.talk(n, move |host, path, stream| stream.write_all(answer(host, path).as_bytes()).is_ok())
    }

    /// As `serve`, but with the stream in hand; the connection is closed on false.
    pub(super) fn talk(
        &self,
        n: u8,
        talk: impl Fn(&str, &str, &mut TcpStream) -> bool + Send + Sync + 'static,
    ) -> Seen {
        let listener = TcpListener::bind(SocketAddr::new(self.address(n), self.ports.http)).unwrap();
        let (seen, talk) = (Seen::default(), Arc::new(talk));
        let log = seen.clone();
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                let (mut stream, log, talk) = (stream.unwrap(), log.clone(), Arc::clone(&talk));
                thread::spawn(move || {
                    while let Some((host, path)) = request(&stream) {
                        log.0.lock().unwrap().push((connection, host.clone(), path.clone()));
                        if !talk(&host, &path, &mut stream) {
                            let _ = stream.shutdown(Shutdown::Both);
                            return;
                        }
                    }
                });
            }
        });
        seen
    }
}

/// Every request that came: which connection, which host, which path.
#[derive(Clone, Default)]
pub(super) struct Seen(Arc<Mutex<Vec<(usize, String, String)>>>);

impl Seen {
    pub(super) fn requests(&self) -> Vec<(usize, String, String)> {
        self.0.lock().unwrap().clone()
    }

    pub(super) fn connections(&self) -> usize {
        self.requests().iter().map(|(connection, ..)| connection + 1).max().unwrap_or(0)
    }
}

/// Host and path of the next request; none when the connection ends.
pub(super) fn request(stream: &TcpStream) -> Option<(String, String)> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).map(|line| line.to_ascii_lowercase()).collect();
    assert!(head.contains(&"user-agent: certcast".to_owned()), "{head:?}");
    assert!(!head.iter().any(|line| line.starts_with("accept-encoding") || line.starts_with("cookie")), "{head:?}");
    Some((head.iter().find_map(|line| line.strip_prefix("host: "))?.to_owned(), path))
}
