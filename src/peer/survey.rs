//! What is installed and served here of a lineage, for a person. Nothing is changed, and no lock is taken.

use std::collections::BTreeSet;
use std::io;

use crate::model::certificate::Leaf;
use crate::model::config::Service;
use crate::model::deadline::Deadline;
use crate::model::digest::Digest;
use crate::model::names::LineageName;
use crate::peer::archive::Archive;
use crate::peer::journal::Journal;
use crate::peer::node::Node;
use crate::peer::probe::{self, Expectation, Shown};
use crate::peer::{baseline, brought, presence};
use crate::wire::presence::Presence;
use crate::wire::survey::{Certificate, Served, Survey};

/// What cannot be read is told as unknown, and named in the log.
pub fn of(node: &Node, lineage: &LineageName, deadline: Deadline) -> Survey {
    let mut presence = presence::of(node, lineage);
    let mut unknown = |error: io::Error| {
        tracing::warn!(%lineage, "cannot survey: {error}");
        presence = Presence::Unknown { cause: error.to_string() };
    };
    // Without the leaf no service is asked, and without the versions an older one is not known for one: neither is well.
    let leaf = baseline::installed_leaf(node, lineage).map_err(&mut unknown).ok().flatten();
    let versions = versions(node, lineage).map_err(unknown).unwrap_or_default();
    Survey {
        lineage: lineage.clone(),
        presence,
        certificate: leaf.as_ref().map(|leaf| Certificate { leaf: leaf.digest, not_after: leaf.not_after }),
        unfinished: Journal::is_open_for(node.state(), lineage),
        served: leaf.map(|leaf| served(node, &leaf, &versions, deadline)).unwrap_or_default(),
    }
}

/// The leafs of all versions that a service may still show, pruned ones too.
fn versions(node: &Node, lineage: &LineageName) -> io::Result<Vec<Digest>> {
    let mut versions = brought::leafs(node.state(), lineage)?;
    if let Some(archive) = Archive::open(node.letsencrypt(), lineage)? {
        versions.extend(archive.leafs()?);
    }
    Ok(versions)
}

fn served(node: &Node, installed: &Leaf, versions: &[Digest], deadline: Deadline) -> Served {
    if installed.names.is_empty() {
        return Served::default();
    }
    let look = |service| Seen { service, places: probe::look(&probe::places(service), &installed.names, deadline) };
    counted(&node.services().iter().map(look).collect::<Vec<_>>(), installed.digest, versions)
}

/// What was seen of one service, at the places where something listens.
struct Seen<'s> {
    service: &'s Service,
    places: Vec<(Expectation, Shown)>,
}

impl Seen<'_> {
    fn is_silent(&self) -> bool {
        !self.service.probe.is_empty() && self.places.is_empty()
    }

    fn at(&self, place: &Expectation) -> String {
        format!("{} for {} at {}", self.service.name, place.name, place.address)
    }

    fn missed(&self, place: &Expectation, shown: &Shown) -> String {
        match shown {
            Shown::Leaf(_) => format!("{} shows another certificate", self.at(place)),
            _ => format!("{} shows no certificate", self.at(place)),
        }
    }
}

fn counted(seen: &[Seen<'_>], installed: Digest, versions: &[Digest]) -> Served {
    let mut served = Served::default();
    for service in seen {
        served.none += u32::from(service.is_silent());
        for (place, shown) in &service.places {
            match shown {
                Shown::Leaf(leaf) if *leaf == installed => served.current += 1,
                Shown::Leaf(leaf) if versions.contains(leaf) => {
                    served.older += 1;
                    served.example.get_or_insert_with(|| service.at(place));
                }
                Shown::Leaf(_) => served.other += 1,
                Shown::NoCertificate(_) | Shown::NoListener => served.none += 1,
                Shown::NotAsked => served.unasked += 1,
            }
        }
    }
    let nowhere = || if served.current + served.older + served.unasked == 0 { nowhere(seen) } else { None };
    served.missed = seen.iter().find_map(|service| in_part(service, installed)).or_else(nowhere);
    served
}

/// A place of a service that shows another one for a name for which a place of the same service shows this one.
fn in_part(seen: &Seen<'_>, installed: Digest) -> Option<String> {
    let is_current = |shown: &Shown| *shown == Shown::Leaf(installed);
    let current: BTreeSet<_> =
        seen.places.iter().filter(|(_, shown)| is_current(shown)).map(|(place, _)| place.name.to_string()).collect();
    let is_missed = |(place, shown): &&(Expectation, Shown)| {
        // What the loopback interface shows no visitor sees.
        let counts = *shown != Shown::NotAsked && !is_current(shown) && !place.address.ip().is_loopback();
        counts && current.contains(&place.name.to_string())
    };
    seen.places.iter().find(is_missed).map(|(place, shown)| seen.missed(place, shown))
}

/// Why it is wrong that nothing shows this lineage, where that can be said.
fn nowhere(seen: &[Seen<'_>]) -> Option<String> {
    if let Some(silent) = seen.iter().find(|service| service.is_silent()) {
        return Some(format!("nothing listens for {}", silent.service.name));
    }
    // A service that is not probed may be the one that uses it.
    if seen.iter().any(|service| service.service.probe.is_empty()) {
        return None;
    }
    // For a wildcard a name was made up, which need not be hosted.
    let mut places = seen.iter().flat_map(|service| service.places.iter().map(move |place| (service, place)));
    let (service, (place, shown)) = places.find(|(_, (place, _))| !place.name.is_wildcard())?;
    Some(service.missed(place, shown))
}

#[cfg(test)]
mod tests;
