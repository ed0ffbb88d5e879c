//! certbot's ACME accounts: for which of them a challenge will be.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use zeroize::Zeroizing;

use crate::model::challenge::Thumbprint;
use crate::sys::bounded;

/// `accounts/SERVER/PATH/OF/ITS/DIRECTORY/ID`, however many parts that path has.
const DEPTH_AT_MOST: u32 = 8;
const KEY_AT_MOST: u64 = 64 * 1024;
const ACCOUNTS_AT_MOST: usize = 100;

/// The public part of a `private_key.json` (RFC 7517), with what RFC 7638 section 3.2 wants for each kind of key.
#[derive(Deserialize)]
#[serde(tag = "kty")]
enum Key {
    #[serde(rename = "RSA")]
    Rsa { e: String, n: String },
    #[serde(rename = "EC")]
    Ec { crv: String, x: String, y: String },
}

impl Key {
    fn thumbprint(&self) -> Thumbprint {
        let quoted = |text: &String| serde_json::Value::from(text.as_str());
        let canonical = match self {
            Key::Rsa { e, n } => format!(r#"{{"e":{},"kty":"RSA","n":{}}}"#, quoted(e), quoted(n)),
            Key::Ec { crv, x, y } => {
                format!(r#"{{"crv":{},"kty":"EC","x":{},"y":{}}}"#, quoted(crv), quoted(x), quoted(y))
            }
        };
        Thumbprint::of(canonical.as_bytes())
    }
}

/// The account that certbot most likely uses: of several, the first that is of no staging server. What cannot be read is
/// passed over: without it, a challenge is for nobody's account.
pub fn likely(letsencrypt: &Path) -> Option<Thumbprint> {
    let mut keys = Vec::new();
    find(&letsencrypt.join("accounts"), DEPTH_AT_MOST, &mut keys);
    keys.sort_by_key(|path| (path.to_string_lossy().contains("staging"), path.clone()));
    keys.iter().find_map(|path| {
        let text = Zeroizing::new(bounded::read_bounded(path, KEY_AT_MOST).ok()?);
        serde_json::from_slice::<Key>(&text).ok().map(|key| key.thumbprint())
    })
}

/// certbot's links from one directory to another are not followed: they lead to accounts that are found anyhow.
fn find(directory: &Path, depth: u32, keys: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_directory && depth > 0 {
            find(&entry.path(), depth - 1, keys);
        } else if entry.file_name() == "private_key.json" && keys.len() < ACCOUNTS_AT_MOST {
            keys.push(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7638 section 3.1.
    const EXAMPLE: &str = r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#;
    const PRINT: &str = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";

    #[test]
    fn the_account_is_the_first_of_no_staging_server() {
        let home = tempfile::tempdir().unwrap();
        assert!(likely(home.path()).is_none());
        let put = |server: &str, text: &str| {
            let directory = home.path().join("accounts").join(server).join("directory/0123");
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("private_key.json"), text).unwrap();
        };
        put("acme-staging-v02.test", r#"{"kty":"EC","crv":"P-256","x":"eA","y":"eQ"}"#);
        assert!(likely(home.path()).is_some_and(|print| print.as_str() != PRINT));
        put("acme-v02.test", EXAMPLE);
        assert_eq!(likely(home.path()).unwrap().as_str(), PRINT);
        put("acme-v01.test", "torn");
        assert_eq!(likely(home.path()).unwrap().as_str(), PRINT);
    }
}
