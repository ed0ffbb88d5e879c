//! `deploy`: every node to the bundle that certbot has just renewed.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use anyhow::Error;

use crate::command::failure::Failure;
use crate::command::progress::Progress;
use crate::command::report;
use crate::model::config::{self, Config};
use crate::model::deadline::Deadline;
use crate::model::exit_code::ExitCode;
use crate::primary::alert::{self, observation};
use crate::primary::delivery::{AT_MOST, Courier, Manner};
use crate::primary::elsewhere;
use crate::primary::fleet::Fleet;
use crate::primary::hook_env::{self, DeployCall};
use crate::primary::lineage::Lineage;
use crate::sys::dir::make_state;
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
    let result = roll_out(config_path, &config, &call);
    if let Err(failure) = &result {
        // Said before somebody may end the hook, which waits for receivers of alerts.
        failure.report();
        // Of a lineage that is not fit it is told as of that.
        if failure.code != ExitCode::Refused {
            alert::note(&config, &[observation::of_failure(&config.node.name, &call.lineage, failure.text())]);
        }
    }
    alert::send(&config, ALERTS);
    Ok(result.unwrap_or_else(|failure| failure.code))
}

fn roll_out(config_path: &Path, config: &Config, call: &DeployCall) -> Result<ExitCode, Failure> {
    let _lock = lock(config)?;
    let now = jiff::Timestamp::now().as_second();
    let own = &config.node.name;
    let lineage =
        Lineage::read(&call.letsencrypt, &call.lineage, now).map_err(Failure::refused).inspect_err(|failure| {
            alert::note(config, &[observation::of_fitness(own, &call.lineage, Some(failure.text()))]);
        })?;
    elsewhere::note(config, &call.letsencrypt, &call.lineage)?;
    let mut observations = Vec::from(observation::of_lineage(own, &lineage, now));
    // The CA has validated them.
    observations.extend(observation::of_challenges(own, &lineage.bundle.names().iter().collect::<Vec<_>>(), &[]));
    let fleet = Fleet::of(config, config_path)?.with_letsencrypt(&call.letsencrypt);
    let manner = Manner { wishes: Wishes::default(), is_fresh: true };
    let courier = Courier { config, letsencrypt: &call.letsencrypt, fleet: &fleet, manner };
    report::warn_of_rival(&courier, &call.lineage);
    let progress = Progress::new();
    let peers: Vec<_> = fleet.peers.iter().collect();
    let deliveries = courier.deliver(&[lineage], &peers, &progress, Deadline::after(AT_MOST))?;
    drop(progress);
    for line in deliveries.iter().filter(|delivery| !delivery.is_well()).flat_map(report::lines) {
        report::complain(&line);
    }
    let code = report::exit_code(&deliveries, false);
    if matches!(code, ExitCode::Partly | ExitCode::Failed) {
        report::complain("what is missing is done by 'certcast resync', by hand or by its timer");
    }
    observations.extend(deliveries.iter().filter_map(observation::of_delivery));
    alert::note(config, &observations);
    Ok(code)
}

/// One deploy or resync at a time: the later one waits, and then sees what the earlier one did.
pub fn lock(config: &Config) -> Result<Lock, Failure> {
    let state = &config.node.state;
    make_state(state)?;
    match Lock::acquire(&state.join("delivery.lock"), Deadline::after(LOCK)) {
        Err(error) if error.kind() == ErrorKind::TimedOut => {
            Err(Error::from(error).context("another deploy or resync does not end here").into())
        }
        lock => Ok(lock?),
    }
}
