//! Bringing nodes to the primary's lineages: compare, the own services first, then the rollout.

use std::io;
use std::time::Duration;

use serde::Serialize;

use crate::model::config::{Config, MissingNames};
use crate::model::deadline::Deadline;
use crate::model::names::{LineageName, NodeName};
use crate::model::outcome::Outcome;
use crate::primary::fleet::{Fleet, Member, Places, for_each};
use crate::primary::line::{Line, Staged};
use crate::primary::lineage::Lineage;
use crate::primary::record;
use crate::primary::rollout::{self, Part, Rules};
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
    pub fn deliver(&self, lineages: &[Lineage], peers: &[&'c Member]) -> io::Result<Vec<Delivery>> {
        let parcel = |lineage| Ok(Parcel { lineage, transaction: TransactionId::random()? });
        let parcels: Vec<_> = lineages.iter().map(parcel).collect::<io::Result<_>>()?;
        let rounds = u32::try_from(parcels.len().max(1)).unwrap_or(u32::MAX);
        let deadline = Deadline::after(self.config.deploy.budget.saturating_mul(rounds).min(AT_MOST));
        let mut lines = self.open_lines(&parcels, peers, deadline)?;
        let mut deliveries = Vec::new();
        for parcel in &parcels {
            let own = self.settle_own(parcel, deadline);
            let held_back = own.outcome.as_ref().is_some_and(|outcome| !outcome.is_in_sync());
            let mut round = vec![own];
            round.extend(self.roll_out(parcel, &mut lines, held_back));
            for delivery in &round {
                self.remember(delivery, parcel.lineage);
            }
            deliveries.extend(round);
        }
        Ok(deliveries)
    }

    /// One line a peer that any of it is for, all opened at once. A peer that most likely lacks the only bundle gets it with
    /// the first flight; every other one is asked first, so that only what it lacks travels.
    fn open_lines(
        &self,
        parcels: &[Parcel<'_>],
        peers: &[&'c Member],
        deadline: Deadline,
    ) -> io::Result<Vec<Line<'c>>> {
        let places = Places::new(self.config.deploy.parallel);
        let own = &self.config.node.name;
        let state = &self.config.node.state;
        let wanted = |member: &'c Member| parcels.iter().filter(|parcel| self.wants(member, parcel.lineage));
        let concerned = peers.iter().copied().filter(|member| wanted(member).next().is_some()).collect();
        for_each(concerned, |member| {
            let lacks = |parcel: &Parcel<'_>| {
                let record = record::read(state, &member.name, &parcel.lineage.name);
                record.and_then(|record| record.has) != Some(parcel.lineage.digest())
            };
            places.with(|| match parcels {
                [only] if self.manner.is_fresh && lacks(only) => {
                    Line::open_preparing(own, member, self.prepare(only, self.name_on_peers(only.lineage)), deadline)
                }
                _ => {
                    let names = wanted(member).map(|parcel| self.name_on_peers(parcel.lineage)).collect();
                    Line::open_comparing(own, member, names, deadline)
                }
            })
        })
    }

    /// certbot has switched its links on the own node already: its services are the first canary.
    fn settle_own(&self, parcel: &Parcel<'_>, deadline: Deadline) -> Delivery {
        let member = &self.fleet.own;
        let prepare = self.prepare(parcel, parcel.lineage.name.clone());
        let mut line = Line::open_preparing(&self.config.node.name, member, prepare, deadline);
        let part = match line.stage(|_| self.prepare(parcel, parcel.lineage.name.clone())) {
            Staged::Waiting => Part::Concluded(line.commit()),
            Staged::Planned(changes) => Part::Planned(changes),
            Staged::Ended(outcome) => Part::Concluded(outcome),
        };
        delivery(&member.name, parcel.lineage, part)
    }

    fn roll_out(&self, parcel: &Parcel<'_>, lines: &mut [Line<'c>], held_back: bool) -> Vec<Delivery> {
        let name = self.name_on_peers(parcel.lineage);
        let mut deliveries = Vec::new();
        let mut lacking = Vec::new();
        for line in lines.iter_mut().filter(|line| self.wants(line.member(), parcel.lineage)) {
            if line.has(&name, &parcel.lineage.version()) {
                deliveries.push(delivery(line.name(), parcel.lineage, Part::Concluded(Outcome::Unchanged)));
            } else if held_back {
                let own = &self.fleet.own.name;
                let why = format!("held back: the services on {own} did not take this certificate");
                let outcome = line.abort(&why);
                deliveries.push(delivery(line.name(), parcel.lineage, Part::Concluded(outcome)));
            } else {
                lacking.push(line);
            }
        }
        let rules = Rules { require: self.config.deploy.require, canary: self.config.deploy.canary };
        let parts = rollout::roll_out(lacking, rules, |_| self.prepare(parcel, name.clone()));
        deliveries.extend(parts.into_iter().map(|(node, part)| delivery(&node, parcel.lineage, part)));
        deliveries
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

    fn wants(&self, member: &Member, lineage: &Lineage) -> bool {
        self.config.deploy.wants(&lineage.name) && member.wants(&lineage.name)
    }

    fn name_on_peers(&self, lineage: &Lineage) -> LineageName {
        self.config.deploy.name_on_peers(&lineage.name).clone()
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
