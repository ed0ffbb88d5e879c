//! Bringing nodes to the primary's lineages: several together first, then each that is not in line by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::model::config::{Config, MissingNames};
use crate::model::deadline::Deadline;
use crate::model::names::{LineageName, NodeName};
use crate::model::outcome::Outcome;
use crate::primary::fleet::{Fleet, Member};
use crate::primary::line::Line;
use crate::primary::lineage::Lineage;
use crate::primary::record;
use crate::primary::round::{self, Round};
use crate::primary::watcher::Watcher;
use crate::wire::message::{Offer, Wishes};

/// The longest that one run may take, however many lineages it has.
pub const AT_MOST: Duration = Duration::from_secs(15 * 60);

/// What became of one lineage on one node.
#[derive(Debug, Serialize)]
pub struct Delivery {
    /// The node.
    pub node: NodeName,
    /// The lineage, by its name on the primary.
    pub lineage: LineageName,
    /// How it ended; none for a dry run that would change something.
    #[serde(flatten)]
    pub outcome: Option<Outcome>,
    /// Whether the node only waited because of another one, by our own word and no other.
    #[serde(skip)]
    pub is_held_back: bool,
    /// For a dry run: what would change.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
}

impl Delivery {
    /// Whether the node did not have the lineage before.
    pub fn is_applied(&self) -> bool {
        matches!(self.outcome, Some(Outcome::Applied { .. }))
    }

    /// Whether the node has the lineage now, or nothing was to be done but to say what would be.
    pub fn is_well(&self) -> bool {
        self.outcome.as_ref().is_none_or(Outcome::is_in_sync)
    }
}

/// How to deliver.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// What the person asked for.
    pub wishes: Wishes,
    /// Whether nodes most likely lack the bundle, so that it may travel with the first flight.
    pub is_fresh: bool,
}

/// The dispatcher of one run.
#[derive(Debug)]
pub struct Courier<'c> {
    /// The configuration.
    pub config: &'c Config,
    /// certbot's directory.
    pub letsencrypt: &'c Path,
    /// The site.
    pub fleet: &'c Fleet,
    /// How to deliver.
    pub manner: Manner,
}

