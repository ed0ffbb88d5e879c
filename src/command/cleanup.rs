//! `cleanup`: the challenges of this certbot run away from every node.

use std::path::Path;

use crate::command::report;
use crate::model::config::{self, Config};
use crate::model::exit_code::ExitCode;
use crate::model::names::NodeName;
use crate::primary::challenge::{Progress, Runs};
use crate::primary::fleet::Fleet;
use crate::primary::{hook_env, publication};
use crate::wire::message::Withdrawal;

/// certbot prints what a hook says: a screenful, not a flood.
const LINES_AT_MOST: usize = 20;

/// Always done: certbot can do nothing about a failure here, and what is left is removed later.
pub fn run(config_path: &Path) -> ExitCode {
    if let Err(error) = try_run(config_path) {
        report::complain(&format!("{error:#}; the challenge is removed later, by 'certcast resync' or by its age"));
    }
    ExitCode::Done
}

/// Every call but a run's last only marks its challenge: then all are withdrawn in one conversation a node.
fn try_run(config_path: &Path) -> anyhow::Result<()> {
    let token = hook_env::cleanup_call(|name| std::env::var_os(name))?;
    let config = config::load(config_path)?;
    let runs = Runs::open(&config.node.state)?;
    let run = super::auth::certbot_run()?;
    match runs.mark_cleaned(&run, &token)? {
        Progress::MoreToClean => Ok(()),
        Progress::NeverPublished => Ok(runs.forget(&run)?),
        Progress::AllClean(challenges) => {
            let withdrawals: Vec<_> = challenges.iter().map(Withdrawal::of).collect();
            withdraw(&config, config_path, &runs, &withdrawals)?;
            Ok(runs.forget(&run)?)
        }
    }
}

/// Withdraws from every node, and says what is left there for later.
pub fn withdraw(config: &Config, config_path: &Path, runs: &Runs, withdrawals: &[Withdrawal]) -> anyhow::Result<()> {
    let fleet = Fleet::of(config, config_path)?;
    let answers = publication::withdraw(config, &fleet, runs, withdrawals, config.challenge.budget)?;
    let line = |node: &NodeName, failure: &String| format!("{node}: {failure}; the challenge is removed later");
    let lines = answers.iter().flat_map(|answer| answer.failures.iter().map(|failure| line(&answer.node, failure)));
    report::complain_of(&lines.collect::<Vec<_>>(), LINES_AT_MOST);
    Ok(())
}
