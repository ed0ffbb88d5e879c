//! Lineages that certbot no longer has here and that peers still keep: said, and never removed unasked.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use crate::model::config::Config;
use crate::model::deadline::Deadline;
use crate::model::names::{LineageName, NodeName};
use crate::primary::conversation::{Conversation, TalkError};
use crate::primary::fleet::{Member, Places, for_each};
use crate::primary::record;
use crate::wire::message::{LINEAGES_AT_MOST, Reply, Request};
use crate::wire::presence::Presence;

/// Nothing depends on it: who does not answer by then is asked the next time.
const ASKING: Duration = Duration::from_secs(20);

/// A lineage that is gone here and not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// The node that keeps it.
    pub node: NodeName,
    /// Its name there.
    pub lineage: LineageName,
}

/// Asks each peer for what it once took of lineages that are gone here; a peer that took none of these is not called.
/// What a peer no longer has either is forgotten, unless nothing is to be changed.
pub fn find(config: &Config, present: &[LineageName], peers: &[&Member], dry_run: bool) -> io::Result<Vec<Leftover>> {
    let places = Places::new(config.deploy.parallel, peers.len());
    let found = for_each(peers.to_vec(), |member| {
        let gone = gone(config, present, member);
        if gone.is_empty() { Vec::new() } else { places.with(|| kept(config, member, &gone, dry_run)) }
    })?;
    Ok(found.into_iter().flatten().collect())
}

/// The lineages that a peer once took and that are gone here, by their names there, each with its names here; none whose
/// place there another one has.
fn gone(config: &Config, present: &[LineageName], member: &Member) -> BTreeMap<LineageName, Vec<LineageName>> {
    let there = |name: &LineageName| config.deploy.name_on_peers(name).clone();
    let taken: BTreeSet<_> = present.iter().map(there).collect();
    let mut gone: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for name in record::lineages(&config.node.state, &member.name) {
        if !present.contains(&name) && !taken.contains(&there(&name)) && gone.len() < LINEAGES_AT_MOST {
            gone.entry(there(&name)).or_default().push(name);
        }
    }
    gone
}

fn kept(
    config: &Config,
    member: &Member,
    gone: &BTreeMap<LineageName, Vec<LineageName>>,
    dry_run: bool,
) -> Vec<Leftover> {
    let asked = Request::Survey { lineages: gone.keys().cloned().collect() };
    let answer = Conversation::open(&config.node.name, member, &[asked], Deadline::after(ASKING))
        .and_then(|mut talk| talk.receive())
        .and_then(|reply| match reply {
            Reply::Surveyed { lineages } => Ok(lineages),
            _ => Err(TalkError::Unexpected),
        });
    let surveyed = match answer {
        Ok(surveyed) => surveyed,
        Err(error) => {
            tracing::warn!(node = %member.name, "cannot ask for lineages that are gone here: {}", error.explained());
            return Vec::new();
        }
    };
    let mut kept = Vec::new();
    for (lineage, names) in gone {
        // Of what is not this key's nothing is said, and that is not that it is gone.
        let Some(there) = surveyed.iter().find(|survey| survey.lineage == *lineage) else { continue };
        match &there.presence {
            Presence::Gone if !there.unfinished => {
                if !dry_run {
                    forget(config, member, names);
                }
            }
            // A tree that is torn, or made by hand since, has a key too.
            Presence::Gone | Presence::Here { .. } => {
                kept.push(Leftover { node: member.name.clone(), lineage: lineage.clone() });
            }
            // Asked for again the next time.
            Presence::Unknown { cause } => tracing::warn!(
                node = %member.name, %lineage, "cannot say whether it keeps a lineage that is gone here: {cause}"
            ),
        }
    }
    kept
}

fn forget(config: &Config, member: &Member, names: &[LineageName]) {
    for name in names {
        if let Err(error) = record::forget(&config.node.state, &member.name, name) {
            tracing::warn!(node = %member.name, lineage = %name, "cannot forget a lineage that is gone: {error}");
        }
    }
}
