//! Against tiny servers on loopback addresses, each wrong in its own way.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::{Failure, Kind, Ports, RedirectFault, Target, prove_at};
use crate::model::challenge::Challenge;
use crate::model::deadline::Deadline;

const PRINT: &str = "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI";
const TOKEN: &str = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJyPCt95vq5Y4";
const PATH: &str = "/.well-known/acme-challenge/evaGxfADs6pSRb2LAv9IZf17Dt3juxGJyPCt95vq5Y4";

fn challenge(name: &str) -> Challenge {
    Challenge::new(name.parse().unwrap(), TOKEN.parse().unwrap(), &right()).unwrap()
}

/// The right body.
fn right() -> String {
    format!("{TOKEN}.{PRINT}")
}

fn page(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

fn ok(body: &str) -> String {
    page("200 OK", "", body)
}

fn redirect(to: &str) -> String {
    page("302 Found", &format!("Location: {to}\r\n"), "")
}

/// A test's own loopback network: one port on as many addresses as it likes.
struct Net {
    prefix: [u8; 3],
    ports: Ports,
}

impl Net {
    fn new() -> Self {
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

    fn address(&self, n: u8) -> IpAddr {
        Ipv4Addr::new(self.prefix[0], self.prefix[1], self.prefix[2], n).into()
    }

    fn node(&self, n: u8) -> Target {
        Target::node(format!("web{n}").parse().unwrap(), self.address(n))
    }

    fn prove(&self, names: &[&str], targets: &[Target], budget: Duration) -> Vec<Failure> {
        let challenges: Vec<Challenge> = names.iter().map(|name| challenge(name)).collect();
        prove_at(self.ports, &challenges, targets, Deadline::after(budget))
    }

    /// What node 2 fails with for www.example, which the only node is.
    fn only_failure(&self) -> Failure {
        let mut failures = self.prove(&["www.example"], &[self.node(2)], Duration::from_secs(20));
        assert_eq!(failures.len(), 1, "{failures:?}");
        failures.remove(0)
    }

    /// Serves what `answer` makes of host and path, many requests a connection; see [`Seen`].
    fn serve(&self, n: u8, answer: impl Fn(&str, &str) -> String + Send + Sync + 'static) -> Seen {
        self.talk(n, move |host, path, stream| stream.write_all(answer(host, path).as_bytes()).is_ok())
    }

    /// As `serve`, but with the stream in hand; the connection is closed on false.
    fn talk(&self, n: u8, talk: impl Fn(&str, &str, &mut TcpStream) -> bool + Send + Sync + 'static) -> Seen {
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
struct Seen(Arc<Mutex<Vec<(usize, String, String)>>>);

impl Seen {
    fn requests(&self) -> Vec<(usize, String, String)> {
        self.0.lock().unwrap().clone()
    }

    fn connections(&self) -> usize {
        self.requests().iter().map(|(connection, ..)| connection + 1).max().unwrap_or(0)
    }
}

/// Host and path of the next request; none when the connection ends.
fn request(stream: &TcpStream) -> Option<(String, String)> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).map(|line| line.to_ascii_lowercase()).collect();
    assert!(head.contains(&"user-agent: certcast".to_owned()), "{head:?}");
    assert!(!head.iter().any(|line| line.starts_with("accept-encoding") || line.starts_with("cookie")), "{head:?}");
    Some((head.iter().find_map(|line| line.strip_prefix("host: "))?.to_owned(), path))
}

#[test]
fn the_right_body_on_every_node_is_the_proof() {
    let net = Net::new();
    let first = net.serve(2, |_, _| ok(&right()));
    let second = net.serve(3, |_, _| ok(&(right() + " \t\r\n\n")));
    let failures = net.prove(&["a.example", "b.example"], &[net.node(2), net.node(3)], Duration::from_secs(10));
    assert_eq!(failures, []);
    for seen in [first, second] {
        let mut asked: Vec<_> = seen.requests().into_iter().map(|(_, host, path)| (host, path)).collect();
        asked.sort();
        assert_eq!(asked, [("a.example".to_owned(), PATH.to_owned()), ("b.example".to_owned(), PATH.to_owned())]);
    }
}

#[test]
fn one_wrong_node_is_named_with_address_status_and_remedy() {
    let net = Net::new();
    net.serve(2, |_, _| page("404 Not Found", "", "nothing"));
    net.serve(3, |_, _| ok(&right()));
    let start = Instant::now();
    let failures = net.prove(&["www.example"], &[net.node(2), net.node(3)], Duration::from_secs(60));
    let told: Vec<String> = failures.iter().map(Failure::to_string).collect();
    let expected = format!(
        "web2 ({}) answers 404 for http://www.example{PATH}: the web server there does not serve the webroot certcast \
         writes to; look at 'root' of the vhost for www.example and at 'webroot' in web2's config.toml",
        net.address(2)
    );
    assert_eq!(told, [expected]);
    assert!(start.elapsed() < Duration::from_secs(5), "what is final took {:?}", start.elapsed());
}

#[test]
fn each_wrong_answer_is_told_from_the_others() {
    let long = "y".repeat(100_000);
    for (answer, kind, hint) in [
        (page("403 Forbidden", "", ""), Kind::Status(403), "may not read the file"),
        (page("401 No", "", ""), Kind::Status(401), "password"),
        (page("204 None", "", ""), Kind::Status(204), "200 only"),
        (ok("hello\u{1b}[31m"), Kind::WrongBody { got: "hello\\u{1b}[31m".into() }, "another vhost"),
        (ok(""), Kind::WrongBody { got: String::new() }, "another vhost"),
        (ok(&format!("{TOKEN}.x")), Kind::WrongBody { got: format!("{TOKEN}.x") }, "another vhost"),
        (ok(&long), Kind::WrongBody { got: "y".repeat(80) }, "another vhost"),
        (ok(&(right() + &" ".repeat(100_000))), Kind::WrongBody { got: right().chars().take(80).collect() }, "vhost"),
    ] {
        let net = Net::new();
        net.serve(2, move |_, _| answer.clone());
        let failure = net.only_failure();
        assert_eq!(failure.kind, kind);
        assert!(failure.to_string().contains(hint), "{failure}");
    }
}

#[test]
fn an_endless_body_is_read_no_further_than_needed() {
    let net = Net::new();
    net.talk(2, |_, _, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        while stream.write_all(&[b'z'; 4096]).is_ok() {}
        false
    });
    let start = Instant::now();
    assert_eq!(net.only_failure().kind, Kind::WrongBody { got: "z".repeat(80) });
    assert!(start.elapsed() < Duration::from_secs(8));
}

#[test]
fn redirects_are_followed_and_pinned_to_the_node_that_was_asked() {
    let net = Net::new();
    let seen = net.serve(2, |host, path| match (host, path) {
        ("www.example", PATH) => redirect("/moved?once"),
        ("www.example", "/moved?once") => redirect("http://elsewhere.example/here"),
        ("elsewhere.example", "/here") => ok(&right()),
        _ => page("404 Not Found", "", ""),
    });
    assert_eq!(net.prove(&["www.example"], &[net.node(2)], Duration::from_secs(10)), []);
    assert_eq!(seen.requests().len(), 3);
}

#[test]
fn what_is_wrong_behind_a_redirect_says_where_it_led() {
    let net = Net::new();
    net.serve(2, |host, _| if host == "www.example" { redirect("http://b.example/x") } else { page("404 No", "", "") });
    let failure = net.only_failure();
    assert_eq!(
        (failure.kind.clone(), failure.redirected_to.as_deref()),
        (Kind::Status(404), Some("http://b.example/x"))
    );
    assert!(failure.to_string().contains("(redirected to http://b.example/x, asked at the same address)"), "{failure}");
}

#[test]
fn redirects_the_ca_would_not_follow_are_failures_that_say_so() {
    for (to, why) in [
        ("http://192.0.2.9/x", RedirectFault::Address),
        ("http://www.example:8080/x", RedirectFault::Port),
        ("gopher://www.example/x", RedirectFault::Scheme),
        (PATH, RedirectFault::Loop),
    ] {
        let net = Net::new();
        net.serve(2, move |_, _| redirect(to));
        let failure = net.only_failure();
        assert_eq!(failure.kind, Kind::Redirect { status: 302, to: to.to_owned(), why });
        assert!(failure.to_string().contains("exempt /.well-known/acme-challenge/ from the redirect"), "{failure}");
    }
    let net = Net::new();
    net.serve(2, |_, path| redirect(&format!("{path}x")));
    assert!(matches!(net.only_failure().kind, Kind::Redirect { why: RedirectFault::TooMany, .. }));
}

#[test]
fn a_redirect_to_https_meets_an_expired_certificate_with_indulgence_and_no_tls_with_a_message() {
    let net = Net::new();
    net.serve(2, |_, _| redirect("https://www.example/x"));
    let names = super::tls_server::serve(SocketAddr::new(net.address(2), net.ports.https), ok(&right()));
    assert_eq!(net.prove(&["www.example"], &[net.node(2)], Duration::from_secs(10)), []);
    assert_eq!(names.lock().unwrap().as_slice(), [Some("www.example".to_owned())], "the name in the handshake");

    let plain = Net::new();
    plain.serve(2, |_, _| redirect("https://www.example/x"));
    let listener = TcpListener::bind(SocketAddr::new(plain.address(2), plain.ports.https)).unwrap();
    thread::spawn(move || listener.incoming().for_each(|s| drop(s.unwrap().write_all(b"HTTP/1.1 400 Bad\r\n\r\n"))));
    let failure = plain.only_failure();
    assert!(matches!(failure.kind, Kind::Tls(_)), "{failure}");

    let closed = Net::new();
    closed.serve(2, |_, _| redirect("https://www.example/x"));
    let failures = closed.prove(&["www.example"], &[closed.node(2)], Duration::from_secs(1));
    assert!(failures[0].to_string().contains("no web server listens on port 443 there"), "{}", failures[0]);
}

#[test]
fn refused_is_retried_until_the_server_is_there() {
    let net = Net::new();
    let refused = net.prove(&["www.example"], &[net.node(2)], Duration::from_millis(400));
    assert_eq!(refused.iter().map(|f| f.kind.clone()).collect::<Vec<_>>(), [Kind::Refused]);
    assert!(refused[0].to_string().contains("no web server listens on port 80 there"), "{}", refused[0]);

    // The first answer of node 3 is what brings up node 2, so node 2 was asked too early or not at all.
    let (late, up) = (Net::new(), Arc::new(Mutex::new(None)));
    let (address, started) = (SocketAddr::new(late.address(2), late.ports.http), Arc::clone(&up));
    late.serve(3, move |_, _| {
        let mut up = started.lock().unwrap();
        if up.is_none() {
            *up = Some(page("503 Busy", "", ""));
            return page("503 Busy", "", "");
        }
        let listener = TcpListener::bind(address).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = request(&stream).map(|_| stream.write_all(ok(&right()).as_bytes()));
            }
        });
        ok(&right())
    });
    let failures = late.prove(&["www.example"], &[late.node(2), late.node(3)], Duration::from_secs(20));
    assert_eq!(failures, []);
    assert!(up.lock().unwrap().is_some());
}

