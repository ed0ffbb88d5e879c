//! Against a real dnsmasq, and against sockets that misbehave.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use hickory_resolver::config::{NameServerConfig, ResolverConfig, ResolverOpts};

use super::{DnsError, lookup_at, servers_behind};
use crate::model::deadline::Deadline;
use crate::model::names::Identifier;

/// A dnsmasq of our own on an address of its own, gone with the value.
struct Dnsmasq(Child, SocketAddr);

impl Dnsmasq {
    fn with(options: &[&str]) -> Self {
        let address = unused_address();
        let mut child = Command::new("/usr/sbin/dnsmasq")
            .args(["--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--bind-interfaces"])
            .args(["--user=", "--group=", "--pid-file=", "--local=/example/", "--cache-size=0"])
            .args([format!("--listen-address={}", address.ip()), format!("--port={}", address.port())])
            .args(options)
            .stderr(Stdio::piped())
            .spawn()
            .expect("dnsmasq is installed");
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        // It says so only once its sockets are bound.
        let started = log.find(|line| line.as_ref().is_ok_and(|line| line.contains("started, version")));
        assert!(started.is_some(), "dnsmasq did not start");
        thread::spawn(move || log.for_each(drop));
        Dnsmasq(child, address)
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A loopback address that this process has to itself, with a port free for UDP and TCP.
fn unused_address() -> SocketAddr {
    let pid = std::process::id().to_be_bytes();
    let udp = UdpSocket::bind((Ipv4Addr::new(127, 53, pid[2], pid[3].clamp(1, 254)), 0)).unwrap();
    let address = udp.local_addr().unwrap();
    TcpListener::bind(address).unwrap();
    address
}

fn ask(server: SocketAddr, names: &[&str], budget: Duration) -> Vec<Result<Vec<IpAddr>, DnsError>> {
    let mut one = NameServerConfig::udp_and_tcp(server.ip());
    one.connections.iter_mut().for_each(|connection| connection.port = server.port());
    let servers = ResolverConfig::from_parts(None, vec!["search.example.".parse().unwrap()], vec![one]);
    let names: Vec<Identifier> = names.iter().map(|name| name.parse().unwrap()).collect();
    lookup_at(servers, ResolverOpts::default(), &names, Deadline::after(budget))
}

fn ask_one(server: SocketAddr, name: &str) -> Result<Vec<IpAddr>, DnsError> {
    ask(server, &[name], Duration::from_secs(10)).remove(0)
}

fn addresses(text: &[&str]) -> Vec<IpAddr> {
    text.iter().map(|address| address.parse().unwrap()).collect()
}

#[test]
fn all_records_of_both_families_are_found_and_aliases_followed() {
    let dns = Dnsmasq::with(&[
        "--host-record=www.example,192.0.2.1,2001:db8::1",
        "--host-record=www.example,192.0.2.2",
        "--host-record=six.example,2001:db8::6",
        "--cname=alias.example,www.example",
    ]);
    let both = addresses(&["192.0.2.1", "192.0.2.2", "2001:db8::1"]);
    let found = ask(dns.1, &["www.example", "six.example", "alias.example", "192.0.2.7"], Duration::from_secs(10));
    assert_eq!(found, [Ok(both.clone()), Ok(addresses(&["2001:db8::6"])), Ok(both), Ok(addresses(&["192.0.2.7"]))]);
}

#[test]
fn a_name_that_is_not_there_differs_from_one_without_addresses() {
    let dns =
        Dnsmasq::with(&["--txt-record=text.example,hello", "--host-record=gone.example.search.example,192.0.2.1"]);
    // The search list must not turn it into gone.example.search.example.
    assert_eq!(ask_one(dns.1, "gone.example"), Err(DnsError::NoName("gone.example".parse().unwrap())));
    assert_eq!(ask_one(dns.1, "text.example"), Err(DnsError::NoRecords("text.example".parse().unwrap())));
    assert!(ask_one(dns.1, "text.example").is_err_and(|error| error.is_definite()));
}

#[test]
fn a_hundred_names_come_back_in_their_order() {
    let records: Vec<String> = (0..100).map(|n| format!("--host-record=n{n}.example,192.0.2.{n}")).collect();
    let dns = Dnsmasq::with(&records.iter().map(String::as_str).collect::<Vec<_>>());
    let names: Vec<String> = (0..100).map(|n| format!("n{n}.example")).collect();
    let found = ask(dns.1, &names.iter().map(String::as_str).collect::<Vec<_>>(), Duration::from_secs(20));
    let expected: Vec<_> = (0..100).map(|n| Ok(addresses(&[&format!("192.0.2.{n}")]))).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_changed_record_is_seen_at_once() {
    let name = "www.example";
    let before = Dnsmasq::with(&["--host-record=www.example,192.0.2.1,600"]);
    assert_eq!(ask_one(before.1, name), Ok(addresses(&["192.0.2.1"])));
    let after = Dnsmasq::with(&["--host-record=www.example,192.0.2.2,600"]);
    assert_eq!(ask_one(after.1, name), Ok(addresses(&["192.0.2.2"])));
}

#[test]
fn refusal_and_silence_are_told_apart() {
    // No upstream: dnsmasq refuses what it is not responsible for.
    let dns = Dnsmasq::with(&[]);
    assert!(matches!(ask_one(dns.1, "www.other"), Err(DnsError::Failed(_, _, code)) if code.contains("Refused")));

    let silent = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let start = Instant::now();
    let found = ask(silent.local_addr().unwrap(), &["a.example", "b.example"], Duration::from_millis(300));
    assert!(found.iter().all(|found| matches!(found, Err(DnsError::Timeout(..)))), "{found:?}");
    assert!(start.elapsed() < Duration::from_secs(2), "the deadline was not kept");
}

#[test]
fn servfail_of_one_family_is_not_taken_for_no_records() {
    let server = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let address = server.local_addr().unwrap();
    thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, from)) = server.recv_from(&mut query) {
            // The question again, with QR and RCODE 2: a whole and valid SERVFAIL. No EDNS record.
            let question = 12 + "\x03www\x07example\x00".len() + 4;
            let mut answer = query[..length.min(question)].to_vec();
            (answer[2], answer[3], answer[11]) = (0x81, 0x82, 0);
            server.send_to(&answer, from).unwrap();
        }
    });
    let found = ask_one(address, "www.example");
    assert!(matches!(&found, Err(DnsError::Failed(_, _, code)) if code.contains("Server Failure")), "{found:?}");
    assert!(found.is_err_and(|error| !error.is_definite()));
}

