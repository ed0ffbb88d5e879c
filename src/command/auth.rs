//! `auth`: the challenge on every node, proven, before the CA is asked.

use std::path::Path;
use std::thread;

use anyhow::{Context, anyhow};

use crate::command::failure::Failure;
use crate::command::report;
use crate::model::challenge::Challenge;
use crate::model::config::{self, Config, Require};
use crate::model::deadline::Deadline;
use crate::model::exit_code::ExitCode;
use crate::model::names::NodeName;
use crate::primary::challenge::Runs;
use crate::primary::fleet::Fleet;
use crate::primary::proof::{self, Target};
use crate::primary::{coverage, dns, hook_env, publication};
use crate::sys::ancestry::{self, ProcessId};
use crate::wire::message::Withdrawal;

/// Silent when the CA can be asked. Every call but a run's last only records its challenge.
pub fn run(config_path: &Path) -> Result<ExitCode, Failure> {
    let call = hook_env::auth_call(|name| std::env::var_os(name)).map_err(Failure::usage)?;
    let config = config::load(config_path)?;
    let runs = Runs::open(&config.node.state)?;
    let run = certbot_run()?;
    runs.record(&run, &call.challenge)?;
    if call.remaining.is_some_and(|remaining| remaining > 0) {
        return Ok(ExitCode::Done);
    }
    let fleet = Fleet::of(&config, config_path)?;
    publication::adopt_orphans(&fleet, &runs)?;
    let challenges = runs.challenges(&run);
    runs.mark_published(&run)?;
    let complaints = publish_and_prove(&config, &fleet, &runs, &challenges)?;
    if complaints.is_empty() {
        return Ok(ExitCode::Done);
    }
    for complaint in &complaints {
        report::complain(complaint);
    }
    if config.challenge.abort_certbot {
        abort_certbot(&config, &fleet, &runs, &run, &challenges)?;
    }
    Ok(ExitCode::Failed)
}

/// The certbot run that this hook belongs to.
pub fn certbot_run() -> anyhow::Result<ProcessId> {
    let run = ancestry::certbot_run().or_else(ancestry::parent_of_shells);
    run.ok_or_else(|| anyhow!("cannot find out which process called this hook: is /proc mounted?"))
}

fn publish_and_prove(
    config: &Config,
    fleet: &Fleet,
    runs: &Runs,
    challenges: &[Challenge],
) -> anyhow::Result<Vec<String>> {
    let deadline = Deadline::after(config.challenge.budget);
    let names: Vec<_> = challenges.iter().map(|challenge| challenge.name().clone()).collect();
    let (answers, records) = thread::scope(|scope| {
        let records = scope.spawn(|| config.challenge.check_dns.then(|| dns::lookup_all(&names, deadline)));
        let answers = publication::publish(config, fleet, runs, challenges, deadline);
        (answers, records.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let mut complaints = Vec::new();
    let mut unreached = Vec::new();
    for answer in answers.context("cannot start threads")? {
        for failure in &answer.failures {
            let text = format!("{}: {failure}", answer.node);
            if answer.unreached && config.challenge.require == Require::Reachable {
                tracing::warn!("{text}");
            } else {
                complaints.push(text);
            }
        }
        if answer.unreached {
            unreached.push(answer.node);
        }
    }
    complaints.extend(records.map(|records| check_dns(config, fleet, &names, records)).unwrap_or_default());
    // Proving takes its time where an answer is missing: pointless for a node that has no challenge.
    let targets = targets(config, fleet, &unreached);
    complaints.extend(proof::prove(challenges, &targets, deadline).iter().map(ToString::to_string));
    Ok(complaints)
}

fn check_dns(
    config: &Config,
    fleet: &Fleet,
    names: &[crate::model::names::Identifier],
    records: Vec<Result<Vec<std::net::IpAddr>, dns::DnsError>>,
) -> Vec<String> {
    let nodes: Vec<_> = fleet.all().map(|member| (member.name.clone(), member.addresses.clone())).collect();
    let mut complaints = Vec::new();
    for (name, records) in names.iter().zip(records) {
        match records {
            Ok(records) => {
                let coverage = coverage::coverage(name, &records, &nodes, &config.challenge.fronts);
                complaints.extend(coverage.errors());
                coverage.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
            }
            Err(error) if error.is_definite() => complaints.push(format!("{:#}", anyhow::Error::from(error))),
            Err(error) => tracing::warn!("cannot compare DNS with the nodes: {:#}", anyhow::Error::from(error)),
        }
    }
    complaints
}

fn targets(config: &Config, fleet: &Fleet, unreached: &[NodeName]) -> Vec<Target> {
    let reached = fleet.all().filter(|member| !unreached.contains(&member.name));
    let nodes = reached.flat_map(|member| member.addresses.iter().map(|&ip| Target::node(member.name.clone(), ip)));
    nodes.chain(config.challenge.fronts.iter().map(|&ip| Target::front(ip))).collect()
}

/// certbot ignores its hooks' exit codes, so only a signal keeps it from asking the CA. It then calls
/// no cleanup hook for this challenge; the challenges are withdrawn here.
fn abort_certbot(
    config: &Config,
    fleet: &Fleet,
    runs: &Runs,
    run: &ProcessId,
    challenges: &[Challenge],
) -> anyhow::Result<()> {
    let withdrawals: Vec<_> = challenges.iter().map(Withdrawal::of).collect();
    publication::withdraw(config, fleet, runs, &withdrawals, Deadline::after(config.challenge.budget))?;
    runs.forget(run)?;
    // Never a process that merely happens to be our ancestor.
    if let Some(certbot) = ancestry::certbot_run() {
        ancestry::terminate(&certbot).context("cannot stop certbot")?;
        report::complain("certbot was stopped before the CA was asked (challenge.abort_certbot)");
    }
    Ok(())
}
