use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509Builder, X509NameBuilder};

use super::*;
use crate::model::certificate::Leaf;

const NOW: i64 = 1_800_000_000;
const DAY: i64 = 86_400;

struct Issuer {
    name: String,
    key: PKey<Private>,
    pem: String,
}

fn new_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

fn pem_of(key: &PKey<Private>) -> String {
    String::from_utf8(key.private_key_to_pem_pkcs8().unwrap()).unwrap()
}

/// One certificate, by another's key or its own, from `from` to `to` days relative to `NOW`.
fn issue(name: &str, key: &PKey<Private>, by: Option<&Issuer>, days: (i64, i64), alternatives: &[&str]) -> String {
    let called = |text: &str| {
        let mut builder = X509NameBuilder::new().unwrap();
        builder.append_entry_by_text("CN", text).unwrap();
        builder.build()
    };
    let mut builder = X509Builder::new().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(&BigNum::from_u32(7).unwrap().to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(&called(name)).unwrap();
    builder.set_issuer_name(&called(by.map_or(name, |by| &by.name))).unwrap();
    builder.set_pubkey(key).unwrap();
    builder.set_not_before(&Asn1Time::from_unix(NOW + days.0 * DAY).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::from_unix(NOW + days.1 * DAY).unwrap()).unwrap();
    if !alternatives.is_empty() {
        let mut names = SubjectAlternativeName::new();
        for alternative in alternatives {
            match alternative.parse::<std::net::IpAddr>() {
                Ok(_) => names.ip(alternative),
                Err(_) => names.dns(alternative),
            };
        }
        let names = names.build(&builder.x509v3_context(None, None)).unwrap();
        builder.append_extension(names).unwrap();
    }
    builder.sign(by.map_or(key, |by| &by.key), MessageDigest::sha256()).unwrap();
    String::from_utf8(builder.build().to_pem().unwrap()).unwrap()
}

fn issuer(name: &str, by: Option<&Issuer>, days: (i64, i64)) -> Issuer {
    let key = new_key();
    let pem = issue(name, &key, by, days, &[]);
    Issuer { name: name.into(), key, pem }
}

struct Parts {
    leaf: String,
    key: String,
    chain: String,
}

impl Parts {
    fn with(leaf_days: (i64, i64), chain_days: (i64, i64), names: &[&str]) -> Parts {
        let root = issuer("root", None, (-900, 900));
        let middle = issuer("middle", Some(&root), chain_days);
        let key = new_key();
        Parts { leaf: issue("leaf", &key, Some(&middle), leaf_days, names), key: pem_of(&key), chain: middle.pem }
    }

    fn good() -> Parts {
        Parts::with((-1, 89), (-100, 900), &["a.example", "*.b.example", "192.0.2.1", "2001:db8::1"])
    }

    fn files(&self) -> PemFiles {
        PemFiles {
            cert: self.leaf.clone(),
            privkey: Zeroizing::new(self.key.clone()),
            chain: self.chain.clone(),
            fullchain: format!("{}{}", self.leaf, self.chain),
        }
    }
}

/// A certificate that is its own anchor.
pub(crate) fn an_anchor(name: &str) -> String {
    issue(name, &new_key(), None, (-1, 89), &[name])
}

/// A whole bundle, unlike any other, that is valid by the real clock too.
pub(crate) fn some_files() -> PemFiles {
    Parts::with((-8000, 8000), (-8000, 8000), &["a.example"]).files()
}

/// The certificate with two bytes after it in the same block: d2i passes over them, a server does not.
fn with_more_behind_it(pem: &str) -> String {
    let der = [X509::from_pem(pem.as_bytes()).unwrap().to_der().unwrap(), vec![5, 0]].concat();
    let base64 = openssl::base64::encode_block(&der);
    let lines: Vec<_> = base64.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

fn refusal(files: PemFiles) -> String {
    Bundle::check(files, NOW).unwrap_err().to_string()
}

#[test]
fn a_whole_bundle_says_what_it_is_for_and_until_when() {
    let bundle = Bundle::check(Parts::good().files(), NOW).unwrap();
    let names: Vec<_> = bundle.names().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["a.example", "*.b.example", "192.0.2.1", "2001:db8::1"]);
    assert_eq!((bundle.not_before(), bundle.not_after()), (NOW - DAY, NOW + 89 * DAY));
    let leaf = X509::from_pem(bundle.files().cert.as_bytes()).unwrap();
    assert_eq!(bundle.leaf(), Digest::of(&leaf.to_der().unwrap()));
}

#[test]
fn each_damage_is_named_by_its_file() {
    let good = Parts::good();
    let other = Parts::good();
    let damaged = |change: &dyn Fn(&mut PemFiles)| {
        let mut files = good.files();
        change(&mut files);
        refusal(files)
    };
    let cut = |text: &str| text[..text.len() / 2].to_owned();
    for (says, change) in [
        ("cert.pem is empty", &(|f: &mut PemFiles| f.cert.clear()) as &dyn Fn(&mut PemFiles)),
        ("privkey.pem is empty", &|f| f.privkey = Zeroizing::new(" \n".into())),
        ("fullchain.pem is empty", &|f| f.fullchain.clear()),
        ("cert.pem holds no whole certificate", &|f| f.cert = cut(&f.cert)),
        ("fullchain.pem holds no whole certificate", &|f| f.fullchain.truncate(f.fullchain.len() - 40)),
        ("privkey.pem holds no whole private key", &|f| f.privkey = Zeroizing::new(cut(&f.privkey))),
        ("privkey.pem is encrypted or not a private key", &|f| f.privkey = Zeroizing::new(f.cert.clone())),
        ("cert.pem holds 2 certificates", &|f| f.cert = f.fullchain.clone()),
        ("the leaf is without its chain", &|f| f.chain.clear()),
        ("the leaf is without its chain", &|f| f.fullchain = f.cert.clone()),
        ("privkey.pem does not match", &|f| f.privkey = Zeroizing::new(other.key.clone())),
        ("the chain is broken: certificate 1", &|f| f.fullchain = format!("{}{}", f.chain, f.cert)),
        ("the chain is broken: certificate 1", &|f| f.fullchain = format!("{}{}", f.cert, other.chain)),
        ("fullchain.pem is not cert.pem followed by chain.pem", &|f| f.chain = other.chain.clone()),
        ("chain.pem holds no whole certificate", &|f| f.chain.push_str("-----BEGIN X-----\nAAAA\n-----END X-----\n")),
        ("chain.pem holds a private key", &|f| f.chain = format!("{}{}", f.chain, f.privkey.replace("BEGIN", "BEG1N"))),
        ("cert.pem holds no whole certificate", &|f| f.cert = with_more_behind_it(&f.cert)),
        ("privkey.pem has", &|f| f.privkey = Zeroizing::new("x".repeat(200_000))),
    ] {
        let message = damaged(change);
        assert!(message.contains(says), "expected \"{says}\", got \"{message}\"");
    }
}

#[test]
fn an_encrypted_key_is_refused_and_nobody_is_asked_for_a_passphrase() {
    let mut files = Parts::good().files();
    let key = PKey::private_key_from_pem(files.privkey.as_bytes()).unwrap();
    let cipher = openssl::symm::Cipher::aes_128_cbc();
    for passphrase in [&b"secret"[..], b""] {
        let encrypted = key.private_key_to_pem_pkcs8_passphrase(cipher, passphrase).unwrap();
        files.privkey = Zeroizing::new(String::from_utf8(encrypted).unwrap());
        assert!(refusal(files.clone()).contains("encrypted"));
    }
}

#[test]
fn dates_are_judged_for_leaf_and_chain() {
    let names = ["a.example"];
    assert!(refusal(Parts::with((-90, -1), (-100, 900), &names).files()).contains("cert.pem expired on 20"));
    assert!(
        refusal(Parts::with((-1, 89), (-100, -1), &names).files()).contains("certificate 2 of fullchain.pem expired")
    );
    assert!(refusal(Parts::with((2, 89), (-100, 900), &names).files()).contains("clock"));
    assert!(refusal(Parts::with((-1, 89), (-100, 900), &[]).files()).contains("for no DNS name"));
}

#[test]
fn a_key_is_never_shown() {
    let files = Parts::good().files();
    let shown = format!("{files:?} {:?}", Bundle::check(files.clone(), NOW).unwrap());
    let secret = files.privkey.lines().nth(1).unwrap();
    assert!(!shown.contains(secret) && !shown.contains("PRIVATE"), "{shown}");
}

#[test]
fn a_part_is_known_by_the_name_of_its_file() {
    for (part, link, file) in [
        (Part::Cert, "cert.pem", "cert12.pem"),
        (Part::Privkey, "privkey.pem", "privkey12.pem"),
        (Part::Chain, "chain.pem", "chain12.pem"),
        (Part::Fullchain, "fullchain.pem", "fullchain12.pem"),
    ] {
        let number = 12.try_into().unwrap();
        assert_eq!((part.link().as_str(), part.file(number).as_str()), (link, file));
        assert_eq!(Part::of_file(file), Some((part, number)));
    }
    for other in ["cert.pem", "cert0.pem", "cert01.pem", "cert+1.pem", "cert1.pem~", "xcert1.pem", "key1.pem", ""] {
        assert_eq!(Part::of_file(other), None, "{other}");
    }
}

#[test]
fn each_limit_is_exact() {
    let root = issuer("root", None, (-900, 900));
    let middle = issuer("middle", Some(&root), (-100, 900));
    let key = new_key();
    let leaf = issue("leaf", &key, Some(&middle), (-1, 89), &["a.example"]);
    let with = |roots: usize, chain_bytes: usize| {
        let mut chain = middle.pem.clone() + &root.pem.repeat(roots);
        chain.insert_str(0, &"#".repeat(chain_bytes.saturating_sub(chain.len() + 1)));
        Parts { leaf: format!("{leaf}\n"), key: pem_of(&key), chain: chain.replacen("#-", "#\n-", 1) }.files()
    };
    let only_chain = |chain_bytes| PemFiles { fullchain: with(1, 0).fullchain, ..with(1, chain_bytes) };
    assert_eq!(only_chain(131_072).chain.len(), 131_072);
    Bundle::check(only_chain(131_072), NOW).unwrap();
    assert!(refusal(only_chain(131_073)).contains("chain.pem has 131073 bytes, at most 131072"));
    Bundle::check(with(9, 0), NOW).unwrap();
    assert!(refusal(with(10, 0)).contains("chain.pem holds 11 certificates, at most 10"));
    // An hour for the difference between two clocks, and not a second past the end.
    let at = |now| Bundle::check(with(1, 0), now);
    at(NOW - DAY - 3600).unwrap();
    assert!(matches!(at(NOW - DAY - 3601), Err(BundleError::NotYetValid(_))));
    at(NOW + 89 * DAY - 1).unwrap();
    assert!(matches!(at(NOW + 89 * DAY), Err(BundleError::Expired(_))));
}

#[test]
fn a_leaf_is_read_whatever_else_is_in_its_file() {
    let (good, other) = (Parts::good(), Parts::good());
    let digest = |pem: &str| Leaf::read(pem).map(|leaf| leaf.digest).ok();
    let leaf = digest(&good.leaf);
    assert!(leaf.is_some() && leaf != digest(&other.leaf));
    let parameters = "-----BEGIN DH PARAMETERS-----\nMAA=\n-----END DH PARAMETERS-----\n";
    let torn = &other.leaf[..other.leaf.len() / 2];
    for beside in [parameters, &good.key, &other.leaf, torn] {
        assert_eq!(digest(&format!("{}{beside}", good.leaf)), leaf, "{beside}");
    }
    assert_eq!(digest(&format!("{}{}", good.key, good.leaf)), leaf);
    for none in ["", parameters, torn, &format!("{torn}{}", good.leaf), &with_more_behind_it(&good.leaf)] {
        assert_eq!(digest(none), None, "{none}");
    }
}

#[test]
fn what_is_only_out_of_date_is_not_damaged() {
    let damage = |files: PemFiles, now: i64| Bundle::check(files, now).unwrap_err().is_damage();
    let good = || Parts::good().files();
    assert!(!damage(good(), NOW + 90 * DAY) && !damage(good(), NOW - 2 * DAY));
    assert!(!damage(Parts::with((-1, 89), (-100, -1), &["a.example"]).files(), NOW));
    assert!(damage(PemFiles { cert: String::new(), ..good() }, NOW));
    assert!(damage(PemFiles { privkey: good().privkey, ..good() }, NOW));
}

#[test]
fn a_pair_can_be_served_whatever_is_wrong_beside_it() {
    let (good, other) = (Parts::good(), Parts::good());
    let can = |change: &dyn Fn(&mut PemFiles)| {
        let mut files = good.files();
        change(&mut files);
        can_be_served(&files)
    };
    assert!(can(&|_| {}));
    assert!(can(&|files| files.chain.clear()) && can(&|files| files.cert.clear()));
    assert!(can(&|files| files.fullchain = good.leaf.clone()));
    assert!(can(&|files| files.fullchain += "-----BEGIN DH PARAMETERS-----\nMAA=\n-----END DH PARAMETERS-----\n"));
    let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n";
    assert!(can(&|files| files.privkey = Zeroizing::new(locked.into())));
    assert!(!can(&|files| files.privkey = other.files().privkey) && !can(&|files| files.privkey.clear()));
    assert!(!can(&|files| files.fullchain = other.files().fullchain) && !can(&|files| files.fullchain.clear()));
    assert!(!can(&|files| files.fullchain.truncate(100)));
}
