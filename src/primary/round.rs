//! One round, under one transaction's name on all nodes: the own services first, then the rollout.

use std::io;

use crate::model::config::Require;
use crate::model::deadline::Deadline;
use crate::model::names::{LineageName, NodeName};
use crate::model::outcome::Outcome;
use crate::primary::delivery::{Courier, Delivery};
use crate::primary::fleet::{Member, Places};
use crate::primary::line::{Line, Part, Patience};
use crate::primary::lineage::Lineage;
use crate::primary::record;
use crate::primary::rollout::{self, Rules};
use crate::primary::watcher::{Phase, Watcher};
use crate::wire::frame::FRAME_AT_MOST;
use crate::wire::message::TOGETHER_AT_MOST;
use crate::wire::transaction_id::TransactionId;

/// Told only where it does not go alone after all.
const LEFT: &str = "another server is stuck, and this one was to go alone";

/// What travels together has room in one message, with what JSON and the other fields add.
const BYTES_AT_MOST: usize = FRAME_AT_MOST / 2;

/// One lineage on its way, or several together.
pub struct Round<'l> {
    transaction: TransactionId,
    lineages: Vec<&'l Lineage>,
}

/// What can travel together, in order; what would travel alone is left out.
pub fn loads<'l>(lineages: impl Iterator<Item = &'l Lineage>) -> Vec<Vec<&'l Lineage>> {
    let mut loads: Vec<Vec<&Lineage>> = Vec::new();
    let mut bytes = 0;
    for lineage in lineages {
        let size = lineage.bundle.files().size();
        bytes += size;
        match loads.last_mut() {
            Some(load) if load.len() < TOGETHER_AT_MOST && bytes <= BYTES_AT_MOST => load.push(lineage),
            _ => {
                loads.push(vec![lineage]);
                bytes = size;
            }
        }
    }
    loads.retain(|load| load.len() > 1);
    loads
}

