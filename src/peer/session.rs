//! One conversation, from hello to the last answer, as the peer sees it.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::time::Duration;

use crate::model::deadline::Deadline;
use crate::model::names::LineageName;
use crate::model::outcome::{Outcome, Step};
use crate::peer::halt::Halt;
use crate::peer::journal::Journal;
use crate::peer::node::Node;
use crate::peer::policy::Grant;
use crate::peer::transaction::{self, Transaction};
use crate::peer::webroot::Webroots;
use crate::peer::{examination, hearing, history, presence, survey};
use crate::sys::timed::SharedDeadline;
use crate::wire::banner;
use crate::wire::frame::{self, FRAME_AT_MOST, FrameError};
use crate::wire::message::{
    CHALLENGES_AT_MOST, Ended, Installed, LINEAGES_AT_MOST, Offer, Reply, Request, TOGETHER_AT_MOST,
};
use crate::wire::presence::Presence;
use crate::wire::transaction_id::TransactionId;

/// How long a caller may stay silent before its hello.
pub const HELLO: Duration = Duration::from_secs(20);
/// The longest conversation, whatever the caller asks for.
const BUDGET_AT_MOST: Duration = Duration::from_secs(15 * 60);

/// The caller waits a little longer than it says, so that a word at the end of the time is still heard.
const LAST_WORD: Duration = Duration::from_millis(1500);

/// Serves one conversation. A transaction that is not committed when it ends, however it ends, is undone.
///
/// Reads and writes end at `limit`, which the caller's hello sets. Answers are best effort: a caller
/// that is gone does not stop a committed transaction.
pub fn serve(
    node: &Node,
    grant: &Grant,
    input: &mut impl Read,
    output: &mut impl Write,
    limit: &SharedDeadline,
) -> anyhow::Result<()> {
    banner::write(output)?;
    output.flush()?;
    banner::read(input)?;
    let mut session = Session { node, grant, waiting: None };
    let mut deadline: Option<Deadline> = None;
    let end = loop {
        let request = match frame::read(input) {
            Ok(request) => request,
            Err(end) => {
                // What cannot be understood is answered, so that the other side can show why.
                if matches!(end, FrameError::Malformed(_) | FrameError::TooLarge(_)) {
                    _ = frame::write(output, &rejected(&end.to_string()));
                }
                break end;
            }
        };
        // It may have lain in the buffer: what comes at the end of the time is undone, and not begun.
        if deadline.is_some_and(Deadline::has_passed) {
            break FrameError::Deadline;
        }
        let reply = match (&request, deadline) {
            (Request::Hello { node: caller, version, budget_ms }, None) => {
                let until = Deadline::after(Duration::from_millis(*budget_ms).min(BUDGET_AT_MOST));
                limit.set(until);
                deadline = Some(until);
                tracing::info!(%caller, version = %crate::model::escape::escaped(version), "conversation");
                session.hello()
            }
            (_, None) => rejected("no hello"),
            (_, Some(deadline)) => match grant.allows(&request) {
                Ok(()) => session.answer(request, deadline),
                Err(cause) => rejected(&cause),
            },
        };
        if let Some(until) = deadline {
            limit.set(until.max(Deadline::after(LAST_WORD)));
        }
        // A caller that is gone by now must not take what is staged with it unremoved.
        if let Err(gone) = say(output, &reply) {
            break gone;
        }
        if let Some(until) = deadline {
            limit.set(until);
        }
        if let Reply::Rejected { cause } = reply {
            break FrameError::Malformed(cause);
        }
    };
    if let Some(transaction) = session.waiting.take() {
        for Ended { lineage, outcome } in transaction.abort(&format!("not committed: {end}")) {
            tracing::warn!(%lineage, %outcome, "staged files removed");
        }
    }
    match end {
        FrameError::Closed => Ok(()),
        other => Err(other.into()),
    }
}

/// An answer too long for a message is told as such: the caller would only see the conversation end.
fn say(output: &mut impl Write, reply: &Reply) -> Result<(), FrameError> {
    let said = frame::write(output, reply);
    if let Err(FrameError::TooLarge(bytes)) = said {
        let cause = format!(
            "the answer would be {bytes} bytes long, and a message has at most {FRAME_AT_MOST}: ask for fewer lineages at once"
        );
        _ = frame::write(output, &rejected(&cause));
    }
    said
}

