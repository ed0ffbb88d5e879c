//! The small values of a configuration: each is read from text once and cannot be wrong afterwards.

use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use thiserror::Error as ThisError;
use toml::Spanned;

use crate::model::escape::escaped;

/// Why a text is not the value that its key wants. `Display` ends in ", expected …", which
/// the diagnostic prints under the caret.
#[derive(Debug, ThisError, PartialEq, Eq)]
#[error("{found}, expected {expected}")]
pub struct ValueError {
    found: String,
    expected: &'static str,
}

impl ValueError {
    /// Names the text, what is wrong with it, and what would be right.
    pub(super) fn new(text: &str, wrong: &str, expected: &'static str) -> Self {
        Self::unshown(format!("\"{}\" {wrong}", escaped(text)), expected)
    }

    /// As [`ValueError::new`] for a text that may hold a secret and is not repeated.
    pub(super) fn unshown(found: impl Into<String>, expected: &'static str) -> Self {
        ValueError { found: found.into(), expected }
    }
}

/// A TOML string read by its type's `FromStr`, so that the parser knows where a bad one stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Text<T>(pub T);

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read<T>(PhantomData<T>);

        // Read inside the visitor: an error from here gets this string's place, one that is made
        // after `String::deserialize` the place of the whole list.
        impl<T: FromStr<Err: Display>> Visitor<'_> for Read<T> {
            type Value = Text<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                text.parse().map(Text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Read(PhantomData))
    }
}

/// A table whose keys are the user's own. A map type would let a second spelling of one key
/// ("A.example", "a.example") silently replace the first.
#[derive(Debug)]
pub(super) struct Pairs<K, V>(pub Vec<Pair<K, V>>);

type Pair<K, V> = (Spanned<Text<K>>, Spanned<Text<V>>);

impl<K, V> Default for Pairs<K, V> {
    fn default() -> Self {
        Pairs(Vec::new())
    }
}

impl<'de, K: FromStr<Err: Display>, V: FromStr<Err: Display>> Deserialize<'de> for Pairs<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<K, V>(PhantomData<(K, V)>);

        impl<'de, K: FromStr<Err: Display>, V: FromStr<Err: Display>> Visitor<'de> for Entries<K, V> {
            type Value = Pairs<K, V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

/// A length of time such as "500ms", "60s", "2m", "1h" or "7d": more than none, at most 366 days,
/// so that adding it to a clock cannot overflow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span(pub Duration);

impl FromStr for Span {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        const EXPECTED: &str = "a whole number and a unit: \"500ms\", \"60s\", \"2m\", \"1h\" or \"7d\"";
        let wrong = |why| ValueError::new(text, why, EXPECTED);
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let unit_ms: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong("is not a length of time")),
        };
        if number.is_empty() {
            return Err(wrong("is not a length of time"));
        }
        let most = 366 * 86_400_000;
        match number.parse::<u64>().ok().and_then(|n| n.checked_mul(unit_ms)) {
            Some(0) => Err(wrong("is no time at all")),
            Some(ms) if ms <= most => Ok(Span(Duration::from_millis(ms))),
            _ => Err(wrong("is longer than 366 days")),
        }
    }
}

/// An absolute path without `..`: the same file whatever the working directory is.
#[derive(Clone, Debug)]
pub(super) struct Absolute(pub PathBuf);

impl FromStr for Absolute {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        const EXPECTED: &str = "an absolute path such as \"/etc/letsencrypt\"";
        let wrong = |why| Err(ValueError::new(text, why, EXPECTED));
        if text.is_empty() {
            return wrong("is empty");
        }
        if text.contains('\0') {
            return wrong("holds a NUL character");
        }
        if !text.starts_with('/') {
            return wrong("is a relative path");
        }
        if Path::new(text).components().any(|part| part.as_os_str() == "..") {
            return wrong("holds ..");
        }
        if text.len() >= 4096 {
            return wrong("is longer than a path may be");
        }
        Ok(Absolute(PathBuf::from(text)))
    }
}

/// An address that one server can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Address(pub IpAddr);

