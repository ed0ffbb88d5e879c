use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;

use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509NameBuilder};

use super::*;
use crate::model::config::{Route, SecretSource, Severity};

/// What servers were told, a line each.
type Heard = Arc<Mutex<Vec<String>>>;

const PASSWORD: &str = "aGVsbG8";

/// A server that does the same with each connection; where it listens, and what it hears.
fn server(serve: impl Fn(&mut dyn Stream, &Heard) + Send + Sync + 'static) -> (SocketAddr, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, heard, serve) = (listener.local_addr().unwrap(), Heard::default(), Arc::new(serve));
    let log = Arc::clone(&heard);
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let (log, serve) = (Arc::clone(&log), Arc::clone(&serve));
            thread::spawn(move || serve(&mut stream, &log));
        }
    });
    (address, heard)
}

trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

/// In order but for who made it.
fn untrusted() -> SslAcceptor {
    let key = EcKey::generate(&EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap()).unwrap();
    let key = PKey::from_ec_key(key).unwrap();
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_nid(Nid::COMMONNAME, "localhost").unwrap();
    let name = name.build();
    let mut certificate = X509::builder().unwrap();
    certificate.set_version(2).unwrap();
    certificate.set_subject_name(&name).unwrap();
    certificate.set_issuer_name(&name).unwrap();
    certificate.set_pubkey(&key).unwrap();
    certificate.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    certificate.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    let names = SubjectAlternativeName::new().dns("localhost").build(&certificate.x509v3_context(None, None)).unwrap();
    certificate.append_extension(names).unwrap();
    certificate.sign(&key, MessageDigest::sha256()).unwrap();
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).unwrap();
    acceptor.set_private_key(&key).unwrap();
    acceptor.set_certificate(&certificate.build()).unwrap();
    acceptor.build()
}

/// SMTP, until the client goes, or wants TLS: that it does. Recipients are what their names say.
fn smtp(stream: &mut dyn Stream, heard: &Heard, offer: &str) -> bool {
    let mut stream = BufReader::new(stream);
    let (mut line, mut to) = (String::new(), String::new());
    while stream.read_line(&mut line).is_ok_and(|length| length > 0) {
        heard.lock().unwrap().push(line.trim_end().to_owned());
        let answer = match line.get(..4).unwrap_or_default() {
            "EHLO" => format!("250-localhost\r\n250 {offer}"),
            "RCPT" if line.contains("<refused") => "550 nobody of that name".to_owned(),
            "RCPT" if line.contains("<later") => "451 not now".to_owned(),
            "RCPT" if line.contains("<slow") => {
                // Until the client has lost its patience.
                _ = stream.read_to_end(&mut Vec::new());
                return false;
            }
            "RCPT" => {
                line.trim_end().clone_into(&mut to);
                "250 good".to_owned()
            }
            "DATA" => {
                stream.get_mut().write_all(b"354 go on\r\n").unwrap();
                while line.trim_end() != "." {
                    line.clear();
                    stream.read_line(&mut line).unwrap();
                }
                heard.lock().unwrap().push(format!("mailed {to}"));
                "250 taken".to_owned()
            }
            "AUTH" => "235 known".to_owned(),
            "STAR" => "220 begin".to_owned(),
            _ => "250 good".to_owned(),
        };
        stream.get_mut().write_all(format!("{answer}\r\n").as_bytes()).unwrap();
        if line.starts_with("STARTTLS") {
            return true;
        }
        line.clear();
    }
    false
}

fn mail_server() -> (SocketAddr, Heard) {
    server(|stream, heard| {
        stream.write_all(b"220 localhost\r\n").unwrap();
        smtp(stream, heard, "8BITMIME");
    })
}

fn outlet(route: Route, secret: Option<SecretSource>) -> Outlet {
    let alert = Alert {
        route,
        secret,
        events: Vec::new(),
        min_severity: Severity::Warning,
        timeout: Duration::from_secs(5),
        retries: 5,
        remind: None,
    };
    Outlet { label: "alert 1".to_owned(), alert, spool: Spool::of("/nonexistent".as_ref(), "one".to_owned()) }
}

