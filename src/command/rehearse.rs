//! `rehearse`: what `auth` and `cleanup` do, with a made-up challenge, on any day and without a CA.

use std::path::Path;

use anyhow::{Context, anyhow};

use crate::cli::Rehearse;
use crate::command::failure::Failure;
use crate::command::{cleanup, report};
use crate::model::challenge::{Challenge, Thumbprint};
use crate::model::config::{self, Config};
use crate::model::deadline::Deadline;
use crate::model::exit_code::ExitCode;
use crate::model::names::Identifier;
use crate::model::some_of::SomeOf;
use crate::primary::challenge::Runs;
use crate::primary::fleet::Fleet;
use crate::primary::readiness::{self, Readiness};
use crate::primary::{account, publication};
use crate::sys::ancestry;
use crate::wire::message::Withdrawal;

/// A person reads it.
const LINES_AT_MOST: usize = 50;

/// Recorded as a certbot run is, with this process in certbot's place: killed at any moment, the next run or `resync`
/// removes what it left.
pub fn run(config_path: &Path, arguments: &Rehearse) -> Result<ExitCode, Failure> {
    refuse_wildcards(&arguments.names)?;
    let config = config::load(config_path)?;
    let found = find(&config, config_path, &arguments.names, arguments.account.clone())?;
    Ok(tell(&found))
}

/// HTTP-01 is not for them.
pub fn refuse_wildcards(names: &[Identifier]) -> Result<(), Failure> {
    match names.iter().find(|name| name.is_wildcard()) {
        None => Ok(()),
        Some(name) => Err(Failure::usage(anyhow!(
            "{name} cannot be validated over HTTP (RFC 8555 section 8.3 leaves wildcards to DNS-01); leave it out"
        ))),
    }
}

/// Whether the CA could be asked for these names. Nothing of it stays.
pub fn find(
    config: &Config,
    config_path: &Path,
    names: &[Identifier],
    account: Option<Thumbprint>,
) -> Result<Readiness, Failure> {
    let account = match account.or_else(|| account::likely(&config.node.letsencrypt)) {
        Some(account) => account,
        None => Thumbprint::of(b"nobody"),
    };
    let made_up = |name: &Identifier| Challenge::made_up(name.clone(), &account);
    let challenges = names.iter().map(made_up).collect::<Result<Vec<_>, _>>()?;
    let runs = Runs::open(&config.node.state)?;
    let run = ancestry::process(nix::unistd::getpid().as_raw())
        .context("cannot find out which process this is: is /proc mounted?")?;
    challenges.iter().try_for_each(|challenge| runs.record(&run, challenge)).context("cannot record the challenge")?;

    let found = {
        let fleet = Fleet::of(config, config_path)?;
        let _held = runs.hold(Deadline::after(config.challenge.budget))?;
        publication::adopt_orphans(&fleet, &runs)?;
        runs.mark_published(&run)?;
        readiness::find(config, fleet, &runs, &challenges).context("cannot talk to the nodes")
    };
    let withdrawals: Vec<_> = challenges.iter().map(Withdrawal::of).collect();
    cleanup::withdraw(config, config_path, &runs, &withdrawals)?;
    runs.forget(&run)?;
    Ok(found?)
}

fn tell(found: &Readiness) -> ExitCode {
    found.warnings.iter().for_each(|warning| report::warn(warning));
    if found.complaints.is_empty() {
        for (target, names) in &found.asked {
            report::line(&format!("{target}  serves {}", SomeOf(names)));
        }
        return ExitCode::Done;
    }
    report::complain_of(&found.complaints, LINES_AT_MOST);
    ExitCode::Failed
}
