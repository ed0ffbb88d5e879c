//! `deploy`: every node to the bundle that certbot has just renewed.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Error};

use crate::command::failure::Failure;
use crate::command::progress::Progress;
use crate::command::report;
use crate::model::config;
use crate::model::deadline::Deadline;
use crate::model::exit_code::ExitCode;
use crate::primary::alert::{self, observation};
use crate::primary::delivery::{Courier, Delivery, Manner};
use crate::primary::fleet::Fleet;
use crate::primary::hook_env;
use crate::primary::lineage::Lineage;
use crate::sys::lock::Lock;
use crate::wire::message::Wishes;

/// Another run ends within its own budget, which is a quarter of an hour at most, and what it asks before and after.
const LOCK: Duration = Duration::from_secs(20 * 60);

/// What a hook waits for receivers of alerts: what is not sent by then goes out with the next run.
pub const ALERTS: Duration = Duration::from_secs(5);

/// Silent when every node took it; else a line for each that did not, on standard error.
pub fn run(config_path: &Path) -> Result<ExitCode, Failure> {
    let call = hook_env::deploy_call(|name| std::env::var_os(name)).map_err(Failure::usage)?;
    let config = config::load(config_path)?;
    if !config.deploy.wants(&call.lineage) {
        return Ok(ExitCode::Done);
    }
    let lock = lock(&config)?;
    let now = jiff::Timestamp::now().as_second();
    let own = &config.node.name;
    let lineage = match Lineage::read(&call.letsencrypt, &call.lineage, now).map_err(Failure::refused) {
        Ok(lineage) => lineage,
        Err(failure) => {
            let unfit = observation::of_fitness(own, &call.lineage, Some(failure.text()));
            alert::note(&config, &[unfit]);
            drop(lock);
            alert::send(&config, ALERTS);
            return Err(failure);
        }
    };
    let mut observations = Vec::from(observation::of_lineage(own, &lineage, now));
    let fleet = Fleet::of(&config, config_path)?.with_letsencrypt(&call.letsencrypt);
    let manner = Manner { wishes: Wishes::default(), is_fresh: true };
    let courier = Courier { config: &config, letsencrypt: &call.letsencrypt, fleet: &fleet, manner };
    report::warn_of_rival(&courier, &call.lineage);
    let progress = Progress::new();
    let deliveries = courier.deliver(&[lineage], &fleet.peers.iter().collect::<Vec<_>>(), &progress)?;
    drop(progress);
    observations.extend(deliveries.iter().filter_map(observation::of_delivery));
    alert::note(&config, &observations);
    drop(lock);
    alert::send(&config, ALERTS);
    let failed = |delivery: &&Delivery| delivery.outcome.as_ref().is_some_and(|outcome| !outcome.is_in_sync());
    for line in deliveries.iter().filter(failed).flat_map(report::lines) {
        report::complain(&line);
    }
    let code = report::exit_code(&deliveries, false);
    if code == ExitCode::Done {
        alert::ping(&config, ALERTS);
    }
    if matches!(code, ExitCode::Partly | ExitCode::Failed) {
        report::complain("what is missing is done by 'certcast resync', by hand or by its timer");
    }
    Ok(code)
}

/// One deploy or resync at a time: the later one waits, and then sees what the earlier one did.
pub fn lock(config: &config::Config) -> Result<Lock, Failure> {
    use std::os::unix::fs::DirBuilderExt;
    let state = &config.node.state;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(state);
    made.with_context(|| format!("cannot make the state directory {}", state.display()))?;
    match Lock::acquire(&state.join("delivery.lock"), Deadline::after(LOCK)) {
        Err(error) if error.kind() == ErrorKind::TimedOut => {
            Err(Error::from(error).context("another deploy or resync does not end here").into())
        }
        lock => Ok(lock?),
    }
}