#[test]
fn a_file_that_shows_late_is_waited_for() {
    let net = Net::new();
    let asked = AtomicU8::new(0);
    net.serve(2, move |_, _| match asked.fetch_add(1, Ordering::Relaxed) {
        0 => page("404 Not Found", "", ""),
        1 => ok("the old file"),
        _ => ok(&right()),
    });
    assert_eq!(net.prove(&["www.example"], &[net.node(2)], Duration::from_secs(10)), []);
}

#[test]
fn who_hangs_costs_no_more_than_the_deadline() {
    for beginning in ["", "HTTP/1.1 200 OK\r\nX-Slow: ", "HTTP/1.1 200 OK\r\nContent-Length: 87\r\n\r\nev"] {
        let net = Net::new();
        net.talk(2, move |_, _, stream| {
            stream.write_all(beginning.as_bytes()).unwrap();
            // Until the client hangs up.
            let _ = BufReader::new(stream).lines().next();
            false
        });
        let start = Instant::now();
        let failures = net.prove(&["www.example"], &[net.node(2)], Duration::from_millis(500));
        assert_eq!(failures.iter().map(|f| f.kind.clone()).collect::<Vec<_>>(), [Kind::Slow], "{beginning:?}");
        assert!(start.elapsed() < Duration::from_secs(2), "{:?} for {beginning:?}", start.elapsed());
    }
}

