use std::net::TcpListener;

use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::SslContextBuilder;
use openssl::x509::{X509, X509NameBuilder};

use super::*;
use crate::model::config::Config;
use crate::peer::service;

fn key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

fn certificate(key: &PKey<Private>) -> X509 {
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_nid(Nid::COMMONNAME, "a.example").unwrap();
    let name = name.build();
    let mut builder = X509::builder().unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(&name).unwrap();
    builder.set_pubkey(key).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    builder.sign(key, MessageDigest::sha256()).unwrap();
    builder.build()
}

fn server(key: &PKey<Private>, certificate: &X509) -> SslContext {
    let mut builder: SslContextBuilder = SslContext::builder(SslMethod::tls_server()).unwrap();
    builder.set_certificate(certificate).unwrap();
    builder.set_private_key(key).unwrap();
    builder.build()
}

/// A server for each of two certificates, and their leafs.
fn old_and_new() -> ([SslContext; 2], [Digest; 2]) {
    let keys = [key(), key()];
    let certificates = [certificate(&keys[0]), certificate(&keys[1])];
    let contexts = [server(&keys[0], &certificates[0]), server(&keys[1], &certificates[1])];
    (contexts, certificates.map(|certificate| Digest::of(&certificate.to_der().unwrap())))
}

fn expected(listener: &TcpListener) -> Expectation {
    Expectation { address: listener.local_addr().unwrap(), name: "a.example".parse().unwrap() }
}

fn seconds(seconds: u64) -> Deadline {
    Deadline::after(Duration::from_secs(seconds))
}

#[test]
fn a_row_is_as_long_as_it_is_asked_to_be() {
    let (contexts, [_, new]) = old_and_new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = expected(&listener);
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            _ = Ssl::new(&contexts[1]).unwrap().accept(stream);
        }
    });
    let (row, begun) = (Duration::from_millis(300), Instant::now());
    assert_eq!(wait_for(&[(place, Some(new))], row, seconds(20)), Ok(()));
    assert!((row..Duration::from_secs(19)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
}

#[test]
fn one_old_leaf_between_new_ones_begins_the_row_anew() {
    let (contexts, [_, new]) = old_and_new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = expected(&listener);
    // Two old workers still answer: the second of them after two matches.
    let shows = [0, 1, 1, 0, 1, 1, 1];
    let serving = thread::spawn(move || {
        for which in shows {
            let (stream, _) = listener.accept().unwrap();
            _ = Ssl::new(&contexts[which]).unwrap().accept(stream);
        }
    });
    assert_eq!(wait_for(&[(place, Some(new))], Duration::ZERO, seconds(20)), Ok(()));
    // It ends only when every one of the seven was asked for.
    let asked = Instant::now();
    while !serving.is_finished() && asked.elapsed() < Duration::from_secs(5) {
        thread::yield_now();
    }
    assert!(serving.is_finished(), "a row with a gap was taken for a row");
}

#[test]
fn a_listener_that_drips_is_left_at_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = expected(&listener);
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // The head of a long record, then a byte at a time: each read succeeds, the handshake never ends.
        let mut result = stream.write_all(b"\x16\x03\x03\x40\x00");
        while result.is_ok() {
            thread::sleep(Duration::from_millis(20));
            result = stream.write_all(b"x");
        }
    });
    let begun = Instant::now();
    let shown = Client::new().handshake(&place, Deadline::after(Duration::from_millis(300)));
    assert!(matches!(shown, Shown::NoCertificate(_)), "{shown:?}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn very_many_names_are_not_all_asked_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || while listener.accept().is_ok() {});
    let names: Vec<Identifier> = (0..1000).map(|n| format!("n{n}.example").parse().unwrap()).collect();
    assert_eq!(look(&[address], &names, seconds(20)).len(), NAMES_AT_MOST);
}

#[test]
fn a_place_that_takes_connections_and_says_nothing_is_not_asked_for_every_name() {
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = mute.local_addr().unwrap();
    let (taken, connections) = std::sync::mpsc::channel();
    thread::spawn(move || {
        while let Ok((stream, _)) = mute.accept() {
            taken.send(stream).unwrap();
        }
    });
    let names: Vec<Identifier> = (0..100).map(|n| format!("n{n}.example").parse().unwrap()).collect();
    let shown = look(&[address], &names, seconds(60));
    assert!(shown.len() == names.len() && shown.iter().all(|(_, shown)| matches!(shown, Shown::NoCertificate(_))));
    // Whether anybody listens, two for each at the same time, and those that had begun when it was known.
    let count = connections.try_iter().count();
    assert!((2 * PARALLEL..=1 + 3 * PARALLEL).contains(&count), "{count}");
}

