//! Putting challenges on every node and taking them away: one conversation a node, however many names.

use std::io;
use std::time::Duration;

use crate::model::challenge::Challenge;
use crate::model::config::Config;
use crate::model::deadline::Deadline;
use crate::model::escape::escaped;
use crate::model::names::NodeName;
use crate::model::some_of::{SomeOf, grouped};
use crate::primary::challenge::Runs;
use crate::primary::conversation::{Conversation, TalkError};
use crate::primary::fleet::{Fleet, Member, Places, for_each};
use crate::sys::ancestry::ProcessId;
use crate::wire::message::{Reply, Request, TokenFailure, Withdrawal};

/// What one node said.
#[derive(Debug)]
pub struct Answer {
    /// Which node.
    pub node: NodeName,
    /// Empty when all that was asked for went well; else one line a cause.
    pub failures: Vec<String>,
    /// Whether it is a peer that is away, as far as can be seen.
    pub unreached: bool,
}

/// Publishes on all nodes at once. What earlier runs still owe a node is withdrawn in the same conversation,
/// which is no failure of this run's if it cannot be. A node that gets no challenge is left alone: what it is owed waits for
/// the next withdrawal. The caller holds [`Runs::hold`].
pub fn publish(
    config: &Config,
    fleet: &Fleet,
    runs: &Runs,
    challenges: &[Challenge],
    deadline: Deadline,
) -> io::Result<Vec<Answer>> {
    at_all(config, fleet, deadline, |member, turn| {
        let its = challenges.iter().filter(|challenge| member.answers_for(challenge.name()));
        match its.cloned().collect::<Vec<_>>().as_slice() {
            [] => Answer { node: member.name.clone(), failures: Vec::new(), unreached: false },
            its => with_debts(config, runs, member, its, turn),
        }
    })
}

/// Withdraws from all nodes at once. What a node could not do now is owed to it and done later. An error means that not
/// even that is remembered everywhere: the run these challenges are of must not be forgotten.
pub fn withdraw(
    config: &Config,
    fleet: &Fleet,
    runs: &Runs,
    withdrawals: &[Withdrawal],
    budget: Duration,
) -> io::Result<Vec<Answer>> {
    let _held = runs.hold(Deadline::after(budget))?;
    let its = |member: &Member| {
        withdrawals.iter().filter(|withdrawal| member.answers_for(&withdrawal.name)).cloned().collect::<Vec<_>>()
    };
    runs.owe(&fleet.all().map(|member| (&member.name, its(member))).collect::<Vec<_>>())?;
    // That the disk took its time is no node's fault.
    let deadline = Deadline::after(budget);
    at_all(config, fleet, deadline, |member, turn| with_debts(config, runs, member, &[], turn))
}

/// Makes debts of what certbot runs left that are no longer alive: nobody else will clean up after them. The caller holds
/// [`Runs::hold`].
pub fn adopt_orphans(fleet: &Fleet, runs: &Runs) -> io::Result<()> {
    for (run, challenges) in runs.orphans() {
        owe_everywhere(fleet, runs, &challenges)?;
        runs.forget(&run)?;
    }
    Ok(())
}

/// Makes debts of what certbot is done with although the run goes on: a lineage before this one, whose cleanup failed. The
/// caller holds [`Runs::hold`].
pub fn adopt_cleaned(fleet: &Fleet, runs: &Runs, run: &ProcessId) -> io::Result<()> {
    let cleaned = runs.cleaned(run)?;
    if !cleaned.is_empty() {
        owe_everywhere(fleet, runs, &cleaned)?;
        runs.forget_cleaned(run, &cleaned)?;
    }
    Ok(())
}

/// Withdraws what dead runs left and what is still owed to nodes, and talks to no other node.
pub fn settle_debts(config: &Config, fleet: &Fleet, runs: &Runs, deadline: Deadline) -> io::Result<Vec<Answer>> {
    let _held = runs.hold(deadline)?;
    adopt_orphans(fleet, runs)?;
    let owing: Vec<_> = fleet.all().filter(|member| !runs.owed(&member.name).is_empty()).collect();
    for_each(owing, |member| with_debts(config, runs, member, &[], deadline))
}

