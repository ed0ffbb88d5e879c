//! An ACME HTTP-01 challenge (RFC 8555 §8.3): a token and the validation to serve for it.

use std::fmt;
use std::io;
use std::str::FromStr;

use openssl::base64::encode_block;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::names::Identifier;

/// The path below a webroot where challenges live (RFC 8555 §8.3).
pub const WELL_KNOWN: [&str; 2] = [".well-known", "acme-challenge"];

/// Why a token or validation is unfit.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ChallengeError {
    /// RFC 8555 §8.3: base64url without padding; at least 128 bits, so 22 characters.
    #[error("the token is not 16 to 128 characters of base64url (RFC 8555 section 8.3)")]
    Token,
    /// RFC 8555 §8.1: `token || '.' || base64url(SHA-256 thumbprint)`.
    #[error("the validation is not the token, a dot and a 43-character key thumbprint (RFC 8555 section 8.1)")]
    Validation,
    /// RFC 7638: base64url of a SHA-256.
    #[error("the account is not the 43 characters of base64url after the dot of a validation (RFC 8555 section 8.1)")]
    Thumbprint,
}

/// A challenge's token: base64url characters only, so it is always a plain file name.
///
/// 22 characters are the least that RFC 8555 allows; 16 are accepted here, since the bound only
/// keeps nonsense out. What matters is the alphabet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Token(String);

impl Token {
    /// A new one, as a CA makes them: 256 random bits.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0; 32];
        openssl::rand::rand_bytes(&mut bytes).map_err(io::Error::other)?;
        Ok(Token(base64url(&bytes)))
    }

    /// The token's text, which is also its file name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Token {
    type Err = ChallengeError;

    fn from_str(text: &str) -> Result<Self, ChallengeError> {
        let fit = (16..=128).contains(&text.len()) && text.bytes().all(is_base64url);
        fit.then(|| Token(text.to_owned())).ok_or(ChallengeError::Token)
    }
}

impl TryFrom<String> for Token {
    type Error = ChallengeError;
    fn try_from(text: String) -> Result<Self, ChallengeError> {
        text.parse()
    }
}

