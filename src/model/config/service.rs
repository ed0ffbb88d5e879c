//! What uses certificates on a node: how it is tested, reloaded and probed.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::ssh_target::port_number;
use super::value::{Absolute, ValueError};
use crate::model::names::LineageName;

/// One `[[service]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name in messages.
    pub name: String,
    /// The command that exits 0 when the service accepts its configuration; never empty.
    pub test: Vec<String>,
    /// The command that makes it read its certificates again; never empty.
    pub reload: Vec<String>,
    /// Where a handshake must show the new leaf; empty: nowhere.
    pub probe: Vec<ProbeTarget>,
    /// A file that holds chain and key together, for services that want one.
    pub joined: Option<JoinedPath>,
    /// How long `test` and `reload` may take, each.
    pub timeout: Duration,
}

/// Where a service answers with TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProbeTarget {
    /// This port on each of the node's addresses.
    Port(u16),
    /// This address alone.
    Address(SocketAddr),
}

impl FromStr for ProbeTarget {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if let Ok(port) = port_number(text) {
            return Ok(ProbeTarget::Port(port));
        }
        match text.parse::<SocketAddr>() {
            Ok(address) if address.port() != 0 && !address.ip().is_unspecified() && !address.ip().is_multicast() => {
                Ok(ProbeTarget::Address(address))
            }
            _ => Err(ValueError::new(
                text,
                "is nothing to probe",
                "a port (\"443\") or an address and a port (\"192.0.2.1:443\", \"[2001:db8::1]:443\")",
            )),
        }
    }
}

impl fmt::Display for ProbeTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProbeTarget::Port(port) => port.fmt(f),
            ProbeTarget::Address(address) => address.fmt(f),
        }
    }
}

/// The path of a file that holds chain and key together, with `{lineage}` once in its file name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedPath(String);

impl JoinedPath {
    const MARK: &str = "{lineage}";

    /// The path for one lineage. A lineage's name is one path component, so it stays in its directory.
    pub fn path(&self, lineage: &LineageName) -> PathBuf {
        PathBuf::from(self.0.replace(Self::MARK, lineage.as_str()))
    }

    /// The path as it is written, mark and all.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for JoinedPath {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        const EXPECTED: &str = "an absolute path such as \"/etc/haproxy/certs/{lineage}.pem\"";
        let wrong = |why| ValueError::new(text, why, EXPECTED);
        text.parse::<Absolute>()?;
        let (directory, file) = text.rsplit_once('/').ok_or_else(|| wrong("is a relative path"))?;
        if directory.contains(Self::MARK) || file.matches(Self::MARK).count() != 1 {
            return Err(wrong("does not hold {lineage} exactly once in its file name"));
        }
        // A lineage's name has at most 200 bytes, a file's 255, and the new file is first written
        // under `.NAME.stage-` and 32 hexadecimal digits.
        if file.len() - Self::MARK.len() > 255 - 200 - (".".len() + ".stage-".len() + 32) {
            return Err(wrong("has a file name that is too long beside {lineage}"));
        }
        Ok(JoinedPath(text.to_owned()))
    }
}

/// What a well-known service needs, as Debian ships it.
pub(super) struct Preset {
    pub name: &'static str,
    pub test: &'static [&'static str],
    pub reload: &'static [&'static str],
    pub probe: &'static [u16],
}

/// apache2 and haproxy are reloaded through systemd, since `apache2ctl graceful` starts an apache2
/// that was stopped, and nobody asked for that. postfix speaks TLS first on 465 only.
pub(super) const PRESETS: &[Preset] = &[
    Preset { name: "nginx", test: &["nginx", "-t"], reload: &["nginx", "-s", "reload"], probe: &[443] },
    Preset {
        name: "apache2",
        test: &["apache2ctl", "configtest"],
        reload: &["systemctl", "reload", "apache2"],
        probe: &[443],
    },
    Preset {
        name: "haproxy",
        test: &["haproxy", "-c", "-f", "/etc/haproxy/haproxy.cfg"],
        reload: &["systemctl", "reload", "haproxy"],
        probe: &[443],
    },
    Preset { name: "postfix", test: &["postfix", "check"], reload: &["postfix", "reload"], probe: &[465] },
    Preset { name: "dovecot", test: &["doveconf", "-n"], reload: &["doveadm", "reload"], probe: &[993] },
];

#[cfg(test)]
mod tests {
    use super::{JoinedPath, ProbeTarget};
    use std::path::Path;

    #[test]
    fn a_joined_file_stays_in_its_directory() {
        let joined: JoinedPath = "/etc/haproxy/certs/{lineage}.pem".parse().unwrap();
        assert_eq!(joined.path(&"my site".parse().unwrap()), Path::new("/etc/haproxy/certs/my site.pem"));
        for bad in [
            "{lineage}.pem",
            "/etc/x.pem",
            "/etc/{lineage}/x.pem",
            "/etc/{lineage}/{lineage}.pem",
            "/etc/{lineage}{lineage}",
            "/etc/../{lineage}",
            "/etc/{lineage}/",
        ] {
            assert!(bad.parse::<JoinedPath>().is_err(), "{bad:?} was accepted");
        }
        let longest = format!("/etc/{}{{lineage}}", "x".repeat(15));
        let longest = longest.parse::<JoinedPath>().unwrap().path(&"y".repeat(200).parse().unwrap());
        let staged = format!(".{}.stage-{:032x}", longest.file_name().unwrap().to_str().unwrap(), 0);
        assert_eq!(staged.len(), 255);
        assert!(format!("/etc/{}{{lineage}}", "x".repeat(16)).parse::<JoinedPath>().is_err());
    }

    #[test]
    fn probes_are_ports_or_sockets() {
        assert_eq!("443".parse::<ProbeTarget>().unwrap(), ProbeTarget::Port(443));
        for good in ["192.0.2.1:443", "[2001:db8::1]:8443"] {
            assert_eq!(good.parse::<ProbeTarget>().unwrap().to_string(), good);
        }
        for bad in ["", "0", "https", "65536", "+443", "web1:443", "0.0.0.0:443", "192.0.2.1", "192.0.2.1:0"] {
            assert!(bad.parse::<ProbeTarget>().is_err(), "{bad:?} was accepted");
        }
    }
}