struct Session<'n> {
    node: &'n Node,
    grant: &'n Grant,
    waiting: Option<Box<Transaction<'n>>>,
}

impl<'n> Session<'n> {
    fn hello(&self) -> Reply {
        Reply::Hello {
            version: env!("CARGO_PKG_VERSION").into(),
            node: self.node.config().node.name.clone(),
            clock: jiff::Timestamp::now().as_second(),
        }
    }

    fn answer(&mut self, request: Request, deadline: Deadline) -> Reply {
        match request {
            Request::Hello { .. } => rejected("a second hello"),
            Request::Publish { challenges } if challenges.len() <= CHALLENGES_AT_MOST => {
                Reply::Published { failures: self.webroots().publish(&challenges) }
            }
            Request::Withdraw { challenges } if challenges.len() <= CHALLENGES_AT_MOST => {
                Reply::Withdrawn { failures: self.webroots().withdraw(&challenges) }
            }
            Request::Compare { lineages } if lineages.len() <= LINEAGES_AT_MOST => {
                let installed = lineages.into_iter().map(|lineage| {
                    let presence = self.presence(&lineage);
                    Installed { lineage, presence }
                });
                Reply::Compared { lineages: installed.collect() }
            }
            Request::Survey { lineages } if lineages.len() <= LINEAGES_AT_MOST => {
                let own = lineages.iter().filter(|lineage| self.grant.allows_lineage(lineage).is_ok());
                Reply::Surveyed { lineages: own.map(|lineage| survey::of(self.node, lineage, deadline)).collect() }
            }
            Request::Examine { lineages, sent } if lineages.len().max(sent.len()) <= LINEAGES_AT_MOST => {
                Reply::Examined { findings: examination::of(self.node, self.grant, &lineages, &sent, deadline) }
            }
            Request::Prepare { transaction, budget_ms, offers } if offers.len() <= TOGETHER_AT_MOST => {
                self.prepare(&transaction, &offers, deadline.at_most(Duration::from_millis(budget_ms)))
            }
            Request::Commit { transaction } => match self.take(&transaction) {
                Some(waiting) => concluded(self.heard(waiting.commit())),
                None => rejected("commit of a transaction that is not prepared"),
            },
            Request::Abort { transaction } => match self.take(&transaction) {
                Some(waiting) => concluded(self.heard(waiting.abort("held back by the primary"))),
                None => rejected("abort of a transaction that is not prepared"),
            },
            // It would wait for its own lock.
            Request::Recall { .. } if self.waiting.is_some() => rejected("recall while a transaction is prepared"),
            Request::Recall { transaction, lineages } if lineages.len() <= TOGETHER_AT_MOST => {
                self.recall(&transaction, lineages, deadline)
            }
            Request::Publish { .. }
            | Request::Withdraw { .. }
            | Request::Compare { .. }
            | Request::Survey { .. }
            | Request::Examine { .. }
            | Request::Prepare { .. }
            | Request::Recall { .. } => rejected("too many at once"),
        }
    }

    /// Nothing is said of a lineage that is not the caller's.
    ///
    /// What a crash left open counts for nothing, whatever the links show: services may not have been told. The primary
    /// then offers it, and the transaction looks at the journal first.
    fn presence(&self, lineage: &LineageName) -> Presence {
        match self.grant.allows_lineage(lineage) {
            Err(cause) => Presence::Unknown { cause },
            Ok(()) if Journal::is_open_for(self.node.state(), lineage) => Presence::Here { version: None },
            Ok(()) => presence::of(self.node, lineage),
        }
    }

