//! What certbot says to its hooks.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use certcast::primary::hook_env::{HookError, auth_call, cleanup_call, deploy_call};

use super::{is_a_file_name, is_a_message, is_inert};

/// Variables as `NAME=VALUE` lines: whatever they hold, a call has a plain name and token, and a refusal is harmless to show.
pub fn hook(data: &[u8]) {
    let pairs: Vec<(&[u8], &[u8])> = data
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.iter().position(|byte| *byte == b'=').map(|at| (&line[..at], &line[at + 1..])))
        .collect();
    let value = |name: &str| pairs.iter().find(|(known, _)| *known == name.as_bytes()).map(|(_, value)| *value);
    let get = |name: &str| value(name).map(|value| OsString::from_vec(value.to_vec()));
    match auth_call(get) {
        Ok(call) => {
            assert!(!call.challenge.name().is_wildcard());
            super::challenge::is_a_challenge(&call.challenge, call.challenge.token().as_str());
            assert_eq!(value("CERTBOT_TOKEN"), Some(call.challenge.token().as_str().as_bytes()));
            assert_eq!(value("CERTBOT_VALIDATION"), Some(call.challenge.validation().as_bytes()));
        }
        Err(error) => is_told(&error),
    }
    match cleanup_call(get) {
        Ok(token) => is_a_file_name(&format!("x{token}")),
        Err(error) => is_told(&error),
    }
    match deploy_call(get) {
        Ok(call) => {
            is_a_file_name(call.lineage.as_str());
            assert!(call.letsencrypt.is_absolute() && is_inert(&call.letsencrypt.to_string_lossy()));
            let meant = call.letsencrypt.join("live").join(call.lineage.as_str());
            let given = get("RENEWED_LINEAGE").expect("it is set");
            assert_eq!(meant, Path::new(&given));
        }
        Err(error) => is_told(&error),
    }
}

fn is_told(error: &HookError) {
    is_a_message(error);
    if let Some(cause) = std::error::Error::source(error) {
        is_a_message(&cause);
    }
}