/// Which node got them is not known: its `challenges` may have been others then. A file that is not there is removed at once.
fn owe_everywhere(fleet: &Fleet, runs: &Runs, challenges: &[Challenge]) -> io::Result<()> {
    let withdrawals: Vec<_> = challenges.iter().map(Withdrawal::of).collect();
    runs.owe(&fleet.all().map(|member| (&member.name, withdrawals.clone())).collect::<Vec<_>>())
}

fn at_all(
    config: &Config,
    fleet: &Fleet,
    deadline: Deadline,
    act: impl Fn(&Member, Deadline) -> Answer + Sync,
) -> io::Result<Vec<Answer>> {
    let places = Places::new(config.deploy.parallel, fleet.all().count());
    for_each(fleet.all().collect(), |member| places.share(deadline, |turn| act(member, turn)))
}

fn with_debts(config: &Config, runs: &Runs, member: &Member, publish: &[Challenge], deadline: Deadline) -> Answer {
    let owed = debts(runs, member, publish);
    let mut requests = Vec::new();
    if !publish.is_empty() {
        requests.push(Request::Publish { challenges: publish.to_vec() });
    }
    if !owed.is_empty() {
        requests.push(Request::Withdraw { challenges: owed.clone() });
    }
    let mut answer = Answer { node: member.name.clone(), failures: Vec::new(), unreached: false };
    if requests.is_empty() {
        return answer;
    }
    match converse(config, member, &requests, deadline) {
        Ok(replies) => {
            for reply in replies {
                match reply {
                    Reply::Published { failures } => answer.failures.extend(lines("publish", failures)),
                    Reply::Withdrawn { failures } => {
                        settle(runs, member, &owed, &failures);
                        let lines = lines("withdraw", failures);
                        for line in &lines {
                            tracing::warn!(node = %member.name, "{line}");
                        }
                        if publish.is_empty() {
                            answer.failures.extend(lines);
                        }
                    }
                    _ => answer.failures.push(TalkError::Unexpected.to_string()),
                }
            }
        }
        Err(error) => {
            // The own node is reached through no network: whatever fails there needs a person.
            answer.unreached = error.is_absence() && !member.is_own();
            answer.failures.push(error.explained());
        }
    }
    answer
}

/// What the node still has to remove, without what it is about to get: a CA may hand out a pending token again.
fn debts(runs: &Runs, member: &Member, publish: &[Challenge]) -> Vec<Withdrawal> {
    let again = |withdrawal: &Withdrawal| publish.iter().any(|challenge| *challenge.token() == withdrawal.token);
    let (again, owed): (Vec<_>, Vec<_>) = runs.owed(&member.name).into_iter().partition(again);
    if !again.is_empty() {
        settle(runs, member, &again, &[]);
    }
    owed
}

/// One line a cause, however many names it struck.
fn lines(verb: &str, failures: Vec<TokenFailure>) -> Vec<String> {
    let by_cause = grouped(failures.into_iter().map(|TokenFailure { name, cause }| (cause, name)));
    let line = |(cause, names): &(String, Vec<_>)| {
        format!("cannot {verb} the challenge for {}: {}", SomeOf(names), escaped(cause))
    };
    by_cause.iter().map(line).collect()
}

fn settle(runs: &Runs, member: &Member, owed: &[Withdrawal], failures: &[TokenFailure]) {
    let failed = |withdrawal: &&Withdrawal| failures.iter().any(|failure| failure.name == withdrawal.name);
    let done: Vec<_> = owed.iter().filter(|withdrawal| !failed(withdrawal)).cloned().collect();
    if let Err(error) = runs.settled(&member.name, &done) {
        tracing::warn!(node = %member.name, "cannot forget what was withdrawn: {error}");
    }
}

fn converse(
    config: &Config,
    member: &Member,
    requests: &[Request],
    deadline: Deadline,
) -> Result<Vec<Reply>, TalkError> {
    let mut conversation = Conversation::open(&config.node.name, member, requests, deadline)?;
    requests.iter().map(|_| conversation.receive()).collect()
}
