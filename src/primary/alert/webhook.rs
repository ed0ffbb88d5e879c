//! `webhook`: the notice as JSON, signed where there is a secret, with a key by which a receiver knows what it had.

use std::fmt::Write as _;

use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use reqwest::Url;

use super::http::{self, Post};
use super::notice::Notice;
use super::route::SendError;
use crate::model::deadline::Deadline;

/// Sends one.
pub fn send(url: &Url, secret: Option<&str>, notice: &Notice, deadline: Deadline) -> Result<(), SendError> {
    let unable = |error: &dyn std::fmt::Display| SendError::Refused(error.to_string());
    let body = serde_json::to_vec(notice).map_err(|error| unable(&error))?;
    let mut headers = vec![("Idempotency-Key", notice.id.clone())];
    if let Some(secret) = secret {
        let signature = signature(secret, &body).map_err(|error| unable(&error))?;
        headers.push(("X-Certcast-Signature", format!("sha256={signature}")));
    }
    http::post(Post { url, content_type: "application/json", body, headers, is_secret: false }, deadline)
}

/// HMAC-SHA256 of the body (RFC 2104), in hexadecimal digits.
fn signature(secret: &str, body: &[u8]) -> Result<String, openssl::error::ErrorStack> {
    let key = PKey::hmac(secret.as_bytes())?;
    let mac = Signer::new(MessageDigest::sha256(), &key)?.sign_oneshot_to_vec(body)?;
    Ok(mac.iter().fold(String::new(), |mut text, byte| {
        _ = write!(text, "{byte:02x}");
        text
    }))
}
