//! The lab: hosts with real sshd and nginx, a DNS server that rotates, a CA; raised for one test and gone with it.
//!
//! ```ignore
//! let lab = Lab::raise().host("web1").host("web2").host("web3").with_ca().up();
//! lab.dns().set("www.site.test", &["web1", "web2", "web3"]);
//! lab["web1"].run(["certcast", "rehearse", "www.site.test"]).ok();
//! lab["web2"].unplug();
//! ```
//!
//! The first host is the primary. Every host has its own root, network, host name and process view; see `host.sh`.
//! The lab dies with the thread that raised it (`init.sh` says how), so it stays where it was raised. Labs do not know of each
//! other: the same names and addresses serve in any number of them at once.

mod actions;
mod bundle;
mod ca;
mod caller;
mod certbot;
mod disk;
mod dns;
mod files;
mod hooks;
mod host;
mod issuer;
mod judge;
mod lineage;
mod namespaces;
mod nginx;
mod process;
mod raise;
mod settings;
mod sshd;
mod wait;
mod watch;

use std::ops::Index;

pub use bundle::{Bundle, Fault};
pub use ca::Ca;
pub use caller::told;
pub use certbot::Certbot;
pub use disk::Image;
pub use dns::Dns;
pub use files::Entry;
pub use hooks::{ACCOUNT, CHALLENGES, Hooks, token};
pub use host::Host;
pub use issuer::Validity;
pub use process::{Command, Finished, Running};
pub use raise::Raise;
pub use sshd::Grant;
pub use wait::{some, until};
pub use watch::{programs, watching};

use issuer::Issuer;
use namespaces::Namespaces;

/// Some hosts on one bridge.
pub struct Lab {
    hosts: Vec<Host>,
    dns: Dns,
    ca: Option<Ca>,
    issuer: Issuer,
    // Last: what the others run in goes when they are gone.
    namespaces: Namespaces,
}

impl Lab {
    /// Begins to describe a lab.
    pub fn raise() -> Raise {
        Raise::default()
    }

    /// The host where certbot runs: the first.
    pub fn primary(&self) -> &Host {
        &self.hosts[0]
    }

    /// Every web host but the primary.
    pub fn peers(&self) -> &[Host] {
        &self.hosts[1..]
    }

    /// Every web host, the primary first.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The DNS server all hosts ask.
    pub fn dns(&self) -> &Dns {
        &self.dns
    }

    /// The certificate authority; `with_ca` makes one.
    pub fn ca(&self) -> &Ca {
        self.ca.as_ref().expect("this lab was raised without `with_ca`")
    }

    /// A good bundle for these names, straight from the lab's throw-away CA: no certbot, no ACME, a millisecond.
    pub fn bundle(&self, names: &[&str]) -> Bundle {
        self.issuer.issue(names, Validity::Fresh)
    }

    /// A bundle for these names with other dates.
    pub fn bundle_valid(&self, names: &[&str], validity: Validity) -> Bundle {
        self.issuer.issue(names, validity)
    }

    /// A good bundle of a CA that calls itself as the lab's does and is another.
    pub fn bundle_of_another_ca(names: &[&str]) -> Bundle {
        Issuer::new().issue(names, Validity::Fresh)
    }

    /// The root certificate, as PEM, under which [`Lab::bundle`] issues.
    pub fn root(&self) -> Vec<u8> {
        self.issuer.root()
    }

    /// Process 1 of the lab as the test sees it: what everything here dies with.
    pub fn init(&self) -> nix::unistd::Pid {
        self.namespaces.init()
    }

    /// A program on the bridge itself, in nobody's place: a visitor from the internet who sees the machine's files.
    pub fn visitor<A: AsRef<std::ffi::OsStr>>(&self, argv: impl IntoIterator<Item = A>) -> Command {
        self.namespaces.visitor(argv)
    }
}

impl Index<&str> for Lab {
    type Output = Host;

    fn index(&self, name: &str) -> &Host {
        self.hosts
            .iter()
            .find(|host| host.name() == name)
            .unwrap_or_else(|| panic!("there is no host {name} in this lab"))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for host in &self.hosts {
                host.tell_last_words();
            }
        }
    }
}
