//! Having a node stage what it lacks, as one transaction.

use crate::model::names::LineageName;
use crate::model::outcome::Outcome;
use crate::primary::conversation::{TalkError, budget_ms};
use crate::primary::line::ends::first_bad;
use crate::primary::line::{Line, Staged, Talk, Underway};
use crate::primary::watcher::Phase;
use crate::wire::message::{Ended, Offer, Reply, Request};
use crate::wire::transaction_id::TransactionId;

impl Line<'_> {
    /// Why nothing can be said on it any more.
    pub fn fault(&self) -> Option<&Outcome> {
        match &self.talk {
            Talk::Broken(outcome) => Some(outcome),
            Talk::Open(_) | Talk::Unopened(_) => None,
        }
    }

    /// Keeps that the node has these already.
    pub fn pass_over(&mut self, lineages: impl IntoIterator<Item = LineageName>) {
        self.ended = Ended::all(lineages, &Outcome::Unchanged);
    }

    /// Sends what the node lacks, under one transaction's name. [`Line::await_staging`] has the answer.
    pub fn send(&mut self, transaction: &TransactionId, offers: Vec<Offer>) {
        let request = self.preparing(transaction.clone(), offers);
        let sent = self.talk().and_then(|talk| talk.send(&request).map_err(|error| error.outcome()));
        if let Err(outcome) = sent {
            self.breaks(outcome);
        }
    }

    /// The request that is under way from here on.
    pub(super) fn preparing(&mut self, transaction: TransactionId, offers: Vec<Offer>) -> Request {
        let lineages = offers.iter().map(|offer| offer.lineage.clone()).collect();
        let is_dry_run = offers.iter().any(|offer| offer.wishes.dry_run);
        self.underway = Some(Underway { transaction: transaction.clone(), lineages, is_dry_run });
        Request::Prepare { transaction, budget_ms: budget_ms(self.turn), offers }
    }

    /// Waits for the answer to what was sent. Of several a single one that is left waits only on the own node: the peers may lack
    /// more, which waits for it.
    pub fn await_staging(&mut self) -> Staged {
        let answer = self.receive();
        let Some(Underway { transaction, lineages, is_dry_run }) = self.underway.take() else {
            return Staged::Ended(self.fault().cloned().unwrap_or_else(|| TalkError::Unexpected.outcome()));
        };
        let apart = match answer {
            Ok(Reply::Planned { changes }) if is_dry_run => return Staged::Planned(changes),
            Ok(Reply::Prepared { transaction: its, apart }) if its == transaction => apart,
            Ok(_) => return self.breaks(TalkError::Unexpected.outcome()),
            Err(outcome) => return self.breaks(outcome),
        };
        // Without our word nothing can have been switched, and of what was not asked nothing is believed.
        let is_fit =
            |ended: &Ended| lineages.contains(&ended.lineage) && !matches!(ended.outcome, Outcome::Applied { .. });
        if !apart.iter().all(is_fit) {
            return self.breaks(TalkError::Unexpected.outcome());
        }
        let is_apart = |lineage: &LineageName| apart.iter().any(|ended| ended.lineage == *lineage);
        let are_several = lineages.len() > 1;
        let waiting: Vec<_> = lineages.into_iter().filter(|lineage| !is_apart(lineage)).collect();
        let outcome = first_bad(&apart);
        self.ended.extend(apart);
        if waiting.is_empty() {
            return Staged::Ended(outcome);
        }
        if is_dry_run {
            return self.breaks(TalkError::Unexpected.outcome());
        }
        let goes_alone = are_several && waiting.len() == 1 && !self.member.is_own();
        self.underway = Some(Underway { transaction, lineages: waiting, is_dry_run });
        if goes_alone {
            self.forget();
            return Staged::Left;
        }
        self.reaches(Phase::Staged);
        Staged::Waiting
    }

    /// How it ended for those lineages of which the node said it, as far as it is known by now.
    pub fn ended(&self) -> &[Ended] {
        &self.ended
    }

    /// How it ended for those lineages of which the node said it.
    pub fn take_ended(&mut self) -> Vec<Ended> {
        std::mem::take(&mut self.ended)
    }
}
