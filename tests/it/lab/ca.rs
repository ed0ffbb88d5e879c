//! The CA of a lab: pebble, on a host of its own, asking the lab's DNS and coming from its own address.

use std::net::IpAddr;
use std::time::Duration;

use super::dns::Dns;
use super::host::Host;
use super::issuer::{Issuer, Validity};
use super::process::Running;

/// Where ACME begins.
pub const DIRECTORY: &str = "https://ca.test:14000/dir";
/// What a client must trust to talk to the CA; on every host of a lab with a CA. Not what the CA signs with.
pub const TRUST: &str = "/etc/lab-root.pem";

const LOG: &str = "/var/log/pebble.log";
const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// A CA that validates port 80 without delay, refuses no nonce and reuses no authorization unless asked to.
pub struct Ca {
    host: Host,
    // Ends with it.
    _pebble: Running,
}

impl Ca {
    pub(super) fn start(host: Host, dns: &Dns, issuer: &Issuer, reuse: bool) -> Self {
        let address = host.v4();
        let tls = issuer.issue(&["ca.test", &address.to_string()], Validity::Fresh);
        host.write("/etc/pebble/cert.pem", &tls.fullchain);
        host.write("/etc/pebble/key.pem", &tls.privkey);
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("{address}:14000"),
            "managementListenAddress": format!("{address}:15000"),
            "certificate": "/etc/pebble/cert.pem",
            "privateKey": "/etc/pebble/key.pem",
            "httpPort": 80,
            "tlsPort": 443,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
            "certificateValidityPeriod": 90 * 86_400,
        }});
        host.write("/etc/pebble/config.json", config.to_string());
        let line = format!("exec pebble -config /etc/pebble/config.json -dnsserver {}:53 >{LOG} 2>&1", dns.host().v4());
        let pebble = host
            .command(["sh", "-c", &line])
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_WFE_NONCEREJECT", "0")
            .env("PEBBLE_AUTHZREUSE", if reuse { "100" } else { "0" })
            .deadline(YEAR)
            .spawn();
        dns.set("ca.test", &[IpAddr::V4(address)]);
        host.await_listener(14000);
        host.await_listener(15000);
        Ca { host, _pebble: pebble }
    }

    /// The host it runs on: its cable, its processes.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The certificate, as PEM, of the root under which it issues.
    pub fn root(&self) -> String {
        let url = format!("https://{}:15000/roots/0", self.host.v4());
        self.host.run(["curl", "--silent", "--show-error", "--fail", "--insecure", &url]).ok().stdout()
    }

    /// How many validations it began.
    pub fn validations(&self) -> usize {
        self.log().matches("Pulled a task from the Tasks queue").count()
    }

    /// All it said.
    pub fn log(&self) -> String {
        self.host.text(LOG)
    }
}
