//! Having a node stage what it lacks, as one transaction.

use crate::model::deadline::Deadline;
use crate::model::names::LineageName;
use crate::model::outcome::Outcome;
use crate::primary::conversation::{TalkError, budget_ms};
use crate::primary::line::{Line, Part, Talk, Underway, first_bad};
use crate::primary::watcher::Phase;
use crate::wire::message::{Ended, Offer, Reply, Request};
use crate::wire::transaction_id::TransactionId;

impl Line<'_> {
    /// Sends what the node lacks, under one transaction's name. [`Line::await_staging`] has the answer.
    pub fn send(&mut self, transaction: &TransactionId, offers: Vec<Offer>, by: Deadline) {
        let transaction = transaction.clone();
        let lineages = offers.iter().map(|offer| offer.lineage.clone()).collect();
        let is_dry_run = offers.iter().any(|offer| offer.wishes.dry_run);
        self.underway = Some(Underway { transaction: transaction.clone(), lineages, is_dry_run });
        let request = Request::Prepare { transaction, budget_ms: budget_ms(self.turn), offers };
        let is_first = matches!(self.talk, Talk::Unopened);
        if !is_first {
            self.reaches(Phase::Staging);
        }
        if let Err(outcome) = self.say(&request, by) {
            self.breaks(outcome);
        }
        if is_first {
            self.reaches(Phase::Staging);
        }
    }

    /// Waits for the answer to what was sent. Of several a single one that is left waits only on the own node: the peers may lack
    /// more, which waits for it.
    ///
    /// Where it waits for the word it is no error, else how its part ended.
    pub fn await_staging(&mut self) -> Result<(), Part> {
        let answer = self.receive();
        let unexpected = || TalkError::Unexpected.outcome();
        let Some(Underway { transaction, lineages, is_dry_run }) = self.underway.take() else {
            return Err(Part::Ended(answer.err().unwrap_or_else(unexpected)));
        };
        let apart = match answer {
            Ok(Reply::Planned { changes }) if is_dry_run => return Err(Part::Planned(changes)),
            Ok(Reply::Prepared { transaction: its, apart }) if its == transaction => apart,
            Ok(_) => return Err(self.breaks(unexpected())),
            Err(outcome) => return Err(self.breaks(outcome)),
        };
        // Without our word nothing can have been switched, and of what was not asked nothing is believed.
        let is_fit =
            |ended: &Ended| lineages.contains(&ended.lineage) && !matches!(ended.outcome, Outcome::Applied { .. });
        if !apart.iter().all(is_fit) {
            return Err(self.breaks(unexpected()));
        }
        let is_apart = |lineage: &LineageName| apart.iter().any(|ended| ended.lineage == *lineage);
        let are_several = lineages.len() > 1;
        let waiting: Vec<_> = lineages.into_iter().filter(|lineage| !is_apart(lineage)).collect();
        let outcome = first_bad(&apart);
        self.ended.extend(apart);
        if waiting.is_empty() {
            return Err(Part::Ended(outcome));
        }
        if is_dry_run {
            return Err(self.breaks(unexpected()));
        }
        let goes_alone = are_several && waiting.len() == 1 && !self.member.is_own();
        self.underway = Some(Underway { transaction, lineages: waiting, is_dry_run });
        if goes_alone {
            self.forget();
            return Err(Part::Left);
        }
        self.reaches(Phase::Staged);
        Ok(())
    }
}