impl From<Token> for String {
    fn from(token: Token) -> String {
        token.0
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The fingerprint of an ACME account's key (RFC 8555 §8.1, RFC 7638): what a validation says after its dot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Thumbprint(String);

impl FromStr for Thumbprint {
    type Err = ChallengeError;

    fn from_str(text: &str) -> Result<Self, ChallengeError> {
        let fit = text.len() == 43 && text.bytes().all(is_base64url);
        fit.then(|| Thumbprint(text.to_owned())).ok_or(ChallengeError::Thumbprint)
    }
}

impl TryFrom<String> for Thumbprint {
    type Error = ChallengeError;
    fn try_from(text: String) -> Result<Self, ChallengeError> {
        text.parse()
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Thumbprint {
    /// Of a key in RFC 7638's canonical form.
    pub fn of(canonical: &[u8]) -> Self {
        Thumbprint(base64url(&openssl::sha::sha256(canonical)))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What must be served, by whom it was asked: one name's token and validation, matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked", into = "Unchecked")]
pub struct Challenge {
    name: Identifier,
    token: Token,
    validation: String,
}

#[derive(Serialize, Deserialize)]
struct Unchecked {
    name: Identifier,
    token: Token,
    validation: String,
}

impl Challenge {
    /// Matches a validation with its token.
    pub fn new(name: Identifier, token: Token, validation: &str) -> Result<Self, ChallengeError> {
        let account = validation.strip_prefix(token.as_str()).and_then(|rest| rest.strip_prefix('.'));
        account.ok_or(ChallengeError::Validation)?.parse::<Thumbprint>().map_err(|_| ChallengeError::Validation)?;
        Ok(Challenge { name, token, validation: validation.to_owned() })
    }

    /// One that no CA gave, for an account: for a rehearsal.
    pub fn made_up(name: Identifier, account: &Thumbprint) -> io::Result<Self> {
        let token = Token::random()?;
        let validation = format!("{token}.{}", account.as_str());
        Ok(Challenge { name, token, validation })
    }

    /// The name that the CA validates.
    pub fn name(&self) -> &Identifier {
        &self.name
    }

    /// The file's name.
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// The file's content.
    pub fn validation(&self) -> &str {
        &self.validation
    }

    /// The ACME account it was asked for.
    pub fn account(&self) -> Thumbprint {
        // `new` has seen that this is one.
        Thumbprint(self.validation[self.token.0.len() + 1..].to_owned())
    }

    /// The path the CA asks for.
    pub fn url_path(&self) -> String {
        format!("/{}/{}/{}", WELL_KNOWN[0], WELL_KNOWN[1], self.token)
    }
}

impl TryFrom<Unchecked> for Challenge {
    type Error = ChallengeError;
    fn try_from(raw: Unchecked) -> Result<Self, ChallengeError> {
        Challenge::new(raw.name, raw.token, &raw.validation)
    }
}

impl From<Challenge> for Unchecked {
    fn from(challenge: Challenge) -> Unchecked {
        Unchecked { name: challenge.name, token: challenge.token, validation: challenge.validation }
    }
}

/// RFC 4648 section 5, without padding.
fn base64url(bytes: &[u8]) -> String {
    encode_block(bytes).trim_end_matches('=').replace('+', "-").replace('/', "_")
}

fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJyPCt95vq5Y4";
    const PRINT: &str = "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI";

    fn challenge(token: &str, validation: &str) -> Result<Challenge, ChallengeError> {
        Challenge::new(Identifier::Dns("a.example".into()), token.parse()?, validation)
    }

    #[test]
    fn a_token_is_always_a_plain_file_name() {
        let long = "x".repeat(10_000);
        for bad in
            ["", "../x", "/x", "a\0b", "short", "../../../../../etc/passwd", "aaaaaaaaaaaaaaaaaaaaaaaaa.txt", &long]
        {
            assert_eq!(bad.parse::<Token>(), Err(ChallengeError::Token), "{bad:?}");
        }
        assert!(TOKEN.parse::<Token>().is_ok());
    }

    #[test]
    fn a_challenge_is_served_and_sent_as_it_was_given() {
        let challenge = challenge(TOKEN, &format!("{TOKEN}.{PRINT}")).unwrap();
        assert_eq!((challenge.token().as_str(), challenge.validation()), (TOKEN, format!("{TOKEN}.{PRINT}").as_str()));
        assert_eq!(challenge.url_path(), format!("/.well-known/acme-challenge/{TOKEN}"));
        assert_eq!((challenge.token().to_string(), challenge.account().to_string()), (TOKEN.into(), PRINT.into()));
        let sent = serde_json::to_value(&challenge).unwrap();
        let expected = serde_json::json!({"name": "a.example", "token": TOKEN, "validation": challenge.validation()});
        assert_eq!(sent, expected);
        assert_eq!(serde_json::from_value::<Challenge>(sent).unwrap(), challenge);
    }

    #[test]
    fn a_validation_is_its_own_token_and_a_thumbprint() {
        assert!(challenge(TOKEN, &format!("{TOKEN}.{PRINT}")).is_ok());
        for bad in [
            TOKEN.to_owned(),
            format!("{TOKEN}."),
            format!("{TOKEN}.{PRINT}x"),
            format!("x{TOKEN}.{PRINT}"),
            format!("{TOKEN}.{PRINT}\n<?php"),
        ] {
            assert_eq!(challenge(TOKEN, &bad), Err(ChallengeError::Validation), "{bad:?}");
        }
    }

    #[test]
    fn the_wire_form_is_checked_like_any_other() {
        let forged = format!(r#"{{"name":"a.example","token":"{TOKEN}","validation":"owned"}}"#);
        assert!(serde_json::from_str::<Challenge>(&forged).is_err());
    }
}
