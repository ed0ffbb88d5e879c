//! How a lab is described, and raised.

use super::Lab;
use super::ca::{self, Ca};
use super::dns::Dns;
use super::host::Host;
use super::issuer::Issuer;
use super::namespaces::Namespaces;

const DNS: u8 = 253;
const CA: u8 = 252;
/// Numbers from 240 on are for what is no web host.
const MOST: usize = 239;

/// A lab about to be raised.
#[derive(Default)]
pub struct Raise {
    hosts: Vec<String>,
    ca: bool,
    reuse: bool,
    bare: bool,
}

impl Raise {
    /// One more web host; the first is the primary. At most 12 characters: its cable is named after it.
    #[must_use]
    pub fn host(mut self, name: &str) -> Self {
        assert!(name.len() <= 12 && !["bridge", "dns", "ca", "lo"].contains(&name), "not a name for a host: {name}");
        self.hosts.push(name.to_owned());
        self
    }

    /// `web1` to `webN`.
    #[must_use]
    pub fn hosts(self, number: usize) -> Self {
        (1..=number).fold(self, |raise, number| raise.host(&format!("web{number}")))
    }

    /// A CA as well.
    #[must_use]
    pub fn with_ca(mut self) -> Self {
        self.ca = true;
        self
    }

    /// A CA that does not validate again what it has validated: it hands out valid authorizations.
    #[must_use]
    pub fn with_ca_that_reuses(mut self) -> Self {
        self.reuse = true;
        self.with_ca()
    }

    /// Hosts without certcast's configuration, keys and permissions: as before they are introduced.
    #[must_use]
    pub fn without_configuration(mut self) -> Self {
        self.bare = true;
        self
    }

    /// Raises it: when this returns, every sshd and nginx, the DNS server and the CA answer.
    pub fn up(self) -> Lab {
        assert!((1..=MOST).contains(&self.hosts.len()), "a lab has 1 to {MOST} hosts");
        let numbers = 1u8..;
        let mut wanted: Vec<(&str, u8)> = self.hosts.iter().map(String::as_str).zip(numbers).collect();
        wanted.push(("dns", DNS));
        if self.ca {
            wanted.push(("ca", CA));
        }
        let mut namespaces = Namespaces::new();
        let holders = namespaces.hosts(&wanted, self.hosts.len());
        let init = namespaces.init();
        let mut hosts: Vec<Host> =
            wanted.iter().zip(holders).map(|((name, number), holder)| Host::new(name, *number, holder, init)).collect();

        // Daemons of all hosts at once; waiting comes after the last start.
        let web = &hosts[..self.hosts.len()];
        let starting: Vec<_> = web.iter().flat_map(|host| [host.sshd("").spawn(), host.nginx().spawn()]).collect();
        let issuer = Issuer::new();
        let ca_host = self.ca.then(|| hosts.pop()).flatten();
        let dns = Dns::start(hosts.pop().expect("the last but the CA"));
        let ca = ca_host.map(|host| Ca::start(host, &dns, &issuer, self.reuse));
        for daemon in starting {
            daemon.wait().ok();
        }
        for host in &hosts {
            host.await_listener(22);
            host.await_listener(80);
            if self.ca {
                host.write(ca::TRUST, issuer.root());
            }
        }
        let lab = Lab { hosts, dns, ca, issuer, namespaces };
        if !self.bare {
            lab.introduce();
        }
        lab
    }
}
