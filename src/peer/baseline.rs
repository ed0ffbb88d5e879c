//! This node as it is before a transaction: what is installed, whether the services are well, what they serve.

use crate::model::bundle::{Bundle, FILE_AT_MOST, Part};
use crate::model::certificate::Leaf;
use crate::model::deadline::Deadline;
use crate::model::names::LineageName;
use crate::model::outcome::{Outcome, Step};
use crate::peer::admission;
use crate::peer::archive::Archive;
use crate::peer::halt::Halt;
use crate::peer::live::Live;
use crate::peer::node::Node;
use crate::peer::probe::Expectation;
use crate::peer::state::Before;
use crate::peer::{service, settled};
use crate::sys::bounded;
use crate::wire::message::Prepare;

/// What was found, and what follows for the services afterwards.
#[derive(Debug)]
pub struct Baseline {
    /// What `live/NAME` is.
    pub before: Before,
    /// Whether the services' own tests pass.
    pub tests_passed: bool,
    /// Where this lineage is served: there the new leaf must be served afterwards.
    pub expectations: Vec<Expectation>,
}

/// The leaf that `live/NAME` names, in whatever layout.
pub fn installed_leaf(node: &Node, lineage: &LineageName) -> Option<Leaf> {
    let path = node.letsencrypt().path().join("live").join(lineage.as_str()).join(Part::Cert.link());
    let pem = bounded::read_bounded(&path, FILE_AT_MOST).ok()?;
    Leaf::read(&String::from_utf8_lossy(&pem)).ok()
}

/// Looks at everything that must be known before anything is written.
pub fn look(
    node: &Node,
    request: &Prepare,
    bundle: &Bundle,
    old: Option<&Leaf>,
    deadline: Deadline,
) -> Result<Baseline, Halt> {
    let live = Live::open(node.letsencrypt(), &request.lineage)?;
    let before =
        if node.is_own() { Before::Certbot } else { admission::before(node.letsencrypt(), live.as_ref(), request)? };
    let mut leafs = match Archive::open(node.letsencrypt(), &request.lineage)? {
        Some(archive) => archive.leafs()?,
        None => Vec::new(),
    };
    leafs.extend(old.map(|leaf| leaf.digest));
    // A service may show it already: an attempt that was just undone leaves workers that still do.
    leafs.push(bundle.leaf());
    let served = service::served(node.services(), bundle.names(), &leafs, deadline);
    if node.is_own() {
        let all_new = served.iter().all(|(_, leaf)| *leaf == bundle.leaf());
        if all_new && settled::is(node.state(), &request.lineage, bundle.digest()) {
            return Err(Halt(Outcome::Unchanged));
        }
    }
    let tests = service::test(node.services());
    if let Err(unwilling) = &tests {
        // A configuration that names a certificate which is not there yet fails for want of just this one.
        if before != Before::Nothing {
            let cause = format!("{} (before anything was changed)", unwilling.cause);
            return Err(Halt::refused(Step::Baseline, cause));
        }
    }
    let expectations = served.into_iter().map(|(place, _)| place).collect();
    Ok(Baseline { before, tests_passed: tests.is_ok(), expectations })
}
