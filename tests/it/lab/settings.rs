//! certcast's configuration on each host.

use std::fmt::Write;

use super::Lab;
use super::host::Host;
use super::sshd::{Grant, IDENTITY};

const CONFIG: &str = "/etc/certcast/config.toml";
const KNOWN_HOSTS: &str = "/etc/certcast/known_hosts";

impl Lab {
    /// What setting up leaves: on the primary a key, the pinned host keys and all peers; on the
    /// peers that key restricted to `receive`. Every node with nginx as its service.
    pub(super) fn introduce(&self) {
        let primary = self.primary();
        let key = primary.new_key(IDENTITY);
        let mut config = node(primary);
        write!(config, "\n[ssh]\nidentity = \"{IDENTITY}\"\nknown_hosts = \"{KNOWN_HOSTS}\"\n").unwrap();
        for peer in self.peers() {
            let (name, v4, v6) = (peer.name(), peer.v4(), peer.v6());
            write!(config, "\n[[peer]]\nname = \"{name}\"\nssh = \"root@{v4}:22\"\naddresses = [\"{v4}\", \"{v6}\"]\n")
                .unwrap();
            peer.write(CONFIG, node(peer));
            peer.authorize(&key, Grant::Receive { role: "deploy", only: &[] });
        }
        primary.write(CONFIG, config);
        self.pin_host_keys();
    }

    /// Writes the primary's `known_hosts` anew, from the host keys as they are now.
    pub fn pin_host_keys(&self) {
        let lines: String = self.peers().iter().map(Host::known_hosts_lines).collect();
        self.primary().write(KNOWN_HOSTS, lines);
    }

    /// The public half of the key with which the primary reaches its peers.
    pub fn identity(&self) -> String {
        self.primary().text(&format!("{IDENTITY}.pub"))
    }
}

fn node(host: &Host) -> String {
    format!(
        "[node]\nname = \"{}\"\naddresses = [\"{}\", \"{}\"]\n\n\
         [[service]]\nname = \"nginx\"\ntest = [\"nginx\", \"-t\"]\nreload = [\"nginx\", \"-s\", \"reload\"]\nprobe = [\"443\"]\n",
        host.name(),
        host.v4(),
        host.v6()
    )
}

impl Host {
    /// Sets one value of certcast's configuration here: `"challenge.budget"`, `"peer.0.transport"`, `"service.0.probe"`.
    /// Tables on the way are made, and so is the next element of a list.
    pub fn set(&self, key: &str, value: impl Into<toml::Value>) {
        let mut config = toml::Value::Table(self.text(CONFIG).parse().unwrap());
        let mut place = &mut config;
        for step in key.split('.') {
            place = if let Ok(index) = step.parse::<usize>() {
                if place.as_table().is_some_and(toml::Table::is_empty) {
                    *place = toml::Value::Array(Vec::new());
                }
                let list = place.as_array_mut().unwrap_or_else(|| panic!("{key}: {step} wants a list"));
                if list.len() == index {
                    list.push(toml::Value::Table(toml::Table::new()));
                }
                &mut list[index]
            } else {
                let table = place.as_table_mut().unwrap_or_else(|| panic!("{key}: {step} wants a table"));
                table.entry(step).or_insert_with(|| toml::Value::Table(toml::Table::new()))
            };
        }
        *place = value.into();
        self.write(CONFIG, toml::to_string(&config).unwrap());
    }

    /// Replaces certcast's configuration here.
    pub fn configure(&self, text: &str) {
        self.write(CONFIG, text);
    }

    /// certcast's configuration here.
    pub fn configuration(&self) -> String {
        self.text(CONFIG)
    }
}
