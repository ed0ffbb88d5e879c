//! A bundle: one version of a lineage, its four files checked to belong together.

mod chain;

use std::fmt;
use std::num::NonZeroU32;

use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::sha::Sha256;
use openssl::x509::X509;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

use super::certificate::{certificates, first_block, names};
use super::digest::Digest;
use super::names::Identifier;
use chain::{check_dates, check_order, same};

/// The largest PEM file that is looked at, in bytes. Real ones have 2 to 10 kB.
pub const FILE_AT_MOST: u64 = 128 * 1024;
/// The most certificates a chain may have.
const CHAIN_AT_MOST: usize = 10;

/// A key with a passphrase has this in its first lines, in each of its forms.
const ENCRYPTED: &str = "ENCRYPTED";

/// The number certbot gives a version: the N of `archive/NAME/certN.pem`.
pub type Number = NonZeroU32;

/// certbot's four files of one version, in the order in which certbot writes their links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The leaf certificate.
    Cert,
    /// The private key.
    Privkey,
    /// The intermediates, the leaf's issuer first.
    Chain,
    /// Leaf and chain.
    Fullchain,
}

impl Part {
    /// All four.
    pub const ALL: [Part; 4] = [Part::Cert, Part::Privkey, Part::Chain, Part::Fullchain];

    /// The stem of its file name.
    pub fn stem(self) -> &'static str {
        match self {
            Part::Cert => "cert",
            Part::Privkey => "privkey",
            Part::Chain => "chain",
            Part::Fullchain => "fullchain",
        }
    }

    /// Its link's name in `live/NAME`.
    pub fn link(self) -> String {
        format!("{}.pem", self.stem())
    }

    /// Its file's name in `archive/NAME`.
    pub fn file(self, number: Number) -> String {
        format!("{}{number}.pem", self.stem())
    }

    /// The part and number that a file name in `archive/NAME` stands for.
    pub fn of_file(name: &str) -> Option<(Part, Number)> {
        Part::ALL.into_iter().find_map(|part| {
            let number: Number = name.strip_prefix(part.stem())?.strip_suffix(".pem")?.parse().ok()?;
            (part.file(number) == name).then_some((part, number))
        })
    }
}

/// The four files' texts, not yet checked. The key is never shown, and this copy of it is wiped from
/// memory when dropped; copies that parsers made on the way are not.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PemFiles {
    /// `cert.pem`
    pub cert: String,
    /// `privkey.pem`
    pub privkey: Zeroizing<String>,
    /// `chain.pem`
    pub chain: String,
    /// `fullchain.pem`
    pub fullchain: String,
}

impl PemFiles {
    /// How long all four are, in bytes.
    pub fn size(&self) -> usize {
        Part::ALL.iter().map(|part| self.part(*part).len()).sum()
    }

    /// One of the four.
    pub fn part(&self, part: Part) -> &str {
        match part {
            Part::Cert => &self.cert,
            Part::Privkey => &self.privkey,
            Part::Chain => &self.chain,
            Part::Fullchain => &self.fullchain,
        }
    }

    /// The digest over all four, each with its length.
    pub fn digest(&self) -> Digest {
        let mut hash = Sha256::new();
        for part in Part::ALL {
            let text = self.part(part).as_bytes();
            hash.update(&(text.len() as u64).to_be_bytes());
            hash.update(text);
        }
        Digest(hash.finish())
    }
}

impl fmt::Debug for PemFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PemFiles({})", self.digest())
    }
}

