//! This node as it is before a transaction: what is installed, whether the services are well, what they serve.

use std::io;
use std::path::PathBuf;

use crate::model::bundle::{Bundle, FILE_AT_MOST, Part};
use crate::model::certificate::Leaf;
use crate::model::config::Service;
use crate::model::deadline::Deadline;
use crate::model::digest::Digest;
use crate::model::names::LineageName;
use crate::model::outcome::{Outcome, Step};
use crate::peer::admission;
use crate::peer::archive::Archive;
use crate::peer::halt::Halt;
use crate::peer::joined::Joined;
use crate::peer::live::Live;
use crate::peer::node::Node;
use crate::peer::probe::Expectation;
use crate::peer::service::{self, Unwilling};
use crate::peer::settled;
use crate::peer::state::Before;
use crate::sys::bounded;
use crate::wire::message::Offer;

/// What was found of one lineage, and what follows for the services afterwards.
#[derive(Debug)]
pub struct Baseline {
    /// What `live/NAME` is.
    pub before: Before,
    /// The leaf that was installed, if one was.
    pub old_leaf: Option<Digest>,
    /// How whole that is which is installed.
    pub wholeness: Wholeness,
    /// Where this lineage is served: there the new leaf must be served afterwards.
    pub expectations: Vec<Expectation>,
    /// Where of these the new one is served already, which is not the installed one.
    pub ahead: Vec<Expectation>,
}

/// How far the services' own tests can be expected to pass with what is installed of a lineage.
#[derive(Debug)]
pub enum Wholeness {
    /// It is whole: they have to pass, and the pre-flight will show it.
    Whole,
    /// It may be whole, and they have to pass. Of a joined file it is only known that it is there, and of a tree made by hand
    /// nothing.
    Unproven,
    /// Nothing is installed, or what is there is torn: they may fail for want of just this bundle.
    Lacking,
    /// The disk does not say, and why.
    Unknown(String),
}

/// What the services' own tests say of this node as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tests {
    /// They pass.
    Passed,
    /// They fail, and may do so for want of just one of these bundles.
    Failed,
    /// What is installed is whole, so they have to pass; the pre-flight will show it.
    NotAsked,
}

