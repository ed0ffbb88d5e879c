//! Against tiny servers on loopback addresses, each wrong in its own way.

mod server;
mod tls_server;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use server::{Net, PATH, Seen, TOKEN, challenge, ok, page, redirect, request, right};

use super::{Failure, Kind, Ports, RedirectFault, Target, prove_at, questions, summary};
use crate::model::deadline::Deadline;

/// What a person reads of one failure.
fn told(failure: &Failure) -> String {
    summary(std::slice::from_ref(failure)).remove(0)
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
    let expected = format!(
        "web2 ({}) answers 404 for http://www.example{PATH}: the web server there does not serve the webroot certcast \
         writes to; look at 'root' of the vhost for www.example and at 'webroot' in web2's config.toml",
        net.address(2)
    );
    assert_eq!(summary(&failures), [expected]);
    assert!(start.elapsed() < Duration::from_secs(30), "what is final took {:?}", start.elapsed());
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
        assert!(told(&failure).contains(hint), "{failure:?}");
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
    assert!(start.elapsed() < Duration::from_secs(15));
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
    let proof = net.proof(&["www.example"], &[net.node(2)], Duration::from_secs(10));
    assert_eq!(proof.failures, []);
    assert_eq!(seen.requests().len(), 3);
    // DNS may have that host elsewhere.
    let detours: Vec<_> = proof.detours.iter().map(|(name, host)| format!("{name} {host}")).collect();
    assert_eq!(detours, ["www.example elsewhere.example"]);
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
    let line = told(&failure);
    assert!(line.contains("(redirected to http://b.example/x, asked at the same address)"), "{line}");
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
        let line = told(&failure);
        assert!(line.contains("exempt /.well-known/acme-challenge/ from the redirect"), "{line}");
    }
    let net = Net::new();
    net.serve(2, |_, path| redirect(&format!("{path}x")));
    assert!(matches!(net.only_failure().kind, Kind::Redirect { why: RedirectFault::TooMany, .. }));
}

#[test]
fn an_address_that_redirects_to_its_own_https_is_asked_there() {
    let net = Net::new();
    let own = net.address(2).to_string();
    let there = own.clone();
    net.serve(2, move |_, _| redirect(&format!("https://{there}/x")));
    let names = tls_server::serve(SocketAddr::new(net.address(2), net.ports.https), ok(&right()));
    let proof = net.proof(&[&own], &[net.node(2)], Duration::from_secs(10));
    assert!(proof.failures.is_empty() && proof.detours.is_empty(), "{proof:?}");
    assert_eq!(names.lock().unwrap().as_slice(), [None], "an address is no server's name");
}

#[test]
fn a_redirect_to_https_meets_an_expired_certificate_with_indulgence_and_no_tls_with_a_message() {
    let net = Net::new();
    net.serve(2, |_, _| redirect("https://www.example/x"));
    let names = tls_server::serve(SocketAddr::new(net.address(2), net.ports.https), ok(&right()));
    assert_eq!(net.prove(&["www.example"], &[net.node(2)], Duration::from_secs(10)), []);
    assert_eq!(names.lock().unwrap().as_slice(), [Some("www.example".to_owned())], "the name in the handshake");

    let plain = Net::new();
    plain.serve(2, |_, _| redirect("https://www.example/x"));
    let listener = TcpListener::bind(SocketAddr::new(plain.address(2), plain.ports.https)).unwrap();
    thread::spawn(move || listener.incoming().for_each(|s| drop(s.unwrap().write_all(b"HTTP/1.1 400 Bad\r\n\r\n"))));
    let failure = plain.only_failure();
    assert!(matches!(failure.kind, Kind::Tls(_)), "{failure:?}");

    let closed = Net::new();
    closed.serve(2, |_, _| redirect("https://www.example/x"));
    let failures = closed.prove(&["www.example"], &[closed.node(2)], Duration::from_secs(1));
    assert!(summary(&failures)[0].contains("no web server listens on port 443 there"), "{failures:?}");
}

#[test]
fn refused_is_retried_until_the_server_is_there() {
    let net = Net::new();
    let refused = net.prove(&["www.example"], &[net.node(2)], Duration::from_millis(400));
    assert_eq!(refused.iter().map(|f| f.kind.clone()).collect::<Vec<_>>(), [Kind::Refused]);
    assert!(summary(&refused)[0].contains("no web server listens on port 80 there"), "{refused:?}");

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
        assert!(start.elapsed() < Duration::from_secs(15), "{:?} for {beginning:?}", start.elapsed());
    }
}

#[test]
fn a_server_that_hangs_for_all_names_leaves_time_to_ask_the_others() {
    let net = Net::new();
    net.talk(2, |_, _, stream| {
        let _ = BufReader::new(stream).lines().next();
        false
    });
    let right_one = net.serve(3, |_, _| ok(&right()));
    let names: Vec<String> = (0..100).map(|n| format!("n{n}.example")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let failures = net.prove(&names, &[net.node(2), net.node(3)], Duration::from_secs(15));
    assert_eq!(right_one.requests().len(), 100);
    assert_eq!(failures.len(), 100);
    let is_its = |failure: &&Failure| failure.kind == Kind::Slow && failure.target == net.node(2);
    assert_eq!(failures.iter().find(|failure| !is_its(failure)), None);
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
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
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
fn an_address_is_asked_for_by_its_own_name_wherever_it_is_asked() {
    let net = Net::new();
    let seen = net.serve(2, |_, _| ok(&right()));
    assert_eq!(net.prove(&["192.0.2.77"], &[net.node(2)], Duration::from_secs(10)), []);
    assert_eq!(seen.requests(), [(0, "192.0.2.77".to_owned(), PATH.to_owned())]);
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
    let told = summary(&failures).join("\n");
    assert!(told.starts_with(&format!("the front {} answers 404", net.address(2))), "{told}");
    assert!(told.contains("which servers it forwards to"), "{told}");
}

#[test]
fn five_thousand_questions_are_cheap() {
    let net = Net::new();
    let names: Vec<String> = (0..100).map(|n| format!("n{n}.example")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let targets: Vec<Target> = (2..52).map(|n| net.node(n)).collect();
    let seen: Vec<Seen> = (2..52).map(|n| net.serve(n, |_, _| ok(&right()))).collect();
    let start = Instant::now();
    assert_eq!(net.prove(&names, &targets, Duration::from_secs(60)), []);
    assert!(seen.iter().all(|seen| seen.requests().len() == 100));
    // Half a second on two idle cores.
    assert!(start.elapsed() < Duration::from_secs(50), "{:?}", start.elapsed());
}

#[test]
fn an_ipv6_address_is_asked_like_any_other() {
    let listener = TcpListener::bind(("::1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let answer = match request(&stream) {
                Some((host, _)) if host == "www.example" || host == "[::1]" => ok(&right()),
                _ => page("404 Not Found", "", ""),
            };
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    let targets = [Target::node("web6".parse().unwrap(), "::1".parse().unwrap())];
    let challenges = [challenge("www.example"), challenge("::1")];
    let ports = Ports { http: port, https: port };
    assert_eq!(
        prove_at(ports, questions(&challenges, &targets, |_, _| true), Deadline::after(Duration::from_secs(10)))
            .failures,
        []
    );
}