impl Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Address {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        const EXPECTED: &str = "an IPv4 or IPv6 address such as \"192.0.2.1\" or \"2001:db8::1\"";
        match text.parse::<IpAddr>() {
            Ok(ip) if ip.is_unspecified() || ip.is_multicast() => {
                Err(ValueError::new(text, "is not the address of one server", EXPECTED))
            }
            // One spelling each: `::ffff:192.0.2.1` is `192.0.2.1`.
            Ok(ip) => Ok(Address(ip.to_canonical())),
            Err(_) => Err(ValueError::new(text, "is not an IP address", EXPECTED)),
        }
    }
}

/// Where an address is proven that this node cannot reach itself: at another one, or nowhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct Instead(pub Option<IpAddr>);

impl FromStr for Instead {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if text == "nowhere" {
            return Ok(Instead(None));
        }
        let address = text.parse::<Address>().map_err(|_| {
            ValueError::new(text, "is no place to ask", "an address that this node reaches, or \"nowhere\"")
        });
        Ok(Instead(Some(address?.0)))
    }
}

/// The mode of a private key: its owner may read it, a group may, nobody else ever.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyMode(pub u32);

impl FromStr for KeyMode {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        const EXPECTED: &str = "\"0400\", \"0440\", \"0600\", \"0640\" or \"0660\"";
        match text {
            "0400" => Ok(KeyMode(0o400)),
            "0440" => Ok(KeyMode(0o440)),
            "0600" => Ok(KeyMode(0o600)),
            "0640" => Ok(KeyMode(0o640)),
            "0660" => Ok(KeyMode(0o660)),
            _ => Err(ValueError::new(text, "is not a mode for a private key", EXPECTED)),
        }
    }
}

/// A group's name or number, which can never be an option of a command.
#[derive(Clone, Debug)]
pub(super) struct Group(pub String);

impl FromStr for Group {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if text.is_empty() || text.len() > 32 || text.starts_with(['-', '.']) || !text.chars().all(fit) {
            return Err(ValueError::new(text, "is not a group", "a group's name or number such as \"ssl-cert\""));
        }
        Ok(Group(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Absolute, Address, Group, KeyMode, Span};
    use std::time::Duration;

    #[test]
    fn a_length_of_time_has_a_number_and_a_unit_and_an_end() {
        for (text, ms) in [("500ms", 500), ("60s", 60_000), ("2m", 120_000), ("1h", 3_600_000), ("7d", 604_800_000)] {
            assert_eq!(text.parse::<Span>().unwrap().0, Duration::from_millis(ms), "{text}");
        }
        for bad in ["", "60", "s", "-1s", "+1s", "1.5s", "1 s", "1S", "1m30s", "0s", "367d", "99999999999999999999s"] {
            assert!(bad.parse::<Span>().is_err(), "{bad:?} was accepted");
        }
        assert!("18446744073709551615d".parse::<Span>().is_err(), "the product overflows");
    }

    #[test]
    fn paths_are_absolute_and_plain() {
        assert!("/etc/letsencrypt".parse::<Absolute>().is_ok());
        for bad in ["", "etc", "./etc", "~/x", "/a/../b", "/..", "/a\0b"] {
            assert!(bad.parse::<Absolute>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn a_private_key_is_never_for_everybody() {
        for (text, mode) in [("0400", 0o400), ("0440", 0o440), ("0600", 0o600), ("0640", 0o640), ("0660", 0o660)] {
            assert_eq!(text.parse::<KeyMode>().unwrap().0, mode);
        }
        for bad in ["0644", "640", "0604", "0000", "0777", "rw-"] {
            assert!(bad.parse::<KeyMode>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn a_group_has_a_name_or_a_number_and_is_no_option() {
        for text in ["ssl-cert", "_ssl.cert", "1234", &"x".repeat(32)] {
            assert_eq!(text.parse::<Group>().unwrap().0, text);
        }
        for bad in ["", "-R", ".ssl", "ssl cert", "a:b", "gruppé", &"x".repeat(33)] {
            assert!(bad.parse::<Group>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn an_address_belongs_to_one_server() {
        for bad in ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "192.0.2.0/24", "web1", "fe80::1%eth0"] {
            assert!(bad.parse::<Address>().is_err(), "{bad:?} was accepted");
        }
        assert!("2001:db8::1".parse::<Address>().is_ok());
    }
}
