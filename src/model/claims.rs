//! The names that a server may show a certificate for: more than a visitor would accept, and as servers read them.
//!
//! haproxy takes the common name too, and ends a name at a zero byte. What a thief's certificate is for must not depend on
//! who reads it, so nothing in it that could be a name is passed over here.

use std::collections::BTreeSet;

use openssl::nid::Nid;
use openssl::x509::{GeneralNameRef, X509, X509Ref};

/// What one certificate lays claim to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Looked up, never compared one by one: a thief's certificate may have thousands.
    names: BTreeSet<String>,
}

impl Claims {
    /// Reads the first certificate of a PEM text. None: there is none, or it has a name that cannot be read.
    pub fn read(pem: &str) -> Option<Claims> {
        let leaf = X509::stack_from_pem(pem.as_bytes()).ok()?.into_iter().next()?;
        Some(Claims { names: of_alternatives(&leaf)?.into_iter().chain(of_subject(&leaf)?).collect() })
    }

    /// Claims that another certificate does not make already.
    #[must_use]
    pub fn beyond(mut self, other: &Claims) -> Claims {
        self.names.retain(|name| !other.covers(name));
        self
    }

    /// A claim that meets one of another certificate; a wildcard meets what it covers.
    pub fn meeting(&self, other: &Claims) -> Option<&str> {
        let above: BTreeSet<_> = other.names.iter().filter_map(|name| wildcard_of(name)).collect();
        let meets = |name: &&String| other.covers(name) || above.contains(*name);
        self.names.iter().find(meets).map(String::as_str)
    }

    /// Whether whoever has these has that name: a wildcard stands for one label.
    fn covers(&self, name: &str) -> bool {
        self.names.contains(name) || wildcard_of(name).is_some_and(|wildcard| self.names.contains(&wildcard))
    }
}

fn wildcard_of(name: &str) -> Option<String> {
    name.split_once('.').map(|(_, parent)| format!("*.{parent}"))
}

fn of_alternatives(leaf: &X509Ref) -> Option<Vec<String>> {
    let Some(alternatives) = leaf.subject_alt_names() else { return Some(Vec::new()) };
    let name = |name: &GeneralNameRef| {
        if let Some(bytes) = name.ipaddress() {
            let v4 = <[u8; 4]>::try_from(bytes).map(std::net::IpAddr::from);
            return Some(v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(std::net::IpAddr::from)).ok()?.to_string());
        }
        // No server takes a mail address or a URL for a name; nor is it one, so it meets nothing.
        name.dnsname().or_else(|| name.email()).or_else(|| name.uri()).map(plain)
    };
    alternatives.iter().filter(|name| name.directory_name().is_none()).map(name).collect()
}

fn of_subject(leaf: &X509Ref) -> Option<Vec<String>> {
    let entries = leaf.subject_name().entries_by_nid(Nid::COMMONNAME);
    entries.map(|entry| entry.data().to_string().ok().map(|text| plain(&text))).collect()
}

fn plain(name: &str) -> String {
    name.split('\0').next().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use openssl::asn1::{Asn1Object, Asn1Time};
    use openssl::hash::MessageDigest;
    use openssl::pkey::PKey;
    use openssl::x509::X509NameBuilder;
    use openssl::x509::extension::SubjectAlternativeName;

    use super::*;

    fn claims(common: &[&str], alternatives: &[&str]) -> Option<Claims> {
        let key = PKey::generate_ed25519().unwrap();
        let mut subject = X509NameBuilder::new().unwrap();
        for name in common {
            subject.append_entry_by_nid(Nid::COMMONNAME, name).unwrap();
        }
        let mut builder = X509::builder().unwrap();
        builder.set_subject_name(&subject.build()).unwrap();
        builder.set_pubkey(&key).unwrap();
        builder.set_version(2).unwrap();
        builder.set_not_before(&Asn1Time::from_unix(0).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::from_unix(1).unwrap()).unwrap();
        if !alternatives.is_empty() {
            let mut extension = SubjectAlternativeName::new();
            for name in alternatives {
                match name.parse::<std::net::IpAddr>() {
                    Ok(_) => extension.ip(name),
                    Err(_) if *name == "other:" => {
                        extension.other_name2(Asn1Object::from_str("1.2.3").unwrap(), b"\x0c\x01x")
                    }
                    Err(_) => extension.dns(name),
                };
            }
            let extension = extension.build(&builder.x509v3_context(None, None)).unwrap();
            builder.append_extension(extension).unwrap();
        }
        builder.sign(&key, MessageDigest::null()).unwrap();
        Claims::read(&String::from_utf8(builder.build().to_pem().unwrap()).unwrap())
    }

    fn of(names: &[&str]) -> Claims {
        claims(&[], names).unwrap()
    }

    #[test]
    fn a_wildcard_meets_what_it_covers_whoever_has_it_and_nothing_else() {
        for (one, other, meet) in [
            ("a.test", "a.test", true),
            ("A.test", "a.TEST.", true),
            ("a.test", "b.test", false),
            ("*.test.test", "a.test.test", true),
            ("a.test.test", "*.test.test", true),
            ("*.test.test", "*.test.test", true),
            ("*.test.test", "test.test", false),
            ("*.test.test", "a.b.test.test", false),
            ("*.b.test.test", "*.test.test", false),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("2001:db8::1", "2001:db8:0:0::1", true),
        ] {
            assert_eq!(of(&[one]).meeting(&of(&[other])).is_some(), meet, "{one} {other}");
        }
        let several = of(&["evil.test", "www.site.test", "z.test"]);
        assert_eq!(several.meeting(&of(&["x.test", "*.site.test"])), Some("www.site.test"));
        assert_eq!(of(&["a.test"]).meeting(&claims(&["A free text"], &[]).unwrap()), None);
    }

    #[test]
    fn claims_beyond_another_certificates_are_those_that_it_does_not_cover() {
        let beyond = |new: &[&str], old: &[&str]| of(new).beyond(&of(old)).names.into_iter().collect::<Vec<_>>();
        assert_eq!(beyond(&["a.test", "b.test"], &["a.test"]), ["b.test"]);
        assert_eq!(beyond(&["a.b.test"], &["*.b.test"]), [""; 0]);
        assert_eq!(beyond(&["*.b.test"], &["a.b.test"]), ["*.b.test"]);
    }

    #[test]
    fn as_many_names_as_fit_into_a_file_are_compared_in_no_time() {
        let many = |tag: &str| Claims { names: (0..20_000).map(|n| format!("{tag}{n}.test")).collect() };
        let (one, other) = (many("a"), many("b"));
        let begun = std::time::Instant::now();
        assert_eq!(one.meeting(&other), None);
        // One by one it would be 400 million pairs.
        assert!(begun.elapsed() < std::time::Duration::from_secs(2), "{:?}", begun.elapsed());
    }

    #[test]
    fn a_common_name_and_a_name_that_ends_in_its_middle_are_claims_too() {
        let site = of(&["www.site.test"]);
        assert_eq!(
            claims(&["evil.test", "WWW.site.test"], &["evil.test"]).unwrap().meeting(&site),
            Some("www.site.test")
        );
        let cut = claims(&["www.site.test\0.evil.test"], &["evil.test"]).unwrap();
        assert_eq!(cut.meeting(&site), Some("www.site.test"));
        assert_eq!(Claims::read("no certificate"), None);
        // Neither an address nor a text: of another type, which may be anything.
        assert_eq!(claims(&[], &["other:"]), None);
    }
}
