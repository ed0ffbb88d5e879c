//! What the primary notes of a peer: its host key, and its `[[peer]]`. What is in the files stays as it is.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::model::config::{Config, Peer, SshTarget};
use crate::model::names::NodeName;
use crate::primary::link::{OfferedKey, known_hosts};
use crate::sys::atomic::{self, Attributes};
use crate::sys::bounded;

const FILE_AT_MOST: u64 = 4 * 1024 * 1024;

/// Pins a host key.
pub fn pin(offered: &OfferedKey) -> io::Result<()> {
    append(&offered.known_hosts, &format!("{} {} {}\n", offered.host, offered.kind, offered.base64))
}

/// Adds a `[[peer]]` to the configuration; the file is not touched where it would not be right then.
///
/// Of the addresses that the peer has, those are where the public reaches it that the public can: all of them, if the one
/// by which it was reached is among them. Else it is behind something, and only that one is known.
pub fn add(config_path: &Path, name: &NodeName, ssh: &SshTarget, own: &[IpAddr]) -> Result<()> {
    let mut entry = format!("\n[[peer]]\nname = \"{name}\"\nssh = {}\n", toml::Value::from(ssh.to_string()));
    if let Some(given) = ssh.address().filter(|given| own.contains(given)) {
        let others = own.iter().filter(|address| **address != given && is_public(address));
        let all: Vec<_> = [given].iter().chain(others).map(|address| toml::Value::from(address.to_string())).collect();
        _ = writeln!(entry, "addresses = {}", toml::Value::from(all));
    }
    let old = bounded::read_bounded(config_path, FILE_AT_MOST)?;
    let text = format!("{}{entry}", String::from_utf8_lossy(&old));
    Config::parse(&text, config_path).context("with this [[peer]] the configuration would not be right")?;
    Ok(append(config_path, &entry)?)
}

/// Removes a peer's `[[peer]]` with all that belongs to it, and its host keys; comments above it stay.
pub fn remove(config_path: &Path, config: &Config, peer: &Peer) -> Result<()> {
    let old = String::from_utf8_lossy(&bounded::read_bounded(config_path, FILE_AT_MOST)?).into_owned();
    let tables = tables(&old);
    let without = tables.iter().enumerate().filter(|(_, table)| is_peer(table)).find_map(|(which, _)| {
        let text: String = tables.iter().enumerate().filter(|(at, _)| *at != which).map(|(_, table)| *table).collect();
        let parsed = Config::parse(&text, config_path).ok()?;
        let rest = config.peers.iter().filter(|other| other.name != peer.name);
        (parsed == Config { peers: rest.cloned().collect(), ..config.clone() }).then_some(text)
    });
    let Some(text) = without else {
        bail!("the [[peer]] of {} is not one part of {}: remove it there by hand", peer.name, config_path.display());
    };
    replace(config_path, text.as_bytes())?;
    let known_hosts = &config.ssh.known_hosts;
    let host = known_hosts::lookup_name(&peer.ssh.host, peer.ssh.port.unwrap_or(22));
    let keys = match bounded::read_bounded(known_hosts, FILE_AT_MOST) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        keys => keys?,
    };
    let is_its = |line: &&[u8]| line.split(|byte| *byte == b' ').next() == Some(host.as_bytes());
    let kept: Vec<&[u8]> = keys.split_inclusive(|byte| *byte == b'\n').filter(|line| !is_its(line)).collect();
    Ok(replace(known_hosts, &kept.concat())?)
}

/// A file's text, cut before each table's head.
fn tables(text: &str) -> Vec<&str> {
    let mut tables = Vec::new();
    let (mut begun, mut at) = (0, 0);
    for line in text.split_inclusive('\n') {
        if line.trim_start().starts_with('[') && at > begun {
            tables.push(&text[begun..at]);
            begun = at;
        }
        at += line.len();
    }
    tables.push(&text[begun..]);
    tables
}

fn is_peer(table: &str) -> bool {
    table.trim_start().starts_with("[[peer]]")
}

fn is_public(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !(v4.is_private() || v4.is_link_local() || v4.is_loopback()),
        // Global unicast (RFC 4291 section 2.4).
        IpAddr::V6(v6) => v6.segments()[0] & 0xe000 == 0x2000,
    }
}

fn append(path: &Path, line: &str) -> io::Result<()> {
    let old = match bounded::read_bounded(path, FILE_AT_MOST) {
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        text => text?,
    };
    let end = if old.is_empty() || old.ends_with(b"\n") { "" } else { "\n" };
    replace(path, &[&old[..], end.as_bytes(), line.as_bytes()].concat())
}

/// With the owner and mode that it has.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    // It may be a link, to a place that somebody keeps.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let attributes = match fs::metadata(&path) {
        Ok(metadata) => Attributes { mode: metadata.mode() & 0o7777, owner: Some((metadata.uid(), metadata.gid())) },
        Err(_) => Attributes { mode: 0o600, owner: None },
    };
    atomic::replace_path(&path, text, &attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "# the site\n[node]\nname = \"web1\"\n\n[[peer]]\nname = \"web2\"\nssh = \"root@192.0.2.2\"\n\
                       # not this one\n\n  [[peer]]\nname = \"web3\"\nssh = \"root@192.0.2.3:2222\"\n[deploy]\n\
                       lineages = [\n  \"*\",\n]";

    fn file(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("config.toml");
        fs::write(&path, format!("{text}\n[ssh]\nknown_hosts = {:?}\n", home.path().join("known_hosts"))).unwrap();
        (home, path)
    }

    fn parsed(path: &Path) -> Config {
        Config::parse(&fs::read_to_string(path).unwrap(), path).unwrap()
    }

    #[test]
    fn a_peer_is_added_and_removed_and_the_rest_of_the_file_stays_as_it_is() {
        let (_home, path) = file(OLD);
        let before = fs::read_to_string(&path).unwrap();
        let own = ["192.0.2.4", "10.0.0.4", "2001:db8::4", "fd00::4"].map(|ip| ip.parse().unwrap());
        let (name, ssh) = ("web4".parse().unwrap(), "root@192.0.2.4".parse().unwrap());
        add(&path, &name, &ssh, &own).unwrap();
        let config = parsed(&path);
        let public = ["192.0.2.4", "2001:db8::4"].map(|ip| ip.parse::<IpAddr>().unwrap());
        assert_eq!(config.peers[2].addresses, public);
        add(&path, &name, &ssh, &[]).unwrap_err();

        let known = "192.0.2.4 ssh-ed25519 AAAA\n[192.0.2.3]:2222 ssh-ed25519 AAAA\n192.0.2.44 ssh-ed25519 AAAA";
        fs::write(&config.ssh.known_hosts, known).unwrap();
        remove(&path, &config, &config.peers[2]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), before + "\n");
        let config = parsed(&path);
        remove(&path, &config, &config.peers[1]).unwrap();
        let left = fs::read_to_string(&path).unwrap();
        assert!(left.contains("# not this one") && left.contains("\"*\"") && !left.contains("web3"), "{left}");
        assert_eq!(fs::read_to_string(&config.ssh.known_hosts).unwrap(), "192.0.2.44 ssh-ed25519 AAAA");
    }

    #[test]
    fn a_peer_behind_something_has_no_address_of_its_own() {
        let (_home, path) = file(OLD);
        add(&path, &"web4".parse().unwrap(), &"root@198.51.100.4".parse().unwrap(), &["10.0.0.4".parse().unwrap()])
            .unwrap();
        assert!(!fs::read_to_string(&path).unwrap().contains("addresses"));
    }
}
