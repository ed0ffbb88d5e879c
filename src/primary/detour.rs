//! Redirects to other hosts: the CA asks wherever DNS has them, and that may be a server without the challenge.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::model::config::Config;
use crate::model::deadline::Deadline;
use crate::model::names::Identifier;
use crate::model::some_of::{SomeOf, grouped};
use crate::primary::coverage;
use crate::primary::dns::{self, DnsError};
use crate::primary::fleet::Fleet;

/// What is wrong with the hosts that names are redirected to, by DNS. Hosts that are names themselves were compared already.
pub fn check(
    config: &Config,
    fleet: &Fleet,
    names: &[Identifier],
    detours: &BTreeSet<(Identifier, Identifier)>,
    deadline: Deadline,
    warnings: &mut Vec<String>,
) -> Vec<String> {
    let others = detours.iter().filter(|(_, host)| !names.contains(host));
    let by_host = grouped(others.map(|(name, host)| (host.clone(), name)));
    let hosts: Vec<Identifier> = by_host.iter().map(|(host, _)| host.clone()).collect();
    let (mut strangers, mut definite, mut troubles) = (Vec::new(), Vec::new(), Vec::new());
    for ((host, names), records) in by_host.iter().zip(dns::lookup_all(&hosts, deadline)) {
        match records {
            Ok(records) => strangers.extend(names.iter().flat_map(|name| {
                let places = strange_places(config, fleet, host, name, &records);
                places.into_iter().map(move |address| ((host, address), *name))
            })),
            Err(error) if error.is_definite() => definite.extend(names.iter().map(|name| (error.clone(), *name))),
            Err(error) => troubles.push(error),
        }
    }
    let troubles = dns::summary(&troubles);
    warnings.extend(troubles.iter().map(|trouble| format!("cannot compare DNS with the nodes: {trouble}")));
    let stranger = |((host, address), names): &((&Identifier, IpAddr), Vec<&Identifier>)| {
        format!(
            "the challenge for {} is redirected to {host}, which DNS lists at {address}, where no node gets it: the CA asks \
             there; exempt /.well-known/acme-challenge/ from the redirect, correct the records, or add it to challenge.fronts if \
             nodes are behind it",
            SomeOf(names)
        )
    };
    let missing = |(error, names): &(DnsError, Vec<&Identifier>)| {
        format!("the challenge for {} is redirected elsewhere: {error}", SomeOf(names))
    };
    grouped(strangers).iter().map(stranger).chain(grouped(definite).iter().map(missing)).collect()
}

/// Those of a host's addresses that are no front's, and no node's that gets the name's challenge.
fn strange_places(
    config: &Config,
    fleet: &Fleet,
    host: &Identifier,
    name: &Identifier,
    records: &[IpAddr],
) -> Vec<IpAddr> {
    let found = coverage::coverage(host, records, &coverage::nodes(fleet, name), &config.challenge.fronts);
    found.unknown.into_iter().chain(found.unasked.into_iter().map(|(_, address)| address)).collect()
}
