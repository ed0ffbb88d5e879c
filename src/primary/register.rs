//! What the primary notes of a new peer: its host key, and its `[[peer]]`. What is in the files stays as it is.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};

use crate::model::config::{Config, SshTarget};
use crate::model::names::NodeName;
use crate::primary::link::OfferedKey;
use crate::sys::atomic::{self, Attributes};
use crate::sys::bounded;

const FILE_AT_MOST: u64 = 4 * 1024 * 1024;

/// Pins a host key.
pub fn pin(offered: &OfferedKey) -> io::Result<()> {
    append(&offered.known_hosts, &format!("{} {} {}\n", offered.host, offered.kind, offered.base64))
}

/// Adds a `[[peer]]` to the configuration; the file is not touched where it would not be right then.
pub fn add(config_path: &Path, name: &NodeName, ssh: &SshTarget) -> Result<()> {
    let entry = format!("\n[[peer]]\nname = \"{name}\"\nssh = {}\n", toml::Value::from(ssh.to_string()));
    let old = bounded::read_bounded(config_path, FILE_AT_MOST)?;
    let text = format!("{}{entry}", String::from_utf8_lossy(&old));
    Config::parse(&text, config_path).context("with this [[peer]] the configuration would not be right")?;
    Ok(append(config_path, &entry)?)
}

fn append(path: &Path, line: &str) -> io::Result<()> {
    // It may be a link, to a place that somebody keeps.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let old = match bounded::read_bounded(&path, FILE_AT_MOST) {
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        text => text?,
    };
    let attributes = match fs::metadata(&path) {
        Ok(metadata) => Attributes { mode: metadata.mode() & 0o7777, owner: Some((metadata.uid(), metadata.gid())) },
        Err(_) => Attributes { mode: 0o600, owner: None },
    };
    let end = if old.is_empty() || old.ends_with(b"\n") { "" } else { "\n" };
    atomic::replace_path(&path, &[&old[..], end.as_bytes(), line.as_bytes()].concat(), &attributes)
}
