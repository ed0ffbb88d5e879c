//! What the primary notes of a peer: its host key, and its `[[peer]]`. What is in the files stays as it is.

use std::fmt::Write as _;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::model::config::{Config, Pattern, Peer, SshTarget};
use crate::model::names::NodeName;
use crate::primary::link::{OfferedKey, known_hosts};
use crate::sys::atomic;
use crate::sys::bounded;

const FILE_AT_MOST: u64 = 4 * 1024 * 1024;
const ADDRESSES_AT_MOST: usize = 16;

/// Pins a host key.
pub fn pin(offered: &OfferedKey) -> io::Result<()> {
    append(&offered.known_hosts, &format!("{} {} {}\n", offered.host, offered.kind, offered.base64))
}

/// A new peer, as it is to be noted.
pub struct Entry {
    /// What is behind the file's text then.
    text: String,
    /// The configuration with it.
    pub config: Config,
    /// Where the public reaches it, as far as that is known.
    pub addresses: Vec<IpAddr>,
}

/// A `[[peer]]` for the configuration, which must be right with it. Nothing is written.
///
/// Of the addresses that the peer has, those are where the public reaches it that the public can: all of them, if the one
/// by which it was reached is among them. Else it is behind something, and only that one is known.
pub fn entry(
    config_path: &Path,
    name: &NodeName,
    ssh: &SshTarget,
    own: &[IpAddr],
    lineages: &[Pattern],
) -> Result<Entry> {
    let quoted = |text: String| toml::Value::from(text);
    let mut text = format!("\n[[peer]]\nname = \"{name}\"\nssh = {}\n", quoted(ssh.to_string()));
    let mut addresses = Vec::new();
    // So many are no server's, or a liar's.
    if let Some(given) = ssh.address().filter(|given| own.len() <= ADDRESSES_AT_MOST && own.contains(given)) {
        addresses.push(given);
        addresses.extend(own.iter().filter(|address| **address != given && is_public(address)));
        let all: Vec<_> = addresses.iter().map(|address| quoted(address.to_string())).collect();
        _ = writeln!(text, "addresses = {}", toml::Value::from(all));
    }
    if !lineages.is_empty() {
        let all: Vec<_> = lineages.iter().map(|pattern| quoted(pattern.to_string())).collect();
        _ = writeln!(text, "lineages = {}", toml::Value::from(all));
    }
    let old = bounded::read_bounded(config_path, FILE_AT_MOST)?;
    let config = Config::parse(&format!("{}\n{text}", String::from_utf8_lossy(&old)), config_path)
        .context("with this [[peer]] the configuration would not be right")?;
    Ok(Entry { text, config, addresses })
}

/// Adds it to the configuration.
pub fn add(config_path: &Path, entry: &Entry) -> io::Result<()> {
    append(config_path, &entry.text)
}

/// Removes a peer's `[[peer]]` with all that belongs to it, and its host keys; says whether all of them are gone.
///
/// A line that is another host's too, or hashed, stays.
pub fn remove(config_path: &Path, config: &Config, peer: &Peer) -> Result<bool> {
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
    atomic::rewrite(config_path, text.as_bytes())?;
    let known_hosts = &config.ssh.known_hosts;
    let host = known_hosts::lookup_name(&peer.ssh.host, peer.ssh.port.unwrap_or(22));
    let keys = match bounded::read_bounded(known_hosts, FILE_AT_MOST) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        keys => keys?,
    };
    let is_its = |line: &&[u8]| line.split(u8::is_ascii_whitespace).next() == Some(host.as_bytes());
    let kept: Vec<&[u8]> = keys.split_inclusive(|byte| *byte == b'\n').filter(|line| !is_its(line)).collect();
    let kept = kept.concat();
    atomic::rewrite(known_hosts, &kept)?;
    Ok(known_hosts::KnownHosts::parse(&kept).fingerprints(&host).is_empty())
}