#[test]
fn a_dripping_body_is_bounded_in_total_and_not_from_byte_to_byte() {
    let net = Net::new();
    net.talk(2, |_, _, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        while stream.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
        false
    });
    let start = Instant::now();
    let failures = net.prove(&["www.example"], &[net.node(2)], Duration::from_millis(500));
    assert_eq!(failures.iter().map(|f| f.kind.clone()).collect::<Vec<_>>(), [Kind::Slow]);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn a_connection_that_just_closes_and_a_protocol_that_is_none_are_broken() {
    for answer in ["", "SSH-2.0-OpenSSH_9.2p1\r\n"] {
        let net = Net::new();
        net.talk(3, move |_, _, stream| {
            stream.write_all(answer.as_bytes()).unwrap();
            false
        });
        let failures = net.prove(&["www.example"], &[net.node(3)], Duration::from_secs(1));
        assert!(matches!(failures[..], [Failure { kind: Kind::Broken(_), .. }]), "{failures:?}");
    }
}

#[test]
fn an_address_is_asked_where_it_is_and_by_its_own_name() {
    let net = Net::new();
    let owner = net.serve(2, |_, _| ok(&right()));
    let other = net.serve(3, |_, _| ok(&right()));
    let identifier = net.address(2).to_string();
    assert_eq!(net.prove(&[&identifier], &[net.node(2), net.node(3)], Duration::from_secs(10)), []);
    assert_eq!(owner.requests(), [(0, identifier, PATH.to_owned())]);
    assert_eq!(other.requests(), []);
    // An address that is none of the nodes' (a front, NAT) must be served by all of them.
    assert_eq!(net.prove(&["192.0.2.77"], &[net.node(2), net.node(3)], Duration::from_secs(10)), []);
    assert_eq!(other.requests(), [(0, "192.0.2.77".to_owned(), PATH.to_owned())]);
}

