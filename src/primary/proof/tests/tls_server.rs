//! A TLS server for tests, with a certificate that nobody should trust: self-signed, expired, misnamed.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;

use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::ssl::{NameType, SslAcceptor, SslMethod};
use openssl::x509::{X509, X509NameBuilder};

/// The names that handshakes asked for, in order.
pub(super) type Names = Arc<Mutex<Vec<Option<String>>>>;

/// Answers every request with the same page.
pub(super) fn serve(address: SocketAddr, page: String) -> Names {
    let key = EcKey::generate(&EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap()).unwrap();
    let key = PKey::from_ec_key(key).unwrap();
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", "wrong.example").unwrap();
    let name = name.build();
    let mut certificate = X509::builder().unwrap();
    certificate.set_subject_name(&name).unwrap();
    certificate.set_issuer_name(&name).unwrap();
    certificate.set_pubkey(&key).unwrap();
    certificate.set_not_before(&Asn1Time::from_unix(1_000_000_000).unwrap()).unwrap();
    certificate.set_not_after(&Asn1Time::from_unix(1_000_086_400).unwrap()).unwrap();
    certificate.sign(&key, MessageDigest::sha256()).unwrap();
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).unwrap();
    acceptor.set_private_key(&key).unwrap();
    acceptor.set_certificate(&certificate.build()).unwrap();
    let acceptor = acceptor.build();

    let listener = TcpListener::bind(address).unwrap();
    let names = Names::default();
    let log = Arc::clone(&names);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = acceptor.accept(stream.unwrap()).unwrap();
            log.lock().unwrap().push(stream.ssl().servername(NameType::HOST_NAME).map(str::to_owned));
            let _head = BufReader::new(&mut stream).lines().map_while(Result::ok).take_while(|l| !l.is_empty()).count();
            stream.write_all(page.as_bytes()).unwrap();
            let _ = stream.shutdown();
        }
    });
    names
}
