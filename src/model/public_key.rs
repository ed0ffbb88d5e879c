//! A public ssh key, as `authorized_keys` and `known_hosts` have it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Not a public key.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("not a public ssh key, such as 'ssh-ed25519 AAAA…'")]
pub struct NoKey;

/// Its type and its bytes in base64, without a comment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey {
    kind: String,
    base64: String,
}

impl PublicKey {
    /// The key's bytes in base64: what says that two lines have the same key.
    pub fn base64(&self) -> &str {
        &self.base64
    }
}

impl FromStr for PublicKey {
    type Err = NoKey;

    fn from_str(text: &str) -> Result<Self, NoKey> {
        let mut words = text.split_ascii_whitespace();
        let (Some(kind), Some(base64)) = (words.next(), words.next()) else { return Err(NoKey) };
        let is_kind = |c: char| c.is_ascii_alphanumeric() || "-@.".contains(c);
        let blob = openssl::base64::decode_block(base64).map_err(|_| NoKey)?;
        // The bytes begin with the type's length and the type (RFC 4253 section 6.6).
        let named = blob.get(4..).is_some_and(|rest| rest.starts_with(kind.as_bytes()));
        if kind.len() > 64 || !kind.chars().all(is_kind) || !named || text.trim().contains(['\n', '\r']) {
            return Err(NoKey);
        }
        Ok(PublicKey { kind: kind.to_owned(), base64: base64.to_owned() })
    }
}

impl TryFrom<String> for PublicKey {
    type Error = NoKey;
    fn try_from(text: String) -> Result<Self, NoKey> {
        text.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> String {
        key.to_string()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.base64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_line_whose_bytes_name_its_type() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFNpfP8qPEN4ZU0lXyMpCk0l9y7nn0kOrJ0wXUVaYdBl";
        assert_eq!(format!("{key} root@web1\n").parse::<PublicKey>().unwrap().to_string(), key);
        for wrong in [
            "",
            "ssh-ed25519",
            "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIFNpfP8qPEN4ZU0lXyMpCk0l9y7nn0kOrJ0wXUVaYdBl",
            "command=\"id\" ssh-ed25519 AAAA",
            "ssh-ed25519 !!!!",
            &format!("{key}\n{key}"),
        ] {
            assert_eq!(wrong.parse::<PublicKey>(), Err(NoKey), "{wrong}");
        }
        // Bytes that name their type right: what it is made of goes into authorized_keys.
        for kind in ["ssh-\"id", "ssh-id", &"x".repeat(65)] {
            let base64 = openssl::base64::encode_block(&[&[0, 0, 0, 7], kind.as_bytes()].concat());
            let is_fit = format!("{kind} {base64}").parse::<PublicKey>().is_ok();
            assert_eq!(is_fit, kind == "ssh-id", "{kind}");
        }
    }
}
