//! A throw-away certificate authority: root, intermediate, leaves, made in memory by OpenSSL, with any dates one likes.

use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509NameBuilder};

use super::bundle::Bundle;

const DAY: i64 = 86_400;

/// When a leaf is valid.
#[derive(Clone, Copy, Debug)]
pub enum Validity {
    /// From an hour ago, for 90 days.
    Fresh,
    /// Ended yesterday.
    Expired,
    /// Begins tomorrow.
    NotYet,
    /// From so many days after now to so many days after now.
    Days(i64, i64),
}

/// A key and the certificate that says whose it is.
struct Authority {
    key: PKey<Private>,
    certificate: X509,
}

pub struct Issuer {
    root: Authority,
    intermediate: Authority,
}

impl Issuer {
    pub fn new() -> Self {
        let root = Authority::new("Lab Root", None);
        let intermediate = Authority::new("Lab Intermediate", Some(&root));
        Issuer { root, intermediate }
    }

    /// The root certificate as PEM: what a client must trust.
    pub fn root(&self) -> Vec<u8> {
        self.root.certificate.to_pem().unwrap()
    }

    /// A bundle for names and addresses.
    pub fn issue(&self, names: &[&str], validity: Validity) -> Bundle {
        let (from, to) = match validity {
            Validity::Fresh => (-DAY / 24, 90 * DAY),
            Validity::Expired => (-90 * DAY, -DAY),
            Validity::NotYet => (DAY, 91 * DAY),
            Validity::Days(from, to) => (from * DAY, to * DAY),
        };
        let key = new_key();
        let mut builder = certificate(names[0], &key, from, to);
        builder.set_issuer_name(self.intermediate.certificate.subject_name()).unwrap();
        let mut alternatives = SubjectAlternativeName::new();
        for name in names {
            match name.parse::<IpAddr>() {
                Ok(_) => alternatives.ip(name),
                Err(_) => alternatives.dns(name),
            };
        }
        let context = builder.x509v3_context(Some(&self.intermediate.certificate), None);
        let alternatives = alternatives.build(&context).unwrap();
        builder.append_extension(alternatives).unwrap();
        builder.append_extension(BasicConstraints::new().critical().build().unwrap()).unwrap();
        builder.append_extension(KeyUsage::new().critical().digital_signature().build().unwrap()).unwrap();
        builder.append_extension(ExtendedKeyUsage::new().server_auth().build().unwrap()).unwrap();
        builder.sign(&self.intermediate.key, MessageDigest::sha256()).unwrap();
        Bundle::new(
            builder.build().to_pem().unwrap(),
            self.intermediate.certificate.to_pem().unwrap(),
            key.private_key_to_pem_pkcs8().unwrap(),
        )
    }
}

impl Authority {
    fn new(name: &str, above: Option<&Authority>) -> Self {
        let key = new_key();
        let mut builder = certificate(name, &key, -365 * DAY, 3650 * DAY);
        builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
        builder.append_extension(KeyUsage::new().critical().key_cert_sign().crl_sign().build().unwrap()).unwrap();
        let (issuer, signer) = match above {
            Some(above) => (above.certificate.subject_name().to_owned().unwrap(), &above.key),
            None => (subject(name), &key),
        };
        builder.set_issuer_name(&issuer).unwrap();
        builder.sign(signer, MessageDigest::sha256()).unwrap();
        Authority { key, certificate: builder.build() }
    }
}

/// A fresh P-256 key, certbot's default.
pub fn new_key() -> PKey<Private> {
    let curve = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&curve).unwrap()).unwrap()
}

fn certificate(name: &str, key: &PKey<Private>, from: i64, to: i64) -> X509Builder {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let mut serial = BigNum::new().unwrap();
    serial.rand(120, MsbOption::ONE, false).unwrap();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(&Asn1Integer::from_bn(&serial).unwrap()).unwrap();
    builder.set_subject_name(&subject(name)).unwrap();
    builder.set_pubkey(key).unwrap();
    builder.set_not_before(&Asn1Time::from_unix(now + from).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::from_unix(now + to).unwrap()).unwrap();
    builder
}

fn subject(name: &str) -> openssl::x509::X509Name {
    let mut subject = X509NameBuilder::new().unwrap();
    // A common name holds 64 characters; the alternative names hold what counts.
    let short: String = name.chars().take(64).collect();
    subject.append_entry_by_nid(Nid::COMMONNAME, &short).unwrap();
    subject.build()
}