#[test]
fn a_front_is_asked_several_times_over_new_connections_and_a_node_over_few() {
    let net = Net::new();
    let front = net.serve(2, |_, _| ok(&right()));
    assert_eq!(net.prove(&["www.example"], &[Target::front(net.address(2))], Duration::from_secs(10)), []);
    assert_eq!((front.requests().len(), front.connections()), (4, 4));

    let names: Vec<String> = (0..200).map(|n| format!("n{n}.example")).collect();
    let node = net.serve(3, |_, _| ok(&right()));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(net.prove(&names, &[net.node(3)], Duration::from_secs(20)), []);
    assert_eq!(node.requests().len(), 200);
    assert!(node.connections() < 100, "{} connections", node.connections());
}

#[test]
fn a_front_with_one_wrong_server_behind_it_does_not_pass_by_luck() {
    let net = Net::new();
    let asked = AtomicU8::new(0);
    net.serve(
        2,
        move |_, _| {
            if asked.fetch_add(1, Ordering::Relaxed) % 4 == 3 { page("404 No", "", "") } else { ok(&right()) }
        },
    );
    let failures = net.prove(&["www.example"], &[Target::front(net.address(2))], Duration::from_secs(10));
    let told = failures.iter().fold(String::new(), |mut told, failure| {
        let _ = writeln!(told, "{failure}");
        told
    });
    assert!(told.starts_with(&format!("the front {} answers 404", net.address(2))), "{told}");
    assert!(told.contains("which servers it forwards to"), "{told}");
}

/// Not a test of right or wrong: prints how long 5000 questions take. Run with `--ignored`.
#[test]
#[ignore = "a measurement"]
fn five_thousand_questions_are_cheap() {
    let net = Net::new();
    let names: Vec<String> = (0..100).map(|n| format!("n{n}.example")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let targets: Vec<Target> = (2..52).map(|n| net.node(n)).collect();
    let _seen: Vec<Seen> = (2..52).map(|n| net.serve(n, |_, _| ok(&right()))).collect();
    let start = Instant::now();
    assert_eq!(net.prove(&names, &targets, Duration::from_secs(60)), []);
    eprintln!("5000 questions: {:?}", start.elapsed());
}
