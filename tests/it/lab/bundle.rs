//! The files of one certificate version, good or broken in a chosen way.

use std::fmt::Write;

use openssl::hash::MessageDigest;
use openssl::x509::X509;

use super::issuer::new_key;

/// What certbot keeps of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// The leaf.
    pub cert: Vec<u8>,
    /// The private key.
    pub privkey: Vec<u8>,
    /// The intermediate.
    pub chain: Vec<u8>,
    /// Leaf, then intermediate.
    pub fullchain: Vec<u8>,
}

/// What can be wrong with the files. Wrong dates are made by `Lab::bundle_valid`.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// The key belongs to another certificate.
    OtherKey,
    /// The intermediate is missing from fullchain, and chain is empty.
    NoChain,
    /// The intermediate comes before the leaf.
    WrongOrder,
    /// fullchain ends in the middle of the leaf.
    Truncated,
    /// The key ends in its middle.
    TruncatedKey,
    /// All four files have no byte, as after a power cut.
    Empty,
    /// fullchain holds no PEM.
    Garbage,
}

impl Bundle {
    pub(super) fn new(cert: Vec<u8>, chain: Vec<u8>, privkey: Vec<u8>) -> Self {
        let fullchain = [cert.as_slice(), &chain].concat();
        Bundle { cert, privkey, chain, fullchain }
    }

    /// The same files with one fault.
    #[must_use]
    pub fn broken(&self, fault: Fault) -> Self {
        let mut bundle = self.clone();
        let half = |bytes: &[u8]| bytes[..bytes.len() / 2].to_vec();
        match fault {
            Fault::OtherKey => bundle.privkey = new_key().private_key_to_pem_pkcs8().unwrap(),
            Fault::NoChain => {
                bundle.chain.clear();
                bundle.fullchain.clone_from(&self.cert);
            }
            Fault::WrongOrder => bundle.fullchain = [self.chain.as_slice(), &self.cert].concat(),
            Fault::Truncated => bundle.fullchain = half(&self.cert),
            Fault::TruncatedKey => bundle.privkey = half(&self.privkey),
            Fault::Empty => bundle = Bundle::new(Vec::new(), Vec::new(), Vec::new()),
            Fault::Garbage => bundle.fullchain = b"\0\xff not a certificate \x1b[2J\n".to_vec(),
        }
        bundle
    }

    /// The leaf's SHA-256 in lower-case hex, as [`super::Lab::served_leaf`] returns it.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.cert)
    }

    /// certbot's names of the four files with what they hold.
    pub fn files(&self) -> [(&'static str, &[u8]); 4] {
        [("cert", &self.cert), ("privkey", &self.privkey), ("chain", &self.chain), ("fullchain", &self.fullchain)]
    }
}

/// The SHA-256 of the first certificate in a PEM.
pub(super) fn fingerprint(pem: &[u8]) -> String {
    let digest = X509::from_pem(pem).unwrap().digest(MessageDigest::sha256()).unwrap();
    let mut hex = String::new();
    for byte in digest.iter() {
        write!(hex, "{byte:02x}").unwrap();
    }
    hex
}