/// Why four files are no bundle. Each names the file to look at.
#[derive(Debug, Error)]
pub enum BundleError {
    /// An empty or blank file, as after a power cut.
    #[error("{0}.pem is empty")]
    Empty(&'static str),
    /// Larger than [`FILE_AT_MOST`].
    #[error("{0}.pem has {1} bytes, at most {FILE_AT_MOST} are read")]
    TooLarge(&'static str, usize),
    /// Not PEM, or cut off.
    #[error("{0}.pem holds no whole {1}: it is truncated or not PEM")]
    Unreadable(&'static str, &'static str),
    /// Everybody may read the three other files.
    #[error("{0}.pem holds a private key, and everybody may read that file")]
    KeyInPublic(&'static str),
    /// `cert.pem` must hold the leaf alone.
    #[error("cert.pem holds {0} certificates instead of one")]
    LeafCount(usize),
    /// More intermediates than any CA sends.
    #[error("chain.pem holds {0} certificates, at most {CHAIN_AT_MOST} are accepted")]
    ChainTooLong(usize),
    /// A key with a passphrase cannot be used by a server that starts alone.
    #[error("privkey.pem is encrypted or not a private key")]
    Key,
    /// Key and leaf are not a pair.
    #[error("privkey.pem does not match cert.pem: the key belongs to another certificate")]
    KeyMismatch,
    /// Leaf without intermediates.
    #[error("the leaf is without its chain: chain.pem is empty, or fullchain.pem holds one certificate alone")]
    NoChain,
    /// `fullchain.pem` is not `cert.pem` and then `chain.pem`.
    #[error("fullchain.pem is not cert.pem followed by chain.pem")]
    Fullchain,
    /// A link of the chain is out of order or missing.
    #[error("the chain is broken: certificate {0} of fullchain.pem was not issued by the one after it")]
    Order(usize),
    /// No subject alternative name that we know.
    #[error("cert.pem is for no DNS name and no IP address")]
    NoNames,
    /// The dates.
    #[error("cert.pem expired on {0}")]
    Expired(jiff::Timestamp),
    /// The dates, or this machine's clock.
    #[error("cert.pem is not valid before {0}; is this machine's clock right?")]
    NotYetValid(jiff::Timestamp),
    /// An intermediate's dates.
    #[error("certificate {0} of fullchain.pem expired on {1}")]
    ChainExpired(usize, jiff::Timestamp),
    /// OpenSSL could not look at a part.
    #[error("openssl cannot read the certificate")]
    Openssl(#[from] ErrorStack),
}

impl BundleError {
    /// Whether the files are torn or do not belong together, rather than merely unfit to be sent now.
    pub fn is_damage(&self) -> bool {
        !matches!(self, BundleError::Expired(_) | BundleError::NotYetValid(_) | BundleError::ChainExpired(..))
    }
}

/// A bundle that is whole: key and leaf match, the chain is complete and in order, the dates hold.
#[derive(Clone, Debug)]
pub struct Bundle {
    files: PemFiles,
    digest: Digest,
    leaf: Digest,
    names: Vec<Identifier>,
    not_before: i64,
    not_after: i64,
}

impl Bundle {
    /// Checks that four files belong together and are valid at `now` (seconds since 1970).
    pub fn check(files: PemFiles, now: i64) -> Result<Self, BundleError> {
        for part in Part::ALL {
            let (stem, text) = (part.stem(), files.part(part));
            if text.len() as u64 > FILE_AT_MOST {
                return Err(BundleError::TooLarge(stem, text.len()));
            }
            if part != Part::Chain && text.trim().is_empty() {
                return Err(BundleError::Empty(stem));
            }
            // Also in a block that is too damaged to be one.
            if part != Part::Privkey && text.contains("PRIVATE KEY-----") {
                return Err(BundleError::KeyInPublic(stem));
            }
        }
        let fullchain = certificates("fullchain", &files.fullchain)?;
        let leafs = certificates("cert", &files.cert)?;
        let [leaf] = leafs.as_slice() else { return Err(BundleError::LeafCount(leafs.len())) };
        if files.chain.trim().is_empty() || fullchain.len() == 1 {
            return Err(BundleError::NoChain);
        }
        let chain = certificates("chain", &files.chain)?;
        if chain.len() > CHAIN_AT_MOST {
            return Err(BundleError::ChainTooLong(chain.len()));
        }
        let key = private_key(&files.privkey)?;
        if !leaf.public_key()?.public_eq(&key) {
            return Err(BundleError::KeyMismatch);
        }
        check_order(&fullchain)?;
        if !same(&fullchain, leafs.iter().chain(&chain))? {
            return Err(BundleError::Fullchain);
        }
        let names = names(leaf);
        if names.is_empty() {
            return Err(BundleError::NoNames);
        }
        let (not_before, not_after) = check_dates(&fullchain, now)?;
        let leaf = Digest::of(&leaf.to_der()?);
        Ok(Bundle { digest: files.digest(), leaf, names, not_before, not_after, files })
    }

    /// The four files.
    pub fn files(&self) -> &PemFiles {
        &self.files
    }

    /// The digest over the four files.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The SHA-256 of the leaf's DER form: what a handshake must show.
    pub fn leaf(&self) -> Digest {
        self.leaf
    }

    /// The subject alternative names.
    pub fn names(&self) -> &[Identifier] {
        &self.names
    }

    /// The begin of validity, in seconds since 1970.
    pub fn not_before(&self) -> i64 {
        self.not_before
    }

    /// The end of validity, in seconds since 1970.
    pub fn not_after(&self) -> i64 {
        self.not_after
    }
}

/// Whether a server can serve such files, whatever is wrong with the chain or beside it. A key with a passphrase is some
/// server's.
pub fn can_be_served(files: &PemFiles) -> bool {
    let Ok(leaf) = X509::from_pem(first_block(&files.fullchain).as_bytes()) else { return false };
    match private_key(&files.privkey) {
        Ok(key) => leaf.public_key().is_ok_and(|public| public.public_eq(&key)),
        Err(_) => files.privkey.contains(ENCRYPTED) && files.privkey.contains("-----END "),
    }
}

fn private_key(pem: &str) -> Result<PKey<Private>, BundleError> {
    // OpenSSL would try the empty passphrase, hashed as often as the key says: for hours.
    if pem.contains(ENCRYPTED) {
        return Err(BundleError::Key);
    }
    // Without a callback OpenSSL would ask for the passphrase on the terminal.
    PKey::private_key_from_pem_callback(pem.as_bytes(), |_| Ok(0)).map_err(|_| {
        if pem.contains("-----END ") { BundleError::Key } else { BundleError::Unreadable("privkey", "private key") }
    })
}

#[cfg(test)]
pub(crate) mod tests;