#[test]
fn a_place_is_silent_after_so_many_handshakes_and_not_once_it_has_spoken() {
    let silent = Silent::default();
    let place = "192.0.2.1:443".parse().unwrap();
    for _ in 0..SILENT_AT_MOST {
        assert!(!silent.is(place));
        silent.note(place, false);
    }
    assert!(silent.is(place) && !silent.is("192.0.2.2:443".parse().unwrap()));
    silent.note(place, true);
    (0..2 * SILENT_AT_MOST).for_each(|_| silent.note(place, false));
    assert!(!silent.is(place), "whoever spoke once is asked for each name");
}

#[test]
fn what_fails_once_is_looked_at_again() {
    let key = key();
    let certificate = certificate(&key);
    let leaf = Digest::of(&certificate.to_der().unwrap());
    let context = server(&key, &certificate);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = expected(&listener);
    thread::spawn(move || {
        // Whether anybody listens, and a worker on its way out.
        drop(listener.accept());
        drop(listener.accept());
        let (stream, _) = listener.accept().unwrap();
        _ = Ssl::new(&context).unwrap().accept(stream);
    });
    let shown = look(&[place.address], std::slice::from_ref(&place.name), seconds(20));
    assert_eq!(shown, [(place, Shown::Leaf(leaf))]);
}

#[test]
fn what_there_was_no_time_for_is_said_and_costs_none() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = expected(&listener);
    let names = std::slice::from_ref(&place.name);
    let not_asked = [(place.clone(), Shown::NotAsked)];
    assert_eq!(look(&[place.address], names, Deadline::after(Duration::ZERO)), not_asked);
    // It listens and says nothing: the look is cut short.
    assert_eq!(look(&[place.address], names, Deadline::after(Duration::from_millis(100))), not_asked);
}

#[test]
fn where_something_may_be_served_is_not_known_as_long_as_a_place_was_not_asked() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = expected(&listener);
    let services = services(&deaf(&place, "[\"true\"]"));
    let served = |deadline| service::served(&services, std::slice::from_ref(&place.name), &[], deadline);
    assert_eq!(served(Deadline::after(Duration::ZERO)), Err(place.clone()));
    drop(listener);
    assert_eq!(served(seconds(20)), Ok(Vec::new()));
}

#[test]
fn what_was_seen_is_told_though_the_last_look_was_cut_short() {
    let key = key();
    let certificate = certificate(&key);
    let context = server(&key, &certificate);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = expected(&listener);
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        _ = Ssl::new(&context).unwrap().accept(stream);
        // From now on it takes connections and says nothing.
        let mut mute = Vec::new();
        while let Ok((stream, _)) = listener.accept() {
            mute.push(stream);
        }
    });
    let shown = Shown::Leaf(Digest::of(&certificate.to_der().unwrap()));
    let waited = wait_for(&[(place.clone(), Some(Digest::of(b"another")))], Duration::ZERO, Deadline::after(HANDSHAKE));
    assert_eq!(waited, Err((place, shown)));
}

fn services(text: &str) -> Vec<Service> {
    let text = format!("[node]\nname = \"web2\"\n{text}");
    Config::parse(&text, std::path::Path::new("test.toml")).unwrap().services
}

/// A service whose reload fails.
fn deaf(place: &Expectation, test: &str) -> String {
    format!("[[service]]\nname = \"deaf\"\ntest = {test}\nreload = [\"false\"]\nprobe = [\"{}\"]\n", place.address)
}

#[test]
fn old_workers_of_a_service_that_cannot_be_told_to_go_back_are_not_taken_for_the_way_back() {
    let (contexts, [old, _]) = old_and_new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = expected(&listener);
    thread::spawn(move || {
        // A row of the old one, and then the new one for good.
        for turn in 0.. {
            let (stream, _) = listener.accept().unwrap();
            _ = Ssl::new(&contexts[usize::from(turn > MATCHES_IN_A_ROW)]).unwrap().accept(stream);
        }
    });
    let services = services(&deaf(&place, "[\"sleep\", \"1\"]"));
    let settled = service::settle(&services, &[(place, Some(old))], service::Reload::Back);
    assert!(settled.is_err_and(|unwilling| unwilling.cause.contains("still another certificate")));
}

#[test]
fn beside_a_service_that_is_down_the_others_are_seen_as_soon_as_without_it() {
    let (contexts, [old, _]) = old_and_new();
    let [up, down] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let (place, gone) = (expected(&up), expected(&down));
    drop(down);
    let (counted, count) = std::sync::mpsc::channel();
    thread::spawn(move || {
        while let Ok((stream, _)) = up.accept() {
            counted.send(()).unwrap();
            _ = Ssl::new(&contexts[0]).unwrap().accept(stream);
        }
    });
    // A longer row would take many more looks.
    let services = services(&deaf(&gone, "[\"sleep\", \"1\"]"));
    let notes = service::settle(&services, &[(place, Some(old))], service::Reload::All).unwrap();
    assert!(notes[0].contains("deaf was not reloaded"), "{notes:?}");
    assert_eq!(count.try_iter().count(), MATCHES_IN_A_ROW);
}