#[test]
fn behind_the_stub_of_systemd_resolved_those_are_asked_that_it_asks() {
    let home = tempfile::tempdir().unwrap();
    let (given, behind) = (home.path().join("given"), home.path().join("behind"));
    let asked = |text: &str| -> Vec<String> {
        std::fs::write(&given, text).unwrap();
        let (servers, _) = servers_behind(&given, &behind).unwrap();
        servers.name_servers().iter().map(|server| server.ip.to_string()).collect()
    };
    let stub = "nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch .\n";
    assert_eq!(asked(stub), ["127.0.0.53"], "no such file");
    std::fs::write(&behind, "# no DNS servers known\n").unwrap();
    assert_eq!(asked(stub), ["127.0.0.53"]);
    std::fs::write(&behind, "nameserver 192.0.2.53\nnameserver 2001:db8::53\n").unwrap();
    assert_eq!(asked(stub), ["192.0.2.53", "2001:db8::53"]);
    assert_eq!(asked("nameserver 127.0.0.53\nnameserver 192.0.2.1\n"), ["127.0.0.53", "192.0.2.1"]);
    assert_eq!(asked("nameserver 127.0.0.1\n"), ["127.0.0.1"]);
}

/// In a mount namespace of its own, where `/etc/hosts` says something else than DNS.
#[test]
fn etc_hosts_is_never_asked() {
    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};

    if !nix::unistd::geteuid().is_root() {
        // A mount namespace needs root, as the lab does; there this runs.
        return;
    }
    let dns = Dnsmasq::with(&["--host-record=listed.example,192.0.2.1"]);
    let server = dns.1;
    let mut hosts = tempfile::NamedTempFile::new().unwrap();
    hosts.write_all(b"198.51.100.1 listed.example unlisted.example\n").unwrap();
    let path = hosts.path().to_owned();
    let found = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        mount(Some(&path), "/etc/hosts", None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        ask(server, &["listed.example", "unlisted.example"], Duration::from_secs(10))
    })
    .join()
    .unwrap();
    assert_eq!(found[0], Ok(addresses(&["192.0.2.1"])));
    assert_eq!(found[1], Err(DnsError::NoName("unlisted.example".parse().unwrap())));
}
