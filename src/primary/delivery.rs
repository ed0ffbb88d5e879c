//! Bringing nodes to the primary's lineages: compare, the own services first, then the rollout.

use std::io;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::model::config::{Config, MissingNames};
use crate::model::deadline::Deadline;
use crate::model::names::{LineageName, NodeName};
use crate::model::outcome::Outcome;
use crate::primary::fleet::{Fleet, Member, Places};
use crate::primary::line::{First, Line, Patience, Staged};
use crate::primary::lineage::Lineage;
use crate::primary::record;
use crate::primary::rollout::{self, Part, Rules};
use crate::primary::watcher::{Phase, Watcher};
use crate::wire::message::{Prepare, TransactionId, Wishes};

/// The longest that one run may take, however many lineages it has.
const AT_MOST: Duration = Duration::from_secs(15 * 60);

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
    /// For a dry run: what would change.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
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

/// A lineage on its way, under one transaction's name on all nodes.
struct Parcel<'l> {
    lineage: &'l Lineage,
    transaction: TransactionId,
}

impl<'c> Courier<'c> {
    /// Delivers lineages, one after another, to the given peers; the own node's services come first.
    pub fn deliver(
        &self,
        lineages: &[Lineage],
        peers: &[&'c Member],
        watcher: &'c dyn Watcher,
    ) -> io::Result<Vec<Delivery>> {
        let parcel = |lineage| Ok(Parcel { lineage, transaction: TransactionId::random()? });
        let parcels: Vec<_> = lineages.iter().map(parcel).collect::<io::Result<_>>()?;
        let rounds = u32::try_from(parcels.len().max(1)).unwrap_or(u32::MAX);
        let deadline = Deadline::after(self.config.deploy.budget.saturating_mul(rounds).min(AT_MOST));
        let mut lines = self.lines(&parcels, peers, watcher, deadline);
        let mut deliveries = Vec::new();
        for (parcel, rest) in parcels.iter().zip((1..=rounds).rev()) {
            let turn = deadline.at_most(deadline.left() / rest);
            for line in &mut lines {
                line.until(turn);
            }
            let round = self.deliver_one(parcel, &mut lines, watcher, turn);
            for delivery in &round {
                self.remember(delivery, parcel.lineage);
            }
            deliveries.extend(round);
        }
        Ok(deliveries)
    }

    /// One line a peer that any of it is for. A peer that most likely lacks the only bundle gets it with
    /// the first flight; every other one is asked first, so that only what it lacks travels.
    fn lines(
        &self,
        parcels: &[Parcel<'_>],
        peers: &[&'c Member],
        watcher: &'c dyn Watcher,
        deadline: Deadline,
    ) -> Vec<Line<'c>> {
        let mut lines = Vec::new();
        for member in peers {
            let wanted: Vec<_> = parcels.iter().filter(|parcel| self.wants(member, &parcel.lineage.name)).collect();
            let lacks = |parcel: &Parcel<'_>| {
                let record = record::read(&self.config.node.state, &member.name, &parcel.lineage.name);
                record.and_then(|record| record.has) != Some(parcel.lineage.digest())
            };
            let first = match wanted.as_slice() {
                [] => continue,
                [only] if self.manner.is_fresh && lacks(only) => {
                    First::Prepare(Box::new(self.prepare(only, self.name_on_peers(&only.lineage.name))))
                }
                some => First::Compare(some.iter().map(|parcel| self.name_on_peers(&parcel.lineage.name)).collect()),
            };
            lines.push(Line::new(&self.config.node.name, member, watcher, first, deadline));
        }
        lines
    }

    /// The own node first, since certbot has switched its links already: its services are the first canary.
    /// Meanwhile the peers stage, which nobody sees.
    fn deliver_one(
        &self,
        parcel: &Parcel<'_>,
        lines: &mut [Line<'c>],
        watcher: &dyn Watcher,
        deadline: Deadline,
    ) -> Vec<Delivery> {
        let name = self.name_on_peers(&parcel.lineage.name);
        let lines: Vec<_> = lines.iter_mut().filter(|line| self.wants(line.member(), &parcel.lineage.name)).collect();
        let own = &self.fleet.own.name;
        watcher.begins(
            &parcel.lineage.name,
            std::iter::once(own).chain(lines.iter().map(|line| line.name())).cloned().collect(),
        );
        let rules = Rules { require: self.config.deploy.require, canary: self.config.deploy.canary };
        let places = Places::new(self.config.deploy.parallel);
        let stage = |line: &mut Line<'_>| {
            places.with(|| line.open());
            line.stage(|| self.prepare(parcel, name.clone()))
        };
        let was_lost = |node: &NodeName| {
            let record = record::read(&self.config.node.state, node, &parcel.lineage.name);
            record.is_some_and(|record| matches!(record.outcome, Outcome::Pending { .. }))
        };
        let mut round = Vec::new();
        let parts = rollout::roll_out(lines, rules, was_lost, stage, || {
            let own = self.settle_own(parcel, watcher, deadline);
            let in_sync = own.outcome.as_ref().is_none_or(Outcome::is_in_sync);
            let why = format!("{}the services on {} did not take this certificate", rollout::HELD_BACK, own.node);
            round.push(own);
            if in_sync { Ok(()) } else { Err(why) }
        });
        round.extend(parts.into_iter().map(|(node, part)| delivery(&node, parcel.lineage, part)));
        round
    }

    fn settle_own(&self, parcel: &Parcel<'_>, watcher: &dyn Watcher, deadline: Deadline) -> Delivery {
        let member = &self.fleet.own;
        let prepare = || self.prepare(parcel, parcel.lineage.name.clone());
        let first = First::Prepare(Box::new(prepare()));
        let mut line = Line::new(&self.config.node.name, member, watcher, first, deadline);
        let part = match line.stage(prepare) {
            Staged::Waiting => Part::Concluded(line.commit(Patience::Half)),
            Staged::Planned(changes) => Part::Planned(changes),
            Staged::Ended(outcome) => Part::Concluded(outcome),
        };
        line.reaches(Phase::Done);
        delivery(&member.name, parcel.lineage, part)
    }

    fn prepare(&self, parcel: &Parcel<'_>, name: LineageName) -> Prepare {
        let lineage = parcel.lineage;
        Prepare {
            transaction: parcel.transaction.clone(),
            lineage: name,
            number: lineage.number,
            files: lineage.bundle.files().clone(),
            attributes: lineage.attributes,
            keep: lineage.keep.clone(),
            refuse_missing_names: self.config.deploy.missing_names == MissingNames::Refuse,
            wishes: self.manner.wishes,
        }
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

    fn remember(&self, delivery: &Delivery, lineage: &Lineage) {
        let Some(outcome) = &delivery.outcome else { return };
        tracing::info!(node = %delivery.node, lineage = %delivery.lineage, %outcome, "delivered");
        if self.manner.wishes.dry_run {
            return;
        }
        let state = &self.config.node.state;
        if let Err(error) = record::note(state, &delivery.node, &delivery.lineage, lineage.digest(), outcome) {
            tracing::warn!(node = %delivery.node, "cannot remember the outcome: {error}");
        }
    }
}

fn delivery(node: &NodeName, lineage: &Lineage, part: Part) -> Delivery {
    let (outcome, changes) = match part {
        Part::Concluded(outcome) => (Some(outcome), Vec::new()),
        Part::Planned(changes) => (None, changes),
    };
    Delivery { node: node.clone(), lineage: lineage.name.clone(), outcome, changes }
}