impl<'c> Courier<'c> {
    /// Delivers lineages to the given peers; the own node's services come first.
    ///
    /// Several travel together as far as that goes well, so that each node reloads once. What is not in line after that is
    /// delivered one lineage after another: what is wrong with one is told of that one, and holds no other back.
    pub fn deliver(
        &self,
        lineages: &[Lineage],
        peers: &[&'c Member],
        watcher: &'c dyn Watcher,
        limit: Deadline,
    ) -> io::Result<Vec<Delivery>> {
        let alone: Vec<_> = lineages.iter().map(|lineage| Round::of(vec![lineage])).collect::<io::Result<_>>()?;
        let together: Vec<_> = self.loads(lineages, peers).into_iter().map(Round::of).collect::<io::Result<_>>()?;
        let budget = self.config.deploy.budget;
        let turns = count(&alone).saturating_add(together.len().try_into().unwrap_or(u32::MAX).saturating_mul(2));
        let deadline = limit.at_most(budget.saturating_mul(turns));
        let mut lines = self.lines(lineages, peers, watcher, deadline);
        let mut deliveries = Vec::new();
        // The other half is for what is to be done again alone.
        let half = deadline.at_most(deadline.left() / 2);
        for (round, rest) in together.iter().zip((1..=count(&together)).rev()) {
            let turn = half.at_most((half.left() / rest).min(budget.saturating_mul(2)));
            deliveries.extend(round.run(self, &mut lines, watcher, turn, |_, _| true));
            lines.iter_mut().for_each(Line::mend);
        }
        let told: BTreeSet<_> = deliveries.iter().map(|one| (one.node.clone(), one.lineage.clone())).collect();
        let is_left = |node: &NodeName, lineage: &LineageName| !told.contains(&(node.clone(), lineage.clone()));
        let left: Vec<_> = alone
            .into_iter()
            .filter(|round| self.nodes(peers).any(|node| round.is_for(self, node, &is_left)))
            .collect();
        for (round, rest) in left.iter().zip((1..=count(&left)).rev()) {
            let turn = deadline.at_most(deadline.left() / rest);
            deliveries.extend(round.run(self, &mut lines, watcher, turn, is_left));
            lines.iter_mut().for_each(Line::mend);
        }
        let ranks: BTreeMap<_, _> = lineages.iter().map(|lineage| &lineage.name).zip(0..).collect();
        let nodes: BTreeMap<_, _> = self.nodes(peers).map(|node| &node.name).zip(0..).collect();
        deliveries.sort_by_key(|one| (ranks.get(&one.lineage).copied(), nodes.get(&one.node).copied()));
        Ok(deliveries)
    }

    /// What goes together. What most likely is to be done comes first, so that it does, however many there are.
    fn loads<'l>(&self, lineages: &'l [Lineage], peers: &[&'c Member]) -> Vec<Vec<&'l Lineage>> {
        if self.manner.wishes.dry_run || lineages.len() < 2 {
            return Vec::new();
        }
        let is_due = |lineage: &&Lineage| {
            self.nodes(peers).any(|node| self.wants(node, &lineage.name) && self.lacks(node, lineage))
        };
        let (due, others): (Vec<_>, Vec<_>) = lineages.iter().partition(is_due);
        round::loads(due.into_iter().chain(others))
    }

    /// The own node and these peers.
    fn nodes<'m>(&'m self, peers: &'m [&'c Member]) -> impl Iterator<Item = &'m Member> {
        std::iter::once(&self.fleet.own).chain(peers.iter().copied())
    }

    /// Whether a node most likely lacks a bundle: it has not acknowledged it.
    fn lacks(&self, member: &Member, lineage: &Lineage) -> bool {
        let record = record::read(&self.config.node.state, &member.name, &lineage.name);
        record.and_then(|record| record.has) != Some(lineage.digest())
    }

    /// One line a peer that any of it is for. A peer that most likely lacks the only bundle gets it with
    /// the first flight; every other one is asked first, so that only what it lacks travels.
    fn lines(
        &self,
        lineages: &[Lineage],
        peers: &[&'c Member],
        watcher: &'c dyn Watcher,
        deadline: Deadline,
    ) -> Vec<Line<'c>> {
        let mut lines = Vec::new();
        for member in peers {
            let wanted: Vec<_> = lineages.iter().filter(|lineage| self.wants(member, &lineage.name)).collect();
            let asks = match (wanted.as_slice(), lineages) {
                ([], _) => continue,
                ([only], [_]) if self.manner.is_fresh && self.lacks(member, only) => Vec::new(),
                (some, _) => some.iter().map(|lineage| self.name_on(member, &lineage.name)).collect(),
            };
            lines.push(Line::new(&self.config.node.name, member, watcher, asks, deadline));
        }
        lines
    }

    /// The present lineage that has this one's name on the peers (`deploy.rename`): sending both would never converge.
    /// The own node's services still get this one.
    pub fn superseded_by(&self, name: &LineageName) -> Option<&'c LineageName> {
        self.config.deploy.superseded_by(name, |other| self.letsencrypt.join("live").join(other.as_str()).is_dir())
    }

    /// Whether a node gets a lineage.
    pub fn wants(&self, member: &Member, lineage: &LineageName) -> bool {
        let superseded = self.superseded_by(lineage).is_some_and(|other| member.wants(other));
        self.config.deploy.wants(lineage) && member.wants(lineage) && !superseded
    }

    /// Its name on the peers.
    pub fn name_on_peers(&self, lineage: &LineageName) -> LineageName {
        self.config.deploy.name_on_peers(lineage).clone()
    }

    /// Its name on a node.
    pub fn name_on(&self, member: &Member, lineage: &LineageName) -> LineageName {
        if member.is_own() { lineage.clone() } else { self.name_on_peers(lineage) }
    }

    /// A lineage as it is offered to a node.
    pub fn offer(&self, lineage: &Lineage, to: &Member) -> Offer {
        Offer {
            lineage: self.name_on(to, &lineage.name),
            number: lineage.number,
            files: lineage.bundle.files().clone(),
            attributes: lineage.attributes,
            keep: lineage.keep.clone(),
            refuse_missing_names: self.config.deploy.missing_names == MissingNames::Refuse,
            wishes: self.manner.wishes,
        }
    }

    /// Remembers how it ended for a lineage on a node.
    pub fn remember(&self, delivery: &Delivery, lineage: &Lineage) {
        let Some(outcome) = &delivery.outcome else { return };
        tracing::info!(node = %delivery.node, lineage = %delivery.lineage, %outcome, "delivered");
        if self.manner.wishes.dry_run {
            return;
        }
        let state = &self.config.node.state;
        if let Err(error) =
            record::note(state, &delivery.node, &delivery.lineage, lineage.digest(), outcome, delivery.is_held_back)
        {
            tracing::warn!(node = %delivery.node, "cannot remember the outcome: {error}");
        }
    }
}

fn count(rounds: &[Round<'_>]) -> u32 {
    u32::try_from(rounds.len().max(1)).unwrap_or(u32::MAX)
}