fn mailing(server: SocketAddr, to: &[&str]) -> Outlet {
    let mailbox = |name: &&str| format!("{name}@site.test").parse().unwrap();
    let to = to.iter().map(mailbox).collect();
    let server = format!("smtp://{server}").parse().unwrap();
    outlet(Route::Email { server, from: mailbox(&"certcast"), to, user: None }, None)
}

fn notice() -> Notice {
    Notice::test(&"web1".parse().unwrap())
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

fn mails(heard: &Heard) -> Vec<String> {
    let mut mails: Vec<_> =
        heard.lock().unwrap().iter().filter_map(|line| line.strip_prefix("mailed ")).map(str::to_owned).collect();
    mails.sort();
    mails
}

#[test]
fn a_recipient_who_is_refused_put_off_or_slow_costs_no_other_one_the_mail_and_is_named() {
    let (address, heard) = mail_server();
    let outlet = mailing(address, &["refused", "later", "dev", "slow", "ops"]);
    let Err(SendError::Partly(why)) = outlet.send_message(&[notice()], soon()) else { panic!("some have it") };
    for words in [
        "refused@site.test: permanent error (550)",
        "later@site.test: transient error (451)",
        "slow@site.test: no answer in time",
    ] {
        assert!(why.contains(words), "{why}");
    }
    assert!(!why.contains("ops") && !why.contains("dev"), "{why}");
    assert_eq!(mails(&heard), ["RCPT TO:<dev@site.test>", "RCPT TO:<ops@site.test>"]);
    // Whoever has it does not get it again.
    let sent = mailing(address, &["later", "ops"]).send(&[notice()], soon());
    assert!(sent.count == 1 && sent.error.is_none(), "{sent:?}");
}

#[test]
fn a_mail_that_nobody_took_is_sent_again_unless_all_refused_it() {
    let (address, heard) = mail_server();
    let went = |to: &[&str]| mailing(address, to).send_message(&[notice()], soon());
    assert!(went(&["ops", "dev"]).is_ok() && mails(&heard).len() == 2);
    let Err(SendError::Refused(why)) = went(&["refused", "refused2"]) else { panic!("all refused it") };
    assert!(why.starts_with("refused@site.test, refused2@site.test: permanent error (550)"), "{why}");
    for to in [["refused", "later"], ["later", "refused"]] {
        let Err(SendError::Unreached(why)) = went(&to) else { panic!("one may take it later") };
        assert!(why.contains("refused@site.test: perm") && why.contains("later@site.test: trans"), "{why}");
    }
    assert_eq!(mails(&heard).len(), 2);
}

#[test]
fn a_mail_server_that_is_not_trusted_gets_no_password() {
    let acceptor = untrusted();
    let within = acceptor.clone();
    let (within_tls, heard_within) = server(move |stream, heard| {
        if let Ok(mut stream) = within.accept(stream) {
            stream.write_all(b"220 localhost\r\n").unwrap();
            smtp(&mut stream, heard, "AUTH PLAIN");
        }
    });
    let (upgraded, heard_upgraded) = server(move |stream, heard| {
        stream.write_all(b"220 localhost\r\n").unwrap();
        if smtp(stream, heard, "STARTTLS")
            && let Ok(mut stream) = acceptor.accept(stream)
        {
            smtp(&mut stream, heard, "AUTH PLAIN");
        }
    });
    // Somebody in between has taken STARTTLS out.
    let (without, heard_without) = server(|stream, heard| {
        stream.write_all(b"220 localhost\r\n").unwrap();
        smtp(stream, heard, "AUTH PLAIN");
    });
    let party = "ops@site.test".parse().unwrap();
    for (scheme, at) in [("smtps", within_tls), ("smtp", upgraded), ("smtp", without)] {
        let server = format!("{scheme}://localhost:{}", at.port()).parse().unwrap();
        let login = Some(("certcast", PASSWORD));
        let envelope = email::Envelope { server: &server, from: &party, to: std::slice::from_ref(&party), login };
        let went = email::send(&envelope, &[notice()], soon());
        assert!(matches!(went, Err(SendError::Unreached(_))), "{scheme}: {went:?}");
    }
    let words = |heard: &Heard| {
        heard.lock().unwrap().iter().map(|line| line.get(..4).unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(words(&heard_within), [""; 0]);
    assert_eq!(words(&heard_upgraded), ["EHLO", "STAR"]);
    assert!(words(&heard_without).iter().all(|word| word == "EHLO" || word == "QUIT"), "{:?}", words(&heard_without));
}

/// One request, answered with this.
fn http_server(answer: &'static str, tls: Option<SslAcceptor>) -> (SocketAddr, Heard) {
    server(move |stream, heard| {
        let answer_to = |stream: &mut dyn Stream| {
            let mut stream = BufReader::new(stream);
            let (mut line, mut length) = (String::new(), 0);
            while stream.read_line(&mut line).is_ok_and(|length| length > 0) && line.trim_end() != "" {
                let header = line.trim_end().to_ascii_lowercase();
                length = header.strip_prefix("content-length: ").map_or(length, |value| value.parse().unwrap());
                heard.lock().unwrap().push(header);
                line.clear();
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
        };
        match &tls {
            None => answer_to(stream),
            Some(acceptor) => {
                if let Ok(mut stream) = acceptor.accept(stream) {
                    answer_to(&mut stream);
                }
            }
        }
    })
}

const TAKEN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

#[test]
fn a_receiver_that_is_not_trusted_hears_nothing() {
    let (address, heard) = http_server(TAKEN, Some(untrusted()));
    let url = format!("https://localhost:{}/hook", address.port()).parse().unwrap();
    let went = outlet(Route::Webhook(url), None).send_message(&[notice()], soon());
    assert!(matches!(&went, Err(SendError::Unreached(why)) if why.contains("certificate verify failed")), "{went:?}");
    assert!(heard.lock().unwrap().is_empty());
}

#[test]
fn a_redirect_is_not_followed() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let answer = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://{}/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        elsewhere.local_addr().unwrap()
    );
    let (address, heard) = http_server(answer.leak(), None);
    let url = |path: &str| format!("http://{address}/{path}").parse().unwrap();
    for route in [Route::Webhook(url("hook")), Route::Healthcheck(Some(url("ping")))] {
        let went = outlet(route, None).send_message(&[notice()], soon());
        assert!(
            matches!(&went, Err(SendError::Refused(why)) if why == "it answered 307 Temporary Redirect"),
            "{went:?}"
        );
    }
    assert!(heard.lock().unwrap().iter().any(|line| line == "get /ping http/1.1"));
    elsewhere.set_nonblocking(true).unwrap();
    assert_eq!(elsewhere.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "nobody came");
}

#[test]
fn a_secret_may_be_in_a_variable() {
    let (address, heard) = http_server(TAKEN, None);
    let url: reqwest::Url = format!("http://{address}/topic").parse().unwrap();
    // cargo sets it for tests.
    let secret = |name: &str| Some(SecretSource::Env(name.to_owned()));
    outlet(Route::Ntfy(url.clone()), secret("CARGO_PKG_NAME")).send_message(&[notice()], soon()).unwrap();
    assert!(heard.lock().unwrap().iter().any(|line| line == "authorization: bearer certcast"));
    heard.lock().unwrap().clear();
    let went = outlet(Route::Ntfy(url), secret("CERTCAST_NO_SUCH_VARIABLE")).send_message(&[notice()], soon());
    let why = "the secret cannot be read: the variable CERTCAST_NO_SUCH_VARIABLE is not set";
    assert!(matches!(&went, Err(SendError::Unreached(text)) if text == why), "{went:?}");
    assert!(heard.lock().unwrap().is_empty());
}