    fn prepare(&mut self, id: &TransactionId, offers: &[Offer], deadline: Deadline) -> Reply {
        if self.waiting.is_some() {
            return rejected("another transaction is prepared in this conversation");
        }
        let lineages: BTreeSet<_> = offers.iter().map(|offer| &offer.lineage).collect();
        let is_dry_run = offers.iter().any(|offer| offer.wishes.dry_run);
        if offers.is_empty() || lineages.len() != offers.len() || is_dry_run && offers.len() > 1 {
            return rejected("offers that are no one transaction: none, a lineage twice, or a dry run of several");
        }
        let (mut allowed, mut apart) = (Vec::new(), Vec::new());
        for offer in offers {
            match self.grant.allows_lineage(&offer.lineage) {
                Ok(()) => allowed.push(offer),
                Err(cause) => apart.push(ended(&offer.lineage, Outcome::Refused { step: Step::Policy, cause })),
            }
        }
        match allowed.as_slice() {
            [] => {}
            [only] if is_dry_run => match transaction::plan(self.node, only, self.grant, deadline) {
                Ok(changes) => return Reply::Planned { changes },
                Err(Halt(outcome)) => apart.push(ended(&only.lineage, outcome)),
            },
            allowed => {
                let prepared = transaction::prepare(self.node, id, allowed, self.grant, deadline);
                self.waiting = prepared.waiting;
                apart.extend(prepared.apart);
            }
        }
        for Ended { lineage, outcome } in apart.iter().filter(|ended| ended.outcome != Outcome::Unchanged) {
            tracing::warn!(%lineage, %outcome, "not prepared");
        }
        Reply::Prepared { transaction: id.clone(), apart }
    }

    fn take(&mut self, id: &TransactionId) -> Option<Box<Transaction<'n>>> {
        self.waiting.take_if(|waiting| waiting.id() == id)
    }

    /// Waits for the process that may still be committing it, then says how it ended. Of a lineage that is not the caller's it
    /// never was.
    fn recall(&mut self, id: &TransactionId, lineages: Vec<LineageName>, deadline: Deadline) -> Reply {
        if let Err(Halt(outcome)) = self.node.hold(deadline, self.grant) {
            return concluded(Ended::all(lineages, &outcome));
        }
        let is_own = |lineage: &LineageName| self.grant.allows_lineage(lineage).is_ok();
        let (own, others): (Vec<_>, Vec<_>) =
            history::recall(self.node.state(), id).into_iter().partition(|ended| is_own(&ended.lineage));
        let end_of = |lineage: LineageName| {
            let outcome = match own.iter().find(|ended| ended.lineage == lineage).map(|ended| &ended.outcome) {
                None => Outcome::Pending { cause: "the transaction was never committed there".into() },
                // The cause of a common failure may name lineages that are not the caller's.
                Some(outcome) if !others.is_empty() && !outcome.is_in_sync() => hearing::of_another(outcome),
                Some(outcome) => hearing::of_own(self.grant, outcome.clone()),
            };
            Ended { lineage, outcome }
        };
        concluded(lineages.into_iter().map(end_of).collect())
    }

    fn heard(&self, mut lineages: Vec<Ended>) -> Vec<Ended> {
        for Ended { outcome, .. } in &mut lineages {
            *outcome = hearing::of_own(self.grant, outcome.clone());
        }
        lineages
    }

    fn webroots(&self) -> Webroots<'_> {
        let config = self.node.config();
        Webroots {
            default: &config.node.webroot,
            by_name: &config.node.webroots,
            state: &config.node.state,
            keep: config.challenge.keep_tokens,
            grant: self.grant,
        }
    }
}

fn concluded(lineages: Vec<Ended>) -> Reply {
    for Ended { lineage, outcome } in &lineages {
        tracing::info!(%lineage, %outcome, "concluded");
    }
    Reply::Concluded { lineages }
}

fn ended(lineage: &LineageName, outcome: Outcome) -> Ended {
    Ended { lineage: lineage.clone(), outcome }
}

fn rejected(cause: &str) -> Reply {
    Reply::Rejected { cause: cause.into() }
}

/// Standard input and output as a conversation's two ways.
pub fn standard_streams() -> io::Result<(impl Read, impl Write, SharedDeadline)> {
    use crate::sys::timed::{self, TimedReader, TimedWriter};
    let limit = SharedDeadline::new(Deadline::after(HELLO));
    let input = TimedReader::new(timed::stdin()?, &limit);
    let output = TimedWriter::new(timed::stdout()?, &limit);
    Ok((io::BufReader::new(input), output, limit))
}

#[cfg(test)]
mod tests;
