//! What is installed and served here of a lineage, for a person. Nothing is changed, and no lock is taken.

use crate::model::certificate::Leaf;
use crate::model::deadline::Deadline;
use crate::model::digest::Digest;
use crate::model::names::LineageName;
use crate::peer::archive::Archive;
use crate::peer::journal::Journal;
use crate::peer::node::Node;
use crate::peer::probe::{self, Shown};
use crate::peer::{admission, baseline};
use crate::wire::survey::{Certificate, Served, Survey};

/// What cannot be read is told as missing, and named in the log.
pub fn of(node: &Node, lineage: &LineageName, deadline: Deadline) -> Survey {
    let unreadable = |error| tracing::warn!(%lineage, "cannot survey: {error}");
    let version = admission::installed(node, lineage).map_err(unreadable).unwrap_or_default();
    let leaf = baseline::installed_leaf(node, lineage).map_err(unreadable).unwrap_or_default();
    Survey {
        lineage: lineage.clone(),
        version,
        certificate: leaf.as_ref().map(|leaf| Certificate { leaf: leaf.digest, not_after: leaf.not_after }),
        unfinished: Journal::is_open_for(node.state(), lineage),
        served: leaf.map(|leaf| served(node, lineage, &leaf, deadline)).unwrap_or_default(),
    }
}

fn served(node: &Node, lineage: &LineageName, installed: &Leaf, deadline: Deadline) -> Served {
    let archive = Archive::open(node.letsencrypt(), lineage).ok().flatten();
    let versions: Vec<Digest> = archive.and_then(|archive| archive.leafs().ok()).unwrap_or_default();
    let mut served = Served::default();
    for service in node.services() {
        for (place, shown) in probe::look(&probe::places(service), &installed.names, deadline) {
            match shown {
                Shown::Leaf(leaf) if leaf == installed.digest => served.current += 1,
                Shown::Leaf(leaf) if versions.contains(&leaf) => {
                    served.older += 1;
                    served
                        .example
                        .get_or_insert_with(|| format!("{} for {} at {}", service.name, place.name, place.address));
                }
                Shown::Leaf(_) => served.other += 1,
                Shown::NoCertificate(_) | Shown::NoListener => served.none += 1,
            }
        }
    }
    served
}