/// A file's text, cut before each table's head, and the comment right above it.
fn tables(text: &str) -> Vec<&str> {
    let mut tables = Vec::new();
    let (mut begun, mut head, mut at) = (0, 0, 0);
    for line in text.split_inclusive('\n') {
        let words = line.trim_start();
        if words.starts_with('[') && head > begun {
            tables.push(&text[begun..head]);
            begun = head;
        }
        at += line.len();
        if !words.starts_with('#') {
            head = at;
        }
    }
    tables.push(&text[begun..]);
    tables
}

fn is_peer(table: &str) -> bool {
    let mut lines = table.lines().map(str::trim_start);
    lines.find(|line| !line.is_empty() && !line.starts_with('#')).is_some_and(|line| line.starts_with("[[peer]]"))
}

fn is_public(address: &IpAddr) -> bool {
    match address {
        // 100.64.0.0/10 is for what is behind a carrier's NAT (RFC 6598), and for overlays.
        IpAddr::V4(v4) => {
            let [first, second, ..] = v4.octets();
            !(v4.is_private() || v4.is_link_local() || v4.is_loopback() || (first == 100 && second & 0xc0 == 64))
        }
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
    atomic::rewrite(path, &[&old[..], end.as_bytes(), line.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const OLD: &str = "# the site\n[node]\nname = \"web1\"\n\n[[peer]]\nname = \"web2\"\nssh = \"root@192.0.2.2\"\n\
                       # not this one\n\n  [[peer]]\nname = \"web3\"\nssh = \"root@192.0.2.3:2222\"\n# What leaves this server.\n[deploy]\n\
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
        let own = ["192.0.2.4", "10.0.0.4", "2001:db8::4", "fd00::4", "100.100.0.4"].map(|ip| ip.parse().unwrap());
        let (name, ssh) = ("web4".parse().unwrap(), "root@192.0.2.4".parse().unwrap());
        let new = entry(&path, &name, &ssh, &own, &["*.example".parse().unwrap()]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), before, "nothing is written yet");
        add(&path, &new).unwrap();
        let config = parsed(&path);
        assert!(config == new.config && config.peers[2].lineages[0].to_string() == "*.example");
        let public = ["192.0.2.4", "2001:db8::4"].map(|ip| ip.parse::<IpAddr>().unwrap());
        assert!(config.peers[2].addresses == public && new.addresses == public);
        assert!(entry(&path, &name, &ssh, &[], &[]).is_err());

        let known = "192.0.2.4 ssh-ed25519 AAAA\n[192.0.2.3]:2222 ssh-ed25519 AAAA\n192.0.2.44 ssh-ed25519 AAAA";
        fs::write(&config.ssh.known_hosts, known).unwrap();
        remove(&path, &config, &config.peers[2]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), before + "\n");
        let config = parsed(&path);
        remove(&path, &config, &config.peers[1]).unwrap();
        let left = fs::read_to_string(&path).unwrap();
        assert!(
            left.contains("# What leaves this server.") && left.contains("\"*\"") && !left.contains("web3"),
            "{left}"
        );
        assert_eq!(fs::read_to_string(&config.ssh.known_hosts).unwrap(), "192.0.2.44 ssh-ed25519 AAAA");
    }

    #[test]
    fn a_peer_behind_something_has_no_address_of_its_own() {
        let (_home, path) = file(OLD);
        let of = |own: &[IpAddr]| {
            entry(&path, &"web4".parse().unwrap(), &"root@198.51.100.4".parse().unwrap(), own, &[]).unwrap().addresses
        };
        assert!(of(&["10.0.0.4".parse().unwrap()]).is_empty());
        assert_eq!(of(&["198.51.100.4".parse().unwrap()]).len(), 1);
        assert!(of(&["198.51.100.4".parse().unwrap(); 17]).is_empty(), "nor has one that has very many");
    }
}
