//! The judges: programs that are not ours and say what a host really serves and really has.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::bundle::fingerprint;
use super::host::Host;
use super::process::Finished;
use super::{Certbot, Lab};

const VISIT: Duration = Duration::from_secs(10);

impl Lab {
    /// The SHA-256 of the leaf shown for `name` on port 443 of an address, in lower-case hex; none when there is no handshake.
    pub fn served_leaf(&self, address: impl Into<IpAddr>, name: &str) -> Option<String> {
        self.served_leaf_at((address.into(), 443), name)
    }

    /// The same for any port.
    pub fn served_leaf_at(&self, at: impl Into<SocketAddr>, name: &str) -> Option<String> {
        let at = at.into().to_string();
        let shown = self.visitor(["openssl", "s_client", "-connect", &at, "-servername", name, "-no_ticket"]);
        let shown = shown.deadline(VISIT).run().stdout();
        shown.contains("-----BEGIN CERTIFICATE-----").then(|| fingerprint(shown.as_bytes()))
    }

    /// `curl` of a URL, with its name pinned to an address, as a visitor: body, and on the last line the status.
    /// What curl does with redirects is pinned as well.
    pub fn get(&self, address: impl Into<IpAddr>, url: &str) -> Page {
        let address = match address.into() {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("[{v6}]"),
        };
        let pinned = format!("::{address}:");
        let words =
            ["curl", "--silent", "--show-error", "--insecure", "--max-time", "8", "--write-out", "\n%{http_code}"];
        let got = self.visitor(words).args(["--connect-to", &pinned, url]).deadline(VISIT).run();
        let text = got.stdout();
        let (body, status) = text.rsplit_once('\n').unwrap_or(("", "000"));
        Page { status: status.parse().unwrap_or(0), body: body.to_owned() }
    }
}

/// What curl got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// 0 when there was no answer.
    pub status: u16,
    /// The answer's body.
    pub body: String,
}

impl Host {
    /// What Debian's certbot says of a lineage here. A peer has no renewal configuration: it gets one for the question.
    pub fn certbot_certificates(&self, lineage: &str) -> Finished {
        let conf = format!("/etc/letsencrypt/renewal/{lineage}.conf");
        let lent = !self.exists(&conf);
        let whole = self.exists("/etc/letsencrypt/renewal");
        if lent {
            self.write(&conf, renewal_conf(lineage));
        }
        let said = self.certbot(Certbot::Debian).args(["certificates", "--cert-name", lineage]).run();
        if lent {
            self.remove(if whole { &conf } else { "/etc/letsencrypt/renewal" });
        }
        said
    }
}

pub(super) fn renewal_conf(lineage: &str) -> String {
    let tree = "/etc/letsencrypt";
    format!(
        "version = 2.1.0\n\
         archive_dir = {tree}/archive/{lineage}\n\
         cert = {tree}/live/{lineage}/cert.pem\n\
         privkey = {tree}/live/{lineage}/privkey.pem\n\
         chain = {tree}/live/{lineage}/chain.pem\n\
         fullchain = {tree}/live/{lineage}/fullchain.pem\n\n\
         [renewalparams]\n\
         authenticator = manual\n\
         pref_challs = http-01,\n\
         manual_auth_hook = /usr/local/bin/certcast auth\n\
         manual_cleanup_hook = /usr/local/bin/certcast cleanup\n\
         renew_hook = /usr/local/bin/certcast deploy\n\
         server = {}\n\
         key_type = ecdsa\n",
        super::ca::DIRECTORY
    )
}
