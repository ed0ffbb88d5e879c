//! `auth`: the challenge on every node, proven, before the CA is asked.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow};

use crate::command::deploy::ALERTS;
use crate::command::failure::Failure;
use crate::command::report;
use crate::model::challenge::Challenge;
use crate::model::config::{self, Config};
use crate::model::deadline::Deadline;
use crate::model::exit_code::ExitCode;
use crate::primary::alert::{self, observation};
use crate::primary::challenge::Runs;
use crate::primary::fleet::Fleet;
use crate::primary::hook_env::{self, AuthCall};
use crate::primary::{publication, readiness};
use crate::sys::ancestry::{self, ProcessId};
use crate::sys::voice;
use crate::wire::message::Withdrawal;

/// certbot shows what a hook says only to whom it is failing for: a screenful, not a flood.
const LINES_AT_MOST: usize = 20;
/// Withdrawing before certbot is stopped: what does not answer by then is owed.
const WITHDRAW: Duration = Duration::from_secs(15);

/// Silent when the CA can be asked. Every call but a run's last only records its challenge.
pub fn run(config_path: &Path) -> Result<ExitCode, Failure> {
    let call = hook_env::auth_call(|name| std::env::var_os(name)).map_err(Failure::usage);
    let config = match config::load(config_path) {
        Ok(config) => config,
        Err(error) => return Err(call.err().unwrap_or_else(|| error.into())),
    };
    let (code, said) = match call.and_then(|call| {
        complaints(&config, config_path, &call).inspect_err(|failure| note_failure(&config, &call, failure))
    }) {
        Ok(None) => return Ok(ExitCode::Done),
        Ok(Some(complaints)) if complaints.is_empty() => (ExitCode::Done, complaints),
        Ok(Some(complaints)) => {
            report::complain_of(&complaints, LINES_AT_MOST);
            (ExitCode::Failed, complaints)
        }
        Err(failure) => {
            failure.report();
            (failure.code, vec![failure.text()])
        }
    };
    alert::send(&config, ALERTS);
    if code == ExitCode::Done {
        return Ok(code);
    }
    // For whatever reason it failed: the nodes are not proven, and the CA is not to be asked.
    if config.challenge.abort_certbot {
        stop_certbot(&config, config_path, said);
    }
    Ok(code)
}

/// The certbot run that this hook belongs to.
pub fn certbot_run() -> anyhow::Result<ProcessId> {
    let found =
        ancestry::certbot_run().and_then(|run| run.map_or_else(ancestry::parent_of_shells, |run| Ok(Some(run))));
    found?.context("cannot find out which process called this hook: is /proc mounted?")
}

/// What is wrong; none where the challenge was only recorded.
fn complaints(config: &Config, config_path: &Path, call: &AuthCall) -> Result<Option<Vec<String>>, Failure> {
    let runs = Runs::open(&config.node.state)?;
    let run = certbot_run()?;
    runs.record(&run, &call.challenge).context("cannot record the challenge")?;
    if call.remaining.is_some_and(|remaining| remaining > 0) {
        return Ok(None);
    }
    let fleet = Fleet::of(config, config_path)?;
    // Another run, or a rehearsal, may have all of its own time and what it withdraws afterwards before it is our turn.
    let _held = runs.hold(Deadline::after(config.challenge.budget.saturating_mul(2)))?;
    publication::adopt_orphans(&fleet, &runs)?;
    publication::adopt_cleaned(&fleet, &runs, &run)?;
    let challenges = runs.challenges(&run)?;
    if !challenges.contains(&call.challenge) {
        // Nothing would be published, and nothing found wrong.
        return Err(anyhow!("the challenge that was just recorded is gone; run certbot again").into());
    }
    runs.mark_published(&run)?;
    let found = readiness::find(config, fleet, &runs, &challenges).context("cannot talk to the nodes")?;
    found.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let names: Vec<_> = challenges.iter().map(Challenge::name).collect();
    alert::note(config, &observation::of_challenges(&config.node.name, &names, &found.complaints));
    Ok(Some(found.complaints))
}

/// Told of the same name as what is not proven: the run's first.
fn note_failure(config: &Config, call: &AuthCall, failure: &Failure) {
    let recorded = Runs::open(&config.node.state).ok().zip(certbot_run().ok());
    let recorded = recorded.and_then(|(runs, run)| runs.challenges(&run).ok()).unwrap_or_default();
    let names: BTreeSet<_> = recorded.iter().chain([&call.challenge]).map(Challenge::name).collect();
    let names: Vec<_> = names.into_iter().collect();
    alert::note(config, &observation::of_challenges(&config.node.name, &names, &[failure.text()]));
}

/// certbot ignores its hooks' exit codes, so only a signal keeps it from asking the CA. It then calls
/// no cleanup hook for this challenge; the challenges are withdrawn here.
///
/// The signal comes last: on it certbot kills its hook, which is this process, and forgets what the hook said.
/// So that somebody hears why, it is said on certbot's own standard error too.
fn stop_certbot(config: &Config, config_path: &Path, mut said: Vec<String>) {
    // Never a process that merely happens to be our ancestor.
    let certbot = match ancestry::certbot_run() {
        Ok(Some(certbot)) => certbot,
        Ok(None) => return report::complain("certbot was not stopped: no process above this hook is certbot"),
        Err(error) => return report::complain(&format!("certbot was not stopped: {error}")),
    };
    if let Err(error) = withdraw_all(config, config_path, &certbot) {
        report::complain(&format!("{error:#}; the challenges are removed later, by 'certcast resync' or by their age"));
    }
    said.truncate(LINES_AT_MOST);
    said.push("certbot is stopped before the CA is asked (challenge.abort_certbot)".to_owned());
    let text = format!("certcast: {}\n", said.join("\ncertcast: "));
    if let Err(error) = voice::say_for(&certbot, text.as_bytes()) {
        tracing::info!("certbot's standard error takes no words: {error}");
    }
    report::complain("certbot is stopped before the CA is asked (challenge.abort_certbot)");
    if let Err(error) = ancestry::terminate(&certbot) {
        report::complain(&format!("certbot was not stopped: {error}"));
    }
}

fn withdraw_all(config: &Config, config_path: &Path, run: &ProcessId) -> anyhow::Result<()> {
    let runs = Runs::open(&config.node.state)?;
    let withdrawals: Vec<_> = runs.challenges(run)?.iter().map(Withdrawal::of).collect();
    if !withdrawals.is_empty() && runs.is_published(run) {
        let fleet = Fleet::of(config, config_path)?;
        for answer in publication::withdraw(config, &fleet, &runs, &withdrawals, WITHDRAW)? {
            answer.failures.iter().for_each(|failure| tracing::warn!(node = %answer.node, "{failure}; owed"));
        }
    }
    Ok(runs.forget(run)?)
}
