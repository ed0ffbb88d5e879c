//! OpenSSH's `known_hosts`: which host keys are trusted for a name.
//!
//! libssh2's own check ignores `@revoked` and wildcards and falls back from a port to the bare host,
//! so the file is read here; sshd(8), `SSH_KNOWN_HOSTS FILE FORMAT`, is the rule.

use openssl::base64::{decode_block, encode_block};
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;

use crate::model::config::glob;

/// The largest file that is read, in bytes.
pub const FILE_AT_MOST: u64 = 4 * 1024 * 1024;

/// A file's usable lines.
#[derive(Debug, Default)]
pub struct KnownHosts {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    line: usize,
    marker: Marker,
    hosts: String,
    kind: String,
    blob: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Marker {
    None,
    Revoked,
    Authority,
}

/// What the file says about a key that a host showed.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This very key is known for the host.
    Trusted,
    /// No line is about the host.
    Unknown,
    /// This line has another key of that type.
    Changed {
        /// Which.
        line: usize,
    },
    /// This line revokes the key.
    Revoked {
        /// Which.
        line: usize,
    },
    /// Only keys of these other types are known.
    OtherKinds(Vec<String>),
    /// Only certificate authorities are known.
    AuthorityOnly,
}

/// The name under which `known_hosts` has a host: bare on port 22, otherwise `[host]:port`.
pub fn lookup_name(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

/// A key's fingerprint as `ssh-keygen -l` shows it.
pub fn fingerprint(blob: &[u8]) -> String {
    format!("SHA256:{}", encode_block(&openssl::sha::sha256(blob)).trim_end_matches('='))
}

/// The type that a key's own bytes state.
pub fn kind_of(blob: &[u8]) -> Option<&str> {
    let (length, rest) = blob.split_first_chunk::<4>()?;
    std::str::from_utf8(rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)?).ok()
}

impl KnownHosts {
    /// Reads the lines; comments, blank and damaged ones are passed over, as ssh does.
    pub fn parse(text: &[u8]) -> Self {
        let entry = |(index, line): (usize, &[u8])| parse_line(index + 1, std::str::from_utf8(line).ok()?);
        KnownHosts { entries: text.split(|&byte| byte == b'\n').enumerate().filter_map(entry).collect() }
    }

    /// The types of the keys that are trusted for this name, in the file's order.
    pub fn kinds(&self, name: &str) -> Vec<&str> {
        let mut kinds = Vec::new();
        for entry in self.about(name).filter(|entry| entry.marker == Marker::None) {
            if !kinds.contains(&entry.kind.as_str()) {
                kinds.push(&entry.kind);
            }
        }
        kinds
    }

    /// The fingerprints of the keys that are trusted for this name.
    pub fn fingerprints(&self, name: &str) -> Vec<String> {
        self.about(name).filter(|entry| entry.marker == Marker::None).map(|entry| fingerprint(&entry.blob)).collect()
    }

    /// What the file says about this name showing this key.
    pub fn judge(&self, name: &str, blob: &[u8]) -> Verdict {
        let about: Vec<&Entry> = self.about(name).collect();
        // First of all, and wherever it stands in the file: a revoked key is never trusted again.
        if let Some(entry) = about.iter().find(|entry| entry.marker == Marker::Revoked && entry.blob == blob) {
            return Verdict::Revoked { line: entry.line };
        }
        let trusted = || about.iter().filter(|entry| entry.marker == Marker::None);
        if trusted().any(|entry| entry.blob == blob) {
            return Verdict::Trusted;
        }
        if let Some(entry) = trusted().find(|entry| Some(entry.kind.as_str()) == kind_of(blob)) {
            return Verdict::Changed { line: entry.line };
        }
        let kinds = self.kinds(name);
        if !kinds.is_empty() {
            return Verdict::OtherKinds(kinds.into_iter().map(str::to_owned).collect());
        }
        if about.iter().any(|entry| entry.marker == Marker::Authority) {
            return Verdict::AuthorityOnly;
        }
        Verdict::Unknown
    }

    fn about(&self, name: &str) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| names(&entry.hosts, name))
    }
}

fn parse_line(number: usize, line: &str) -> Option<Entry> {
    let mut fields = line.trim_end_matches('\r').split([' ', '\t']).filter(|field| !field.is_empty());
    let mut field = fields.next()?;
    let marker = match field {
        "@revoked" => Marker::Revoked,
        "@cert-authority" => Marker::Authority,
        _ if field.starts_with(['@', '#']) => return None,
        _ => Marker::None,
    };
    if marker != Marker::None {
        field = fields.next()?;
    }
    let (kind, base64) = (fields.next()?, fields.next()?);
    let blob = decoded(base64)?;
    // A line that contradicts itself says nothing.
    (kind_of(&blob) == Some(kind)).then(|| Entry {
        line: number,
        marker,
        hosts: field.to_owned(),
        kind: kind.to_owned(),
        blob,
    })
}

/// Decodes base64 that is whole and not empty.
pub(super) fn decoded(base64: &str) -> Option<Vec<u8>> {
    if base64.is_empty() || !base64.len().is_multiple_of(4) {
        return None;
    }
    decode_block(base64).ok()
}

/// Whether a line's first field is about this name.
fn names(hosts: &str, name: &str) -> bool {
    // A hashed name stands alone: ssh compares the whole field.
    if let Some(hash) = hosts.strip_prefix("|1|") {
        return is_hash_of(hash, name) == Some(true);
    }
    let matches = |pattern: &str| glob(pattern.to_ascii_lowercase().as_bytes(), name.as_bytes());
    let mut found = false;
    for pattern in hosts.split(',') {
        match pattern.strip_prefix('!') {
            Some(negated) if matches(negated) => return false,
            None => found |= matches(pattern),
            Some(_) => {}
        }
    }
    found
}

fn is_hash_of(salt_and_hash: &str, name: &str) -> Option<bool> {
    let (salt, hash) = salt_and_hash.split_once('|')?;
    let (salt, hash) = (decoded(salt)?, decoded(hash)?);
    let key = PKey::hmac(&salt).ok()?;
    let made = Signer::new(MessageDigest::sha1(), &key).ok()?.sign_oneshot_to_vec(name.as_bytes()).ok()?;
    Some(made == hash)
}

#[cfg(test)]
#[path = "known_hosts_tests.rs"]
mod tests;
