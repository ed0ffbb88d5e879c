//! A quick look at what is served, to tell end states apart and to know when a bench is as before. Never the judge.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::Signal;
use openssl::hash::MessageDigest;
use openssl::ssl::{Ssl, SslContext, SslMethod, SslVerifyMode};
use openssl::x509::X509;

use crate::lab::{Bundle, Host, until};

const WAIT: Duration = Duration::from_secs(2);

/// The digest of the leaf that a host's own port 443 shows for a name; none where there is no handshake.
pub fn served(host: &Host, name: &str) -> Option<Vec<u8>> {
    let network = File::open(host.network()).unwrap();
    let address = SocketAddr::new(host.v4().into(), 443);
    // A thread of its own: it does not come back from there.
    std::thread::scope(|scope| {
        let visit = scope.spawn(|| {
            setns(network, CloneFlags::CLONE_NEWNET).unwrap();
            leaf(address, name)
        });
        visit.join().unwrap()
    })
}

/// Makes a host's nginx serve a version again that is installed, unless it does.
pub fn bring_back(host: &Host, name: &str, version: &Bundle) {
    let wanted = X509::from_pem(&version.cert).unwrap().digest(MessageDigest::sha256()).unwrap().to_vec();
    let is_served = || served(host, name).as_ref() == Some(&wanted);
    if !is_served() {
        host.signal(host.nginx_master(), Signal::SIGHUP);
        // Several in a row: old workers accept for a moment.
        until("the old leaf is served again", || (0..3).all(|_| is_served()));
    }
}

fn leaf(address: SocketAddr, name: &str) -> Option<Vec<u8>> {
    let stream = TcpStream::connect_timeout(&address, WAIT).ok()?;
    stream.set_read_timeout(Some(WAIT)).unwrap();
    let mut context = SslContext::builder(SslMethod::tls_client()).unwrap();
    context.set_verify(SslVerifyMode::NONE);
    let mut ssl = Ssl::new(&context.build()).unwrap();
    ssl.set_hostname(name).unwrap();
    let stream = ssl.connect(stream).ok()?;
    Some(stream.ssl().peer_certificate()?.digest(MessageDigest::sha256()).unwrap().to_vec())
}
