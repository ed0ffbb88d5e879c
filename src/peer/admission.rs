//! Whether a bundle may be installed here: everything that can be said before anything is written.

use std::io;
use std::path::PathBuf;

use crate::model::bundle::Bundle;
use crate::model::certificate::Leaf;
use crate::model::names::{Identifier, LineageName};
use crate::model::outcome::Step;
use crate::peer::archive::Archive;
use crate::peer::halt::Halt;
use crate::peer::joined::Joined;
use crate::peer::live::{Live, LiveError};
use crate::peer::node::Node;
use crate::peer::policy::Grant;
use crate::peer::state::Before;
use crate::sys::dir::Dir;
use crate::wire::message::{Offer, Version};

/// What is installed of a lineage, for comparing: none unless it is whole, in certbot's layout, and
/// joined files hold the same.
pub fn installed(node: &Node, lineage: &LineageName) -> io::Result<Option<Version>> {
    let letsencrypt = node.letsencrypt();
    let Some(live) = Live::open(letsencrypt, lineage)? else { return Ok(None) };
    let number = match live.number() {
        Ok(Some(number)) => number,
        Ok(None) | Err(LiveError::Foreign(..)) => return Ok(None),
        Err(LiveError::Io(error)) => return Err(error),
    };
    let Some(archive) = Archive::open(letsencrypt, lineage)? else { return Ok(None) };
    let Some(files) = archive.read(number)? else { return Ok(None) };
    let holds = |path: &PathBuf| Joined::open(path).is_ok_and(|joined| joined.holds(&files));
    let whole = node.joined_paths(lineage).iter().all(holds);
    Ok(whole.then(|| Version { number, digest: files.digest() }))
}

/// Checks the bundle itself, and that it does not take a step back.
pub fn check(offer: &Offer, grant: &Grant, installed: Option<&Leaf>, now: i64) -> Result<(Bundle, Vec<String>), Halt> {
    let bundle =
        Bundle::check(offer.files.clone(), now).map_err(|error| Halt::refused(Step::Check, error.to_string()))?;
    let mut notes = Vec::new();
    let Some(old) = installed else { return Ok((bundle, notes)) };
    if bundle.not_before() < old.not_before {
        grant.allows_step_back(offer, "the certificate is older than the installed one")?;
    }
    let missing: Vec<_> =
        old.names.iter().filter(|name| !bundle.names().contains(name)).map(Identifier::to_string).collect();
    // A certificate without a name of its kind, as made by hand long ago, says nothing about names.
    if !old.names.is_empty() && missing.len() == old.names.len() {
        grant.allows_step_back(offer, "the certificate is for none of the names of the installed one")?;
    }
    if !missing.is_empty() {
        let note = format!("the new certificate is no longer for {}", missing.join(", "));
        if offer.refuse_missing_names {
            return Err(Halt::refused(Step::Check, note));
        }
        notes.push(note);
    }
    Ok((bundle, notes))
}

/// What `live/NAME` is now, if a new version may take its place.
pub fn before(letsencrypt: &Dir, live: Option<&Live>, offer: &Offer) -> Result<Before, Halt> {
    let adopt = "'certcast resync --adopt' takes it over and keeps a backup";
    let renewal = std::path::Path::new("renewal").join(format!("{}.conf", offer.lineage));
    let conf = letsencrypt.path().join(&renewal);
    if conf.exists() {
        let conf = conf.display();
        return Err(Halt::refused(
            Step::Tree,
            format!("certbot on this node renews this certificate itself ({conf}); move that file away, then: {adopt}"),
        ));
    }
    let Some(live) = live else { return Ok(Before::Nothing) };
    match live.number() {
        Ok(Some(number)) => Ok(Before::Number(number)),
        Ok(None) => Ok(Before::Nothing),
        Err(LiveError::Foreign(path, why)) if !offer.wishes.adopt || !live.path().is_dir() => {
            Err(Halt::refused(Step::Tree, format!("{path} was not made by certbot or certcast ({why}); {adopt}")))
        }
        Err(LiveError::Foreign(..)) => Ok(Before::Foreign),
        Err(LiveError::Io(error)) => Err(error.into()),
    }
}
