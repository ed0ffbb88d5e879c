//! Reading certificates: what a bundle's check and a look at an installed version share.

use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::base64::encode_block;
use openssl::error::ErrorStack;
use openssl::x509::{GeneralNameRef, X509};

use super::bundle::BundleError;
use super::digest::Digest;
use super::names::Identifier;

/// What can be said of a single certificate file: used for versions already installed, which may have expired.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// The SHA-256 of its DER form.
    pub digest: Digest,
    /// Its subject alternative names.
    pub names: Vec<Identifier>,
    /// The begin of its validity, in seconds since 1970.
    pub not_before: i64,
    /// The end of its validity, in seconds since 1970.
    pub not_after: i64,
}

impl Leaf {
    /// Reads the first certificate of a PEM text, whatever else is in it: somebody may keep a key or parameters there too.
    pub fn read(pem: &str) -> Result<Self, BundleError> {
        let certificates = certificates("cert", first_block(pem))?;
        let leaf = certificates.first().ok_or(BundleError::Empty("cert"))?;
        Ok(Leaf {
            digest: Digest::of(&leaf.to_der()?),
            names: names(leaf),
            not_before: unix(leaf.not_before())?,
            not_after: unix(leaf.not_after())?,
        })
    }
}

/// The first block of a certificate; all of a text that has no whole one.
pub(super) fn first_block(pem: &str) -> &str {
    const END: &str = "-----END CERTIFICATE-----";
    let block = pem.find("-----BEGIN CERTIFICATE-----").map_or(pem, |begin| &pem[begin..]);
    block.find(END).map_or(block, |end| &block[..end + END.len()])
}

pub(super) fn certificates(stem: &'static str, pem: &str) -> Result<Vec<X509>, BundleError> {
    let unreadable = BundleError::Unreadable(stem, "certificate");
    let begun = pem.matches("-----BEGIN ").count();
    let Ok(certificates) = X509::stack_from_pem(pem.as_bytes()) else { return Err(unreadable) };
    // `stack_from_pem` passes over blocks of another kind and stops silently at a torn last one.
    if certificates.is_empty() || certificates.len() != begun {
        return Err(unreadable);
    }
    // It does not look at what stands behind a certificate in its block; servers do, and refuse it.
    let blocks = pem.split("-----BEGIN ").skip(1);
    for (certificate, block) in certificates.iter().zip(blocks) {
        if !is_whole(certificate, block)? {
            return Err(unreadable);
        }
    }
    Ok(certificates)
}

/// Whether the rest of a PEM text holds this certificate and nothing else up to the block's end.
fn is_whole(certificate: &X509, block: &str) -> Result<bool, ErrorStack> {
    let body =
        block.split_once("-----").and_then(|(_, rest)| rest.split_once("-----END ")).map_or("", |(body, _)| body);
    let written: String = body.split_ascii_whitespace().collect();
    Ok(written == encode_block(&certificate.to_der()?))
}

pub(super) fn names(leaf: &X509) -> Vec<Identifier> {
    let Some(alternatives) = leaf.subject_alt_names() else { return Vec::new() };
    let name = |name: &GeneralNameRef| {
        if let Some(dns) = name.dnsname() {
            return dns.parse().ok();
        }
        let bytes = name.ipaddress()?;
        let v4 = <[u8; 4]>::try_from(bytes).map(std::net::IpAddr::from);
        v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(std::net::IpAddr::from)).ok().map(Identifier::Ip)
    };
    alternatives.iter().filter_map(name).collect()
}

pub(super) fn unix(time: &Asn1TimeRef) -> Result<i64, ErrorStack> {
    let since = Asn1Time::from_unix(0)?.diff(time)?;
    Ok(i64::from(since.days) * 86_400 + i64::from(since.secs))
}