/// The leaf that `live/NAME` names, in whatever layout; none where there is none. A disk that does not say is an error:
/// taken for no leaf, nothing would be expected of the services.
pub fn installed_leaf(node: &Node, lineage: &LineageName) -> io::Result<Option<Leaf>> {
    let directory = node.letsencrypt().path().join("live").join(lineage.as_str());
    // Trees that somebody made by hand often have no cert.pem; the leaf is the first in a chain too.
    for part in [Part::Cert, Part::Fullchain] {
        match bounded::read_bounded(&directory.join(part.link()), FILE_AT_MOST) {
            // Torn, it says nothing of what stands beside it.
            Ok(pem) => {
                if let Ok(leaf) = Leaf::read(&String::from_utf8_lossy(&pem)) {
                    return Ok(Some(leaf));
                }
            }
            Err(error) if is_no_file(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn is_no_file(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, InvalidInput, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory | InvalidInput | FileTooLarge)
}

/// Looks at what must be known of a lineage before anything is written.
pub fn look(
    node: &Node,
    offer: &Offer,
    bundle: &Bundle,
    old: Option<&Leaf>,
    deadline: Deadline,
) -> Result<Baseline, Halt> {
    let live = Live::open(node.letsencrypt(), &offer.lineage)?;
    let before =
        if node.is_own() { Before::Certbot } else { admission::before(node.letsencrypt(), live.as_ref(), offer)? };
    // A place that shows a version older than the last is pinned to it: nobody expects it to change now.
    let old_leaf = old.map(|leaf| leaf.digest);
    let last = match before {
        Before::Certbot => previous_leaf(node, offer)?,
        _ => old_leaf,
    };
    // A service may show the new one already: an attempt that was just undone leaves workers that still do, or it has files
    // of its own, and somebody was quicker.
    let leafs: Vec<_> = last.into_iter().chain([bundle.leaf()]).collect();
    // What is not looked at now is not missed after the switch.
    let served = service::served(node.services(), bundle.names(), &leafs, deadline).map_err(|place| {
        let Expectation { address, name } = place;
        Halt(Outcome::Pending { cause: format!("no time was left to look at what {address} shows for {name}") })
    })?;
    if node.is_own() {
        let all_new = served.iter().all(|(_, leaf)| *leaf == bundle.leaf());
        let holds = |path: &PathBuf| Joined::open(path).is_ok_and(|joined| joined.holds(bundle.files()));
        let joined = node.joined_paths(&offer.lineage).iter().all(holds);
        if all_new && joined && settled::is(node.state(), &offer.lineage, bundle.digest()) {
            return Err(Halt(Outcome::Unchanged));
        }
    }
    let is_ahead = |leaf: Digest| leaf == bundle.leaf() && old_leaf != Some(leaf);
    let ahead = served.iter().filter(|(_, leaf)| is_ahead(*leaf)).map(|(place, _)| place.clone()).collect();
    let expectations = served.into_iter().map(|(place, _)| place).collect();
    Ok(Baseline { before, old_leaf, wholeness: wholeness(node, before, offer), expectations, ahead })
}

fn wholeness(node: &Node, before: Before, offer: &Offer) -> Wholeness {
    let is_proven = before != Before::Foreign && node.joined_paths(&offer.lineage).is_empty();
    match lacks_a_whole_one(node, before, offer) {
        Ok(false) if is_proven => Wholeness::Whole,
        Ok(false) => Wholeness::Unproven,
        Ok(true) => Wholeness::Lacking,
        Err(error) => Wholeness::Unknown(error.to_string()),
    }
}

/// Asks the services' own tests once for all lineages, unless the pre-flight will show what they say.
pub fn tests(services: &[Service], of_each: &[&Wholeness]) -> Result<Tests, Halt> {
    if of_each.iter().all(|wholeness| matches!(wholeness, Wholeness::Whole)) {
        return Ok(Tests::NotAsked);
    }
    let Err(unwilling) = test(services) else { return Ok(Tests::Passed) };
    // A configuration that names a certificate which is not there, or torn, fails for want of just that one.
    if of_each.iter().any(|wholeness| matches!(wholeness, Wholeness::Lacking)) {
        return Ok(Tests::Failed);
    }
    let unknown = of_each.iter().find_map(|wholeness| match wholeness {
        Wholeness::Unknown(why) => Some(why.clone()),
        _ => None,
    });
    Err(unknown.map_or_else(|| unwilling.into(), |why| Halt::refused(Step::Stage, why)))
}

/// Whether the services' own tests pass, with nothing changed yet.
pub fn test(services: &[Service]) -> Result<(), Unwilling> {
    let not_ours = |unwilling: Unwilling| format!("{} (before anything was changed)", unwilling.cause);
    service::test(services).map(drop).map_err(|why| Unwilling { step: Step::Baseline, cause: not_ours(why) })
}

/// On the own node certbot's links name the new version already: the one before it is what services may still show.
fn previous_leaf(node: &Node, offer: &Offer) -> io::Result<Option<Digest>> {
    let Some(archive) = Archive::open(node.letsencrypt(), &offer.lineage)? else { return Ok(None) };
    let previous = archive.previous(offer.number)?;
    Ok(previous.map(|number| archive.leaf(number)).transpose()?.flatten())
}

/// Whether nothing is installed, or what somebody's power cut left of it, or a joined file is yet to be made.
fn lacks_a_whole_one(node: &Node, before: Before, offer: &Offer) -> io::Result<bool> {
    let is_missing = |path: &PathBuf| !Joined::open(path).is_ok_and(|joined| joined.exists().unwrap_or(true));
    if node.joined_paths(&offer.lineage).iter().any(is_missing) {
        return Ok(true);
    }
    let Before::Number(number) = before else { return Ok(before == Before::Nothing) };
    let archive = Archive::open(node.letsencrypt(), &offer.lineage)?;
    let files = archive.map_or(Ok(None), |archive| archive.read(number))?;
    Ok(files.is_none_or(|files| matches!(Bundle::check(files, 0), Err(error) if error.is_damage())))
}

#[cfg(test)]
mod tests;
