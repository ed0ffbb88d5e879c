//! Bundles: the four files of one version.

use std::io::Write;
use std::os::fd::AsRawFd;

use certcast::model::bundle::{Bundle, BundleError, PemFiles};
use certcast::model::certificate::Leaf;
use openssl::ssl::{SslContext, SslFiletype, SslMethod};
use openssl::x509::X509;

use super::is_a_message;

/// A day in 2027, within the dates of all pieces but those that are wrong about them.
const NOW: i64 = 1_800_000_000;

/// `pieces/`: made once by `pieces/make`, valid for a hundred years.
const PIECES: [(&str, &str); 12] = [
    ("leaf", include_str!("../pieces/leaf.pem")),
    ("key", include_str!("../pieces/key.pem")),
    ("issuer", include_str!("../pieces/issuer.pem")),
    ("root", include_str!("../pieces/root.pem")),
    ("leaf2", include_str!("../pieces/leaf2.pem")),
    ("key2", include_str!("../pieces/key2.pem")),
    ("rsa", include_str!("../pieces/rsa.pem")),
    ("rsakey", include_str!("../pieces/rsakey.pem")),
    ("expired", include_str!("../pieces/expired.pem")),
    ("future", include_str!("../pieces/future.pem")),
    ("nameless", include_str!("../pieces/nameless.pem")),
    ("locked", include_str!("../pieces/locked.pem")),
];

pub(super) fn piece(name: &str) -> Option<&'static str> {
    PIECES.iter().find(|(known, _)| *known == name).map(|(_, pem)| *pem)
}

/// `cert.pem`, `privkey.pem`, `chain.pem` and, if it is not the first and the third, `fullchain.pem`, parted by lines of `%%`.
pub fn bundle(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut files = text.split("%%\n");
    let mut next = || files.next().unwrap_or_default().to_owned();
    let (cert, privkey, chain) = (next(), next(), next());
    let fullchain = files.next().map_or_else(|| [cert.as_str(), &chain].concat(), str::to_owned);
    _ = is_judged(PemFiles { cert, privkey: privkey.into(), chain, fullchain });
}

/// The same files put together from good and bad pieces: for each file a number of pieces and which, then one change in one of
/// them. Only the pieces that belong together are accepted.
pub fn assembled(data: &[u8]) {
    let mut bytes = data.iter().map(|byte| usize::from(*byte));
    let mut next = || bytes.next().unwrap_or_default();
    let mut names: [Vec<&str>; 4] = std::array::from_fn(|_| Vec::new());
    for file in &mut names {
        for _ in 0..next() % 4 {
            file.push(PIECES[next() % PIECES.len()].0);
        }
    }
    let mut texts = names.each_ref().map(|file| file.iter().filter_map(|name| piece(name)).collect::<String>());
    let (which, at, change) = (next() % 4, next() * 256 + next(), next() % 6);
    let harmless = changed(&mut texts[which], at, change);
    let [cert, privkey, chain, fullchain] = texts;
    let accepted = is_judged(PemFiles { cert, privkey: privkey.into(), chain, fullchain });
    if harmless {
        assert_eq!(accepted, belong_together(&names), "{names:?}");
    }
}

/// One change; whether it is one that means nothing.
fn changed(text: &mut String, at: usize, change: usize) -> bool {
    let at = at.min(text.len());
    match change {
        0 => text.truncate(at),
        1 if at < text.len() => text.replace_range(at..=at, "A"),
        2 => text.insert(at, '\n'),
        3 => text.insert_str(0, "subject=CN = comment\n"),
        4 => *text = text.replace('\n', "\r\n"),
        _ => {}
    }
    change > 2
}

/// By their names, and without looking into them.
fn belong_together([cert, privkey, chain, fullchain]: &[Vec<&str>; 4]) -> bool {
    let pair = match cert.as_slice() {
        ["leaf"] => "key",
        ["leaf2"] => "key2",
        ["rsa"] => "rsakey",
        _ => return false,
    };
    // The first key of the file is the one that a server takes.
    let keys: Vec<_> = privkey.iter().filter(|name| name.contains("key") || **name == "locked").collect();
    let chained = matches!(chain.as_slice(), ["issuer"] | ["issuer", "root"] | ["issuer", "root", "root"]);
    keys.first() == Some(&&pair) && chained && *fullchain == [cert.as_slice(), chain].concat()
}

/// Whether it is a bundle. One that is: OpenSSL, which is what servers load it with, takes it as it is.
fn is_judged(files: PemFiles) -> bool {
    let (written, digest) = (serde_json::to_string(&files).expect("written"), files.digest());
    assert!(serde_json::from_str::<PemFiles>(&written).is_ok_and(|read| read == files));
    match Bundle::check(files, NOW) {
        Ok(bundle) => {
            assert_eq!(bundle.digest(), digest);
            is_served(&bundle);
            true
        }
        Err(error) => {
            is_a_message(&error);
            false
        }
    }
}

/// What holds for every bundle that is accepted.
pub(super) fn is_served(bundle: &Bundle) {
    let files = bundle.files();
    let context = loaded(files).expect("OpenSSL loads what was accepted");
    let leaf = context.certificate().expect("a certificate").to_der().expect("written");
    assert_eq!(certcast::model::digest::Digest::of(&leaf), bundle.leaf());
    for text in [&files.cert, &files.chain, &files.fullchain] {
        assert!(!text.contains("PRIVATE KEY-----"), "a key in a file that everybody reads");
    }
    let chain = X509::stack_from_pem(files.fullchain.as_bytes()).expect("certificates");
    for pair in chain.windows(2) {
        let key = pair[1].public_key().expect("a key");
        assert!(pair[0].verify(&key).expect("a signature"), "not signed by the next one");
    }
    assert!(chain.len() > 1 && !bundle.names().is_empty());
    let read = Leaf::read(&files.cert).expect("what was accepted is read");
    assert!(read.digest == bundle.leaf() && read.names == bundle.names());
    let dates = (bundle.not_before(), bundle.not_after());
    assert!((read.not_before, read.not_after) == dates && dates.0 < dates.1);
    let at = |now: i64| Bundle::check(files.clone(), now);
    let late = at(dates.1);
    assert!(matches!(late, Err(BundleError::Expired(_) | BundleError::ChainExpired(..))), "accepted after its end");
    assert!(matches!(at(dates.0 - 86_400), Err(BundleError::NotYetValid(_))), "accepted a day before its beginning");
}

/// As nginx and its like load them: from files.
fn loaded(files: &PemFiles) -> Result<SslContext, openssl::error::ErrorStack> {
    let mut context = SslContext::builder(SslMethod::tls_server())?;
    // How strong keys must be is the server's affair.
    context.set_security_level(0);
    let file = |text: &str| {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(text.as_bytes()).expect("written");
        file
    };
    let (chain, key) = (file(&files.fullchain), file(&files.privkey));
    let path = |file: &std::fs::File| format!("/proc/self/fd/{}", file.as_raw_fd());
    context.set_certificate_chain_file(path(&chain))?;
    context.set_private_key_file(path(&key), SslFiletype::PEM)?;
    context.check_private_key()?;
    Ok(context.build())
}
