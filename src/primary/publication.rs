//! Putting challenges on every node and taking them away: one conversation a node, however many names.

use std::io;

use crate::model::challenge::Challenge;
use crate::model::config::Config;
use crate::model::deadline::Deadline;
use crate::model::names::NodeName;
use crate::primary::challenge::Runs;
use crate::primary::conversation::{Conversation, TalkError};
use crate::primary::fleet::{Fleet, Member, Places, for_each};
use crate::wire::message::{Reply, Request, TokenFailure, Withdrawal};

/// What one node said.
#[derive(Debug)]
pub struct Answer {
    /// Which node.
    pub node: NodeName,
    /// Empty when all went well; else one line a cause.
    pub failures: Vec<String>,
    /// Whether the node was not reached at all.
    pub unreached: bool,
}

/// Publishes on all nodes at once. What earlier runs still owe a node is withdrawn in the same conversation.
pub fn publish(
    config: &Config,
    fleet: &Fleet,
    runs: &Runs,
    challenges: &[Challenge],
    deadline: Deadline,
) -> io::Result<Vec<Answer>> {
    at_all(config, fleet, |member| {
        let publish = Request::Publish { challenges: challenges.to_vec() };
        with_debts(config, runs, member, Some(publish), deadline)
    })
}

/// Withdraws from all nodes at once. What a node could not do now is owed to it and done later.
pub fn withdraw(
    config: &Config,
    fleet: &Fleet,
    runs: &Runs,
    withdrawals: &[Withdrawal],
    deadline: Deadline,
) -> io::Result<Vec<Answer>> {
    for member in fleet.all() {
        if let Err(error) = runs.owe(&member.name, withdrawals) {
            tracing::warn!(node = %member.name, "cannot remember what is to be withdrawn: {error}");
        }
    }
    at_all(config, fleet, |member| with_debts(config, runs, member, None, deadline))
}

/// Makes debts of what certbot runs left that are no longer alive: nobody else will clean up after them.
pub fn adopt_orphans(fleet: &Fleet, runs: &Runs) -> io::Result<()> {
    for (run, challenges) in runs.orphans() {
        let withdrawals: Vec<_> = challenges.iter().map(Withdrawal::of).collect();
        for member in fleet.all() {
            runs.owe(&member.name, &withdrawals)?;
        }
        runs.forget(&run)?;
    }
    Ok(())
}

/// Withdraws what is still owed to nodes, and talks to no other node.
pub fn settle_debts(config: &Config, fleet: &Fleet, runs: &Runs, deadline: Deadline) -> io::Result<Vec<Answer>> {
    let owing: Vec<_> = fleet.all().filter(|member| !runs.owed(&member.name).is_empty()).collect();
    for_each(owing, |member| with_debts(config, runs, member, None, deadline))
}

fn at_all(config: &Config, fleet: &Fleet, act: impl Fn(&Member) -> Answer + Sync) -> io::Result<Vec<Answer>> {
    let places = Places::new(config.deploy.parallel);
    for_each(fleet.all().collect(), |member| places.with(|| act(member)))
}

fn with_debts(config: &Config, runs: &Runs, member: &Member, publish: Option<Request>, deadline: Deadline) -> Answer {
    let owed = runs.owed(&member.name);
    let mut requests: Vec<_> = publish.into_iter().collect();
    if !owed.is_empty() {
        requests.push(Request::Withdraw { challenges: owed.clone() });
    }
    let mut answer = Answer { node: member.name.clone(), failures: Vec::new(), unreached: false };
    match converse(config, member, &requests, deadline) {
        Ok(replies) => {
            for reply in replies {
                let (verb, failures) = match reply {
                    Reply::Published { failures } => ("publish", failures),
                    Reply::Withdrawn { failures } => {
                        settle(runs, member, &owed, &failures);
                        ("withdraw", failures)
                    }
                    _ => ("understand", Vec::new()),
                };
                answer.failures.extend(failures.into_iter().map(|TokenFailure { name, cause }| {
                    format!("cannot {verb} the challenge for {name}: {}", crate::model::escape::escaped(&cause))
                }));
            }
        }
        Err(error) => {
            answer.unreached = !matches!(error, TalkError::Rejected(_));
            answer.failures.push(error.outcome().to_string());
        }
    }
    answer
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