impl<'l> Round<'l> {
    /// A round for these.
    pub fn of(lineages: Vec<&'l Lineage>) -> io::Result<Round<'l>> {
        Ok(Round { transaction: TransactionId::random()?, lineages })
    }

    fn is_together(&self) -> bool {
        self.lineages.len() > 1
    }

    /// Brings it to the nodes of which `is_left` says that they may lack it. What a node could not do with several lineages
    /// together is not told: it says nothing of any one of them.
    ///
    /// The own node first, since certbot has switched its links already: its services are the first canary.
    /// Meanwhile the peers stage, which nobody sees.
    pub fn run<'c>(
        &self,
        courier: &Courier<'c>,
        lines: &mut [Line<'c>],
        watcher: &dyn Watcher,
        turn: Deadline,
        is_left: impl Fn(&NodeName, &LineageName) -> bool,
    ) -> Vec<Delivery> {
        let is_for = |member: &Member| self.is_for(courier, member, &is_left);
        let mut lines: Vec<_> = lines.iter_mut().filter(|line| is_for(line.member())).collect();
        let own = Some(&courier.fleet.own).filter(|own| is_for(own));
        for line in &mut lines {
            line.until(turn);
        }
        let names: Vec<_> = self.lineages.iter().map(|lineage| &lineage.name).collect();
        let nodes = own.map(|own| &own.name).into_iter().chain(lines.iter().map(|line| line.name()));
        watcher.begins(&names, nodes.cloned().collect());
        let deploy = &courier.config.deploy;
        let rules = Rules { require: deploy.require, canary: deploy.canary };
        let places = Places::new(deploy.parallel, lines.len());
        let stage = |line: &mut Line<'_>| self.stage(courier, line, &places, turn);
        let is_doubtful = |node: &NodeName| {
            let record = |lineage: &&Lineage| record::read(&courier.config.node.state, node, &lineage.name);
            let mut records = self.lineages.iter().filter_map(record);
            records.any(|record| record.is_doubtful)
        };
        let (mut ended, mut is_stuck) = (Vec::new(), false);
        let settle = || {
            let Some(own) = own else { return Ok(()) };
            (ended, is_stuck) = self.settle(courier, own, watcher, turn);
            let why = format!("{}the services on {} did not take this certificate", rollout::HELD_BACK, own.name);
            if ended.iter().all(Delivery::is_well) { Ok(()) } else { Err(why) }
        };
        let on_each = lines.iter_mut().map(|line| &mut **line).collect();
        let parts = rollout::roll_out(on_each, rules, turn, is_doubtful, stage, settle);
        for (line, (_, part)) in lines.into_iter().zip(parts) {
            is_stuck = is_stuck || leaves_stuck(&part);
            ended.extend(self.deliveries(courier, line, &part));
        }
        // Of what left a node stuck just now nobody else is to have more before a person has looked.
        if self.is_together() && !is_stuck {
            ended.retain(is_final);
        }
        for delivery in &ended {
            if let Some(lineage) = self.lineages.iter().find(|lineage| lineage.name == delivery.lineage) {
                courier.remember(delivery, lineage);
            }
        }
        ended
    }

    /// Whether a node may lack any of it.
    pub fn is_for(
        &self,
        courier: &Courier<'_>,
        member: &Member,
        is_left: &impl Fn(&NodeName, &LineageName) -> bool,
    ) -> bool {
        self.wanted_by(courier, member).any(|lineage| is_left(&member.name, &lineage.name))
    }

    /// Several bundles are large, so they are made, and sent, while a place is held. Nothing travels to a node that said it has
    /// just this, and what would travel alone is left.
    fn stage(&self, courier: &Courier<'_>, line: &mut Line<'_>, places: &Places, turn: Deadline) -> Result<(), Part> {
        let member = line.member();
        let sent = places.share(turn, |by| {
            line.open(by);
            let name = |lineage: &Lineage| courier.name_on(member, &lineage.name);
            let is_there = |lineage: &&Lineage| line.has(&name(lineage), lineage.version());
            let (there, lacking): (Vec<_>, Vec<_>) = self.wanted_by(courier, member).partition(is_there);
            line.pass_over(there.into_iter().map(name));
            match (lacking.as_slice(), line.fault()) {
                ([], _) => return Err(Part::Ended(Outcome::Unchanged)),
                (_, Some(outcome)) => return Err(Part::Ended(outcome.clone())),
                ([_], None) if self.is_together() => return Err(Part::Left),
                _ => {}
            }
            let offers = lacking.into_iter().map(|lineage| courier.offer(lineage, member)).collect();
            line.send(&self.transaction, offers, by);
            Ok(())
        });
        line.until(turn);
        sent.and_then(|()| line.await_staging())?;
        let is_any_bad = line.ended().iter().any(|ended| !ended.outcome.is_in_sync());
        if is_any_bad && courier.config.deploy.require == Require::All {
            // One refused lineage keeps this node, and so everybody, from all of them; each goes alone.
            line.forget();
            return Err(Part::Left);
        }
        Ok(())
    }

    /// Brings the own node's services to it; also whether that left it stuck.
    fn settle(
        &self,
        courier: &Courier<'_>,
        own: &Member,
        watcher: &dyn Watcher,
        turn: Deadline,
    ) -> (Vec<Delivery>, bool) {
        // Nothing to compare: certbot's links are new already.
        let mut line = Line::new(&courier.config.node.name, own, watcher, Vec::new(), turn);
        let staged = self.stage(courier, &mut line, &Places::new(1, 1), turn);
        let part = staged.err().unwrap_or_else(|| Part::Concluded(line.commit(Patience::Half)));
        line.reaches(Phase::Done);
        (self.deliveries(courier, &mut line, &part), leaves_stuck(&part))
    }

    /// How it ended for each lineage that a node is to have: as it said, else as its part ended.
    fn deliveries(&self, courier: &Courier<'_>, line: &mut Line<'_>, part: &Part) -> Vec<Delivery> {
        let ended = line.take_ended();
        let member = line.member();
        let delivery = |lineage: &Lineage| {
            let name = courier.name_on(member, &lineage.name);
            let told = ended.iter().find(|ended| ended.lineage == name).map(|ended| ended.outcome.clone());
            let mut delivery = Delivery {
                node: member.name.clone(),
                lineage: lineage.name.clone(),
                outcome: told.clone(),
                is_held_back: false,
                changes: Vec::new(),
            };
            let mut hold_back = |cause: String| {
                delivery.outcome = Some(Outcome::Pending { cause });
                delivery.is_held_back = true;
            };
            match part {
                _ if told.is_some() => {}
                Part::Concluded(outcome) | Part::Ended(outcome) => delivery.outcome = Some(outcome.clone()),
                Part::HeldBack(why) => hold_back(why.clone()),
                Part::Planned(changes) => delivery.changes.clone_from(changes),
                Part::Left => hold_back(format!("{}{LEFT}", rollout::HELD_BACK)),
            }
            delivery
        };
        self.wanted_by(courier, member).map(delivery).collect()
    }

    fn wanted_by(&self, courier: &Courier<'_>, member: &Member) -> impl Iterator<Item = &'l Lineage> {
        self.lineages.iter().copied().filter(|lineage| member.is_own() || courier.wants(member, &lineage.name))
    }
}

/// Whether it was this that left a node stuck, and no earlier run.
fn leaves_stuck(part: &Part) -> bool {
    matches!(part, Part::Concluded(Outcome::Stuck { .. }))
}

/// Whether there is no more to say of what went together: what did not go well goes alone, and only then it is known whose
/// fault it was.
fn is_final(delivery: &Delivery) -> bool {
    if let (Some(outcome), false) = (&delivery.outcome, delivery.is_well()) {
        let Delivery { node, lineage, .. } = delivery;
        tracing::info!(%node, %lineage, %outcome, "not in line together with others: it goes alone next");
    }
    delivery.is_well()
}
