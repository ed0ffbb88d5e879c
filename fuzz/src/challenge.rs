//! Tokens and validations.

use std::path::{Component, Path};

use certcast::model::challenge::{Challenge, Token};
use certcast::model::names::Identifier;

use super::{is_a_file_name, is_a_message};

/// A name, a token and a validation, a line each, and then as a message would bring them: a token is never a path, and a
/// validation is nothing but its own token, a dot and a thumbprint.
pub fn challenge(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut parts = text.splitn(3, '\n');
    let (name, token, validation) = (parts.next(), parts.next(), parts.next());
    let (Some(name), Some(token)) = (name, token) else { return };
    let validation = validation.unwrap_or_default();
    let checked = match token.parse::<Token>() {
        Ok(checked) => {
            is_a_token(&checked, token);
            Some(checked)
        }
        Err(error) => {
            is_a_message(&error);
            None
        }
    };
    let forged = serde_json::json!({"name": name, "token": token, "validation": validation});
    let received = serde_json::from_value::<Challenge>(forged);
    let (Some(checked), Ok(name)) = (checked, name.parse::<Identifier>()) else {
        assert!(received.is_err(), "the wire takes what is refused elsewhere: {text:?}");
        return;
    };
    match Challenge::new(name, checked, validation) {
        Ok(challenge) => {
            is_a_challenge(&challenge, token);
            assert_eq!(received.ok().as_ref(), Some(&challenge));
            let written = serde_json::to_vec(&challenge).expect("a challenge is written");
            assert_eq!(serde_json::from_slice::<Challenge>(&written).ok(), Some(challenge));
        }
        Err(error) => {
            is_a_message(&error);
            assert!(received.is_err(), "the wire takes what is refused elsewhere: {text:?}");
        }
    }
}

fn is_a_token(token: &Token, text: &str) {
    assert_eq!(token.as_str(), text);
    assert!((16..=128).contains(&text.len()) && text.bytes().all(is_base64url), "{text:?}");
    // It may begin with a dash, but nobody gives it to a program.
    is_a_file_name(&format!("x{text}"));
    assert_eq!(Path::new(text).components().count(), 1);
}

/// Also what `session` finds in a webroot must be one.
pub(super) fn is_a_challenge(challenge: &Challenge, token: &str) {
    is_a_validation(token, challenge.validation());
    let path = challenge.url_path();
    let parts: Vec<_> = Path::new(&path).components().collect();
    let names = [".well-known", "acme-challenge", token].map(|name| Component::Normal(name.as_ref()));
    assert_eq!(parts, [&[Component::RootDir], names.as_slice()].concat());
}

/// RFC 8555, section 8.1, said once more and by hand.
pub(super) fn is_a_validation(token: &str, validation: &str) {
    let (before, print) = validation.rsplit_once('.').expect("a validation has a dot");
    assert_eq!(before, token);
    assert!(print.len() == 43 && print.bytes().all(is_base64url), "{validation:?}");
}

fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}
