//! Where a peer's sshd listens: `user@host:port`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use super::value::ValueError;

/// A user, host and port for ssh. No part begins with a dash, so none can become an option of the
/// system's `ssh`, and none holds a character that a shell or `ssh_config` would read as more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SshTarget {
    /// The account, when given: the system's ssh has its own idea of one that is not.
    pub user: Option<String>,
    /// A host name, an alias of `ssh_config`, or an address; IPv6 without brackets, zone included.
    pub host: String,
    /// The port, when given.
    pub port: Option<u16>,
}

impl SshTarget {
    /// Whether it is another way to say the same sshd, whatever the account is.
    pub fn is_same_server(&self, other: &SshTarget) -> bool {
        self.port.unwrap_or(22) == other.port.unwrap_or(22) && self.host.eq_ignore_ascii_case(&other.host)
    }

    /// The host when it is an address that needs no zone.
    pub fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl FromStr for SshTarget {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let wrong = |why| {
            ValueError::new(
                text,
                why,
                "\"user@host:port\"; user and port may be left out, IPv6 with a port is \"[2001:db8::1]:22\"",
            )
        };
        let (user, place) = text.split_once('@').map_or((None, text), |(user, place)| (Some(user), place));
        if user.is_some_and(|user| !is_word(user) || user.len() > 64) {
            return Err(wrong("has an unfit user"));
        }
        let (host, port) = if let Some(rest) = place.strip_prefix('[') {
            let (host, port) = rest.split_once(']').ok_or_else(|| wrong("lacks the closing bracket"))?;
            if !is_v6(host) {
                return Err(wrong("has no IPv6 address in its brackets"));
            }
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':').unwrap_or_default()) })
        } else if is_v6(place) {
            (place, None)
        } else {
            place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port)))
        };
        if host.len() > 253 || !(is_v6(host) || is_word(host)) {
            return Err(wrong("has an unfit host"));
        }
        let port = port.map(port_number).transpose().map_err(|()| wrong("has an unfit port"))?;
        Ok(SshTarget { user: user.map(str::to_owned), host: host.to_owned(), port })
    }
}

impl fmt::Display for SshTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SshTarget { user, host, port } = self;
        if let Some(user) = user {
            write!(f, "{user}@")?;
        }
        match port {
            Some(port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Some(port) => write!(f, "{host}:{port}"),
            None => f.write_str(host),
        }
    }
}

/// 1 to 65535, digits only: `u16::from_str` alone would take "+22".
pub(super) fn port_number(text: &str) -> Result<u16, ()> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(());
    }
    text.parse().ok().filter(|port| *port != 0).ok_or(())
}

fn is_word(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    !text.is_empty() && !text.starts_with(['-', '.']) && text.chars().all(plain)
}

fn is_v6(text: &str) -> bool {
    match text.split_once('%') {
        Some((address, zone)) => address.parse::<Ipv6Addr>().is_ok() && is_word(zone) && zone.len() <= 15,
        None => text.parse::<Ipv6Addr>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::SshTarget;

    #[test]
    fn every_way_to_write_a_target() {
        for (text, full) in [
            ("web2", "web2"),
            ("deploy@web2.example:2222", "deploy@web2.example:2222"),
            ("192.0.2.2:22", "192.0.2.2:22"),
            ("root@192.0.2.2:22", "root@192.0.2.2:22"),
            ("2001:db8::2", "2001:db8::2"),
            ("a@[2001:db8::2]:2222", "a@[2001:db8::2]:2222"),
            ("root@[2001:db8::2]", "root@2001:db8::2"),
            ("fe80::1%eth0", "fe80::1%eth0"),
            ("root@[fe80::1%eth0.5]:22", "root@[fe80::1%eth0.5]:22"),
        ] {
            let target: SshTarget = text.parse().unwrap();
            assert_eq!(target.to_string(), full);
            assert_eq!(full.parse::<SshTarget>().unwrap(), target, "what is shown can be read again");
        }
    }

    #[test]
    fn no_part_can_be_an_option_or_more_than_a_word() {
        for bad in [
            "",
            "@",
            "a@",
            "@b",
            "-oProxyCommand=x",
            "a@-b",
            "-a@b",
            "a b",
            "a;b",
            "a@b@c",
            "$(x)",
            "b:",
            "b:0",
            "b:65536",
            "b:+22",
            "b:22:22",
            "[b]:22",
            "[::1",
            "[::1]22",
            "[::1]:",
            "fe80::1%",
            "fe80::1%-x",
            "fe80::1%e th",
            "a\0",
            "ä",
            "ssh://b",
        ] {
            assert!(bad.parse::<SshTarget>().is_err(), "{bad:?} was accepted");
        }
    }
}
