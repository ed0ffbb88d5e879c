//! Names that are data and can never be a path or an option.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::escape::escaped;

/// Why a text is not a name.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum NameError {
    /// Nothing there.
    #[error("the {0} is empty")]
    Empty(&'static str),
    /// Longer than any file system or protocol takes.
    #[error("the {0} has {1} bytes, {2} are allowed")]
    TooLong(&'static str, usize, usize),
    /// A character or form that would make it a path, an option or a terminal escape.
    #[error("the {0} \"{1}\" {2}")]
    Unfit(&'static str, String, &'static str),
}

macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The checked text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                $check(text).map($name)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_type!(
    /// certbot's name for one certificate's history: the last component of `live/NAME`.
    ///
    /// Any text that is one path component, as certbot allows (spaces included), but not hidden, not
    /// an option and without control characters: certbot 2.1.0 itself accepted `../evil`.
    LineageName,
    check_lineage
);

text_type!(
    /// A server's name in the configuration, messages and alerts.
    NodeName,
    check_node
);

text_type!(
    /// A user of a server, as useradd(8) takes one.
    UserName,
    check_user
);

fn bounded(what: &'static str, text: &str, most: usize) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty(what));
    }
    if text.len() > most {
        return Err(NameError::TooLong(what, text.len(), most));
    }
    Ok(())
}

fn check_lineage(text: &str) -> Result<String, NameError> {
    const WHAT: &str = "lineage name";
    // 255 is NAME_MAX; 55 bytes are left for what a transaction puts around the name.
    bounded(WHAT, text, 200)?;
    let unfit = |why| Err(NameError::Unfit(WHAT, escaped(text), why));
    if text.contains('/') {
        return unfit("contains a slash");
    }
    if text.starts_with('.') {
        return unfit("begins with a dot");
    }
    if text.starts_with('-') {
        return unfit("begins with a dash");
    }
    if text == "README" {
        return unfit("is a file that certbot keeps there");
    }
    if escaped(text) != text {
        return unfit("contains control characters or ends in white space");
    }
    Ok(text.to_owned())
}

fn check_node(text: &str) -> Result<String, NameError> {
    const WHAT: &str = "node name";
    bounded(WHAT, text, 64)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if !text.chars().all(plain) || text.starts_with(['.', '-']) {
        return Err(NameError::Unfit(
            WHAT,
            escaped(text),
            "may hold letters, digits, dot, dash and underscore, and begins with none of .-",
        ));
    }
    Ok(text.to_owned())
}

fn check_user(text: &str) -> Result<String, NameError> {
    const WHAT: &str = "user name";
    bounded(WHAT, text, 32)?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    if !text.chars().all(plain) || text.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
        let why = "may hold lower-case letters, digits, dash and underscore, and begins with a letter or underscore";
        return Err(NameError::Unfit(WHAT, escaped(text), why));
    }
    Ok(text.to_owned())
}

/// What a certificate is for: a DNS name or an IP address (RFC 8738).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Identifier {
    /// A lower-case host name in its A-label (punycode) form; the first label may be `*`.
    Dns(String),
    /// An IP address.
    Ip(IpAddr),
}

impl Identifier {
    /// Whether this is a wildcard name, which HTTP-01 cannot validate (RFC 8555 §8.3).
    pub fn is_wildcard(&self) -> bool {
        matches!(self, Identifier::Dns(name) if name.starts_with("*."))
    }
}

impl FromStr for Identifier {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        const WHAT: &str = "host name";
        bounded(WHAT, text, 253)?;
        if let Ok(address) = text.parse() {
            return Ok(Identifier::Ip(address));
        }
        let name = text.to_ascii_lowercase();
        let labels = name.strip_prefix("*.").unwrap_or(&name);
        let fit = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        };
        // A URL takes a last label that is a number, `1.2.3` or `a.0x7f`, for an address in an old way of writing.
        let last = labels.rsplit('.').next().unwrap_or_default();
        let is_number = last.bytes().all(|byte| byte.is_ascii_digit())
            || last.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
        if is_number || !labels.split('.').all(fit) {
            return Err(NameError::Unfit(
                WHAT,
                escaped(text),
                "is not a DNS name of letters, digits, dashes and dots (an IDN in its xn-- form)",
            ));
        }
        Ok(Identifier::Dns(name))
    }
}

impl TryFrom<String> for Identifier {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Identifier> for String {
    fn from(identifier: Identifier) -> String {
        identifier.to_string()
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Identifier::Dns(name) => f.write_str(name),
            Identifier::Ip(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lineage_names_are_data_and_never_a_path_or_an_option() {
        for good in ["www.site.com", "www.site.com-0001", "my site", "bücher.example", "a'b\"c;$(x)"] {
            assert_eq!(good.parse::<LineageName>().map(String::from), Ok(good.to_owned()));
        }
        for bad in
            ["", ".", "..", "../evil", "a/b", "/a", "-rf", ".hidden", "a\0b", "a\nb", "\u{1b}[0m", "README", "a "]
        {
            assert!(bad.parse::<LineageName>().is_err(), "{bad:?} was accepted");
        }
        assert!("x".repeat(201).parse::<LineageName>().is_err());
    }

    #[test]
    fn identifiers_are_dns_names_in_a_labels_or_addresses() {
        for good in ["a.example", "*.a.example", "xn--bcher-kva.example", "192.0.2.1", "2001:db8::1", "_x.a"] {
            assert!(good.parse::<Identifier>().is_ok(), "{good}");
        }
        for bad in ["", "a..b", "-a.b", "a b", "bücher.example", "a/b", "*", "a.*.b", ".a", "1.2.3", "a.0x7f"] {
            assert!(bad.parse::<Identifier>().is_err(), "{bad}");
        }
        assert_eq!("WWW.A.example".parse::<Identifier>().map(String::from), Ok("www.a.example".into()));
        let is_wildcard = |text: &str| text.parse::<Identifier>().is_ok_and(|name| name.is_wildcard());
        assert!(is_wildcard("*.a.example") && !is_wildcard("a.example") && !is_wildcard("192.0.2.1"));
    }

    #[test]
    fn node_names_are_plain() {
        assert!("web-1.site_a".parse::<NodeName>().is_ok());
        for bad in ["", "-a", ".a", "a b", "a/b", "ä"] {
            assert!(bad.parse::<NodeName>().is_err(), "{bad}");
        }
    }
}
