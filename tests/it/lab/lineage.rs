//! certbot's tree, written without certbot: archive, live, renewal configuration, modes and links as certbot makes them.

use super::bundle::Bundle;
use super::host::Host;
use super::{Lab, judge};

const TREE: &str = "/etc/letsencrypt";

impl Lab {
    /// Gives the primary version `number` of a lineage, as if certbot had just renewed it: a fresh bundle for `names`.
    pub fn issue(&self, lineage: &str, number: u32, names: &[&str]) -> Bundle {
        let bundle = self.bundle(names);
        self.primary().install(lineage, number, &bundle);
        self.primary().write_renewal_conf(lineage);
        bundle
    }
}

impl Host {
    /// Writes version `number` of a lineage and points `live/` at it. Files of that number are written anew.
    /// No renewal configuration: this is the tree as it is on a peer.
    pub fn install(&self, lineage: &str, number: u32, bundle: &Bundle) {
        let (archive, live) = (format!("{TREE}/archive/{lineage}"), format!("{TREE}/live/{lineage}"));
        self.mkdir(&archive);
        self.mkdir(&live);
        self.chmod(&format!("{TREE}/archive"), 0o700);
        self.chmod(&format!("{TREE}/live"), 0o700);
        self.write(&format!("{TREE}/live/README"), "This directory contains your keys and certificates.\n");
        self.write(&format!("{live}/README"), "This directory contains your keys and certificates.\n");
        for (file, content) in bundle.files() {
            let path = format!("{archive}/{file}{number}.pem");
            self.write(&path, content);
            self.chmod(&path, if file == "privkey" { 0o600 } else { 0o644 });
            let link = format!("{live}/{file}.pem");
            if self.exists(&link) {
                self.remove(&link);
            }
            self.link(&format!("../../archive/{lineage}/{file}{number}.pem"), &link);
        }
    }

    /// What certbot needs to call the lineage its own, with certcast as its hooks.
    pub fn write_renewal_conf(&self, lineage: &str) {
        self.write(&format!("{TREE}/renewal/{lineage}.conf"), judge::renewal_conf(lineage));
    }

    /// The digest of the leaf that `live/` names; none when there is no such lineage.
    pub fn installed_leaf(&self, lineage: &str) -> Option<String> {
        let path = format!("{TREE}/live/{lineage}/cert.pem");
        self.exists(&path).then(|| super::bundle::fingerprint(&self.read(&path)))
    }
}
