//! The DNS server of a lab: dnsmasq, which hands out the addresses of a name in another order each time.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::Lab;
use super::host::Host;
use super::wait;

const RECORDS: &str = "/etc/records";
const LOG: &str = "/var/log/dnsmasq.log";

/// A host that answers for every name; a name without records does not exist.
pub struct Dns {
    host: Host,
    server: Pid,
    records: RefCell<BTreeMap<String, Vec<IpAddr>>>,
}

impl Lab {
    /// Lets a name point to the IPv4 addresses of these hosts, and to nothing else.
    pub fn point(&self, name: &str, hosts: &[&str]) {
        let addresses: Vec<IpAddr> = hosts.iter().map(|host| self[host].v4().into()).collect();
        self.dns().set(name, &addresses);
    }

    /// As [`Lab::point`], with the IPv6 addresses too.
    pub fn point_both(&self, name: &str, hosts: &[&str]) {
        let addresses: Vec<IpAddr> = hosts.iter().flat_map(|host| self[host].addresses()).collect();
        self.dns().set(name, &addresses);
    }
}

impl Dns {
    pub(super) fn start(host: Host) -> Self {
        host.write(RECORDS, "");
        let records = format!("--addn-hosts={RECORDS}");
        let log = format!("--log-facility={LOG}");
        host.run([
            "dnsmasq",
            "--conf-file=/dev/null",
            "--no-hosts",
            "--no-resolv",
            "--local=/#/",
            &records,
            "--user=root",
            "--group=root",
            "--pid-file=/run/dnsmasq.pid",
            "--log-queries",
            &log,
        ])
        .ok();
        let server = wait::some("dnsmasq runs", || host.processes("dnsmasq").first().copied());
        let dns = Dns { host, server, records: RefCell::default() };
        wait::until("dnsmasq has read its records", || dns.readings() == 1);
        dns
    }

    /// The host it runs on: its cable, its process.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Lets a name have just these A and AAAA records; returns when dnsmasq answers so. No addresses: no such name.
    pub fn set(&self, name: &str, addresses: &[IpAddr]) {
        self.set_all(&[name], addresses);
    }

    /// The same for many names at once.
    pub fn set_all(&self, names: &[&str], addresses: &[IpAddr]) {
        let mut records = self.records.borrow_mut();
        for name in names {
            records.insert((*name).to_owned(), addresses.to_vec());
        }
        let mut file = String::new();
        for (name, addresses) in records.iter() {
            for address in addresses {
                writeln!(file, "{address} {name}").unwrap();
            }
        }
        self.host.write(RECORDS, file);
        let before = self.readings();
        self.host.signal(self.server, Signal::SIGHUP);
        wait::until("dnsmasq has read the new records", || self.readings() > before);
    }

    /// How often a record of this name was asked for, by anyone.
    pub fn questions(&self, name: &str) -> usize {
        self.host
            .text(LOG)
            .lines()
            .filter(|line| line.contains("query[") && line.contains(&format!(" {name} ")))
            .count()
    }

    /// The address that came first in each answer for this name, oldest answer first.
    pub fn first_answers(&self, name: &str) -> Vec<String> {
        let log = self.host.text(LOG);
        let lines: Vec<&str> = log.lines().collect();
        let asked_and_told = lines.windows(2).filter(|pair| pair[0].contains("query[") && pair[1].contains(RECORDS));
        let of_name = asked_and_told.filter(|pair| pair[1].contains(&format!(" {name} is ")));
        of_name.filter_map(|pair| pair[1].rsplit(' ').next().map(str::to_owned)).collect()
    }

    fn readings(&self) -> usize {
        if !self.host.exists(LOG) {
            return 0;
        }
        self.host.text(LOG).lines().filter(|line| line.contains(&format!("read {RECORDS}"))).count()
    }
}
