//! `resync`: compare all nodes with this one, and bring what differs in line.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::anyhow;
use jiff::{SignedDuration, Timestamp};

use crate::cli::{Resync, WishArguments};
use crate::command::deploy::lock;
use crate::command::failure::Failure;
use crate::command::progress::Progress;
use crate::command::report;
use crate::model::config::{self, Config};
use crate::model::deadline::Deadline;
use crate::model::exit_code::ExitCode;
use crate::model::names::{LineageName, NodeName};
use crate::model::outcome::Outcome;
use crate::model::pasteable::pasteable;
use crate::primary::alert::{self, Kind, Subject, observation};
use crate::primary::challenge::Runs;
use crate::primary::delivery::{AT_MOST, Courier, Delivery, Manner};
use crate::primary::elsewhere;
use crate::primary::fleet::{Fleet, Member};
use crate::primary::leftover::{self, Leftover};
use crate::primary::lineage::{Lineage, LineageError};
use crate::primary::publication;
use crate::wire::message::Wishes;

/// What waits for receivers of alerts: a timer has the time that a hook has not.
const ALERTS: Duration = Duration::from_secs(60);
/// certbot's timer tries twice a day what failed: a name that is in no certificate, and not asked for any more, is given up.
const ASKED_AGAIN: SignedDuration = SignedDuration::from_hours(48);
/// certbot switches its four links within milliseconds.
const SECOND_LOOK: Duration = Duration::from_millis(500);

/// Prints what was done, a line a node and lineage; without differences only that. Failures go to standard error.
pub fn run(config_path: &Path, arguments: &Resync) -> Result<ExitCode, Failure> {
    let config = config::load(config_path)?;
    let fleet = Fleet::of(&config, config_path)?;
    let peers = chosen_peers(&fleet, arguments)?;
    let lock = lock(&config)?;
    let code = bring_in_line(&config, &fleet, &peers, arguments);
    if arguments.wishes.dry_run {
        return code;
    }
    // Challenges have nothing to do with whether there is a lineage fit to be sent.
    withdraw_what_is_owed(&config, &fleet);
    drop(lock);
    alert::send(&config, ALERTS);
    // Of a part of the site it cannot be said that all is well.
    let is_whole = arguments.lineages.is_empty() && arguments.peers.is_empty();
    if is_whole
        && matches!(code, Ok(ExitCode::Done))
        && elsewhere::with_all_at_home(&config).unwrap_or_default().iter().any(|name| config.deploy.wants(name))
    {
        alert::ping(&config, ALERTS);
    }
    code
}

fn bring_in_line(config: &Config, fleet: &Fleet, peers: &[&Member], arguments: &Resync) -> Result<ExitCode, Failure> {
    let (trees, unfit) = chosen_lineages(config, &arguments.lineages)?;
    let lineages = || trees.values().flatten();
    let WishArguments { force, adopt, dry_run } = arguments.wishes;
    let manner = Manner { wishes: Wishes { force, adopt, dry_run }, is_fresh: false };
    let (own, now) = (&config.node.name, Timestamp::now().as_second());
    let mut observations: Vec<_> = lineages().flat_map(|lineage| observation::of_lineage(own, lineage, now)).collect();
    let present = elsewhere::with_all_at_home(config).map_err(Failure::refused)?;
    for (lineage, cause) in &unfit {
        report::complain(cause);
        // A name that somebody mistyped is nobody else's trouble.
        if present.contains(lineage) {
            observations.push(observation::of_fitness(own, lineage, Some(cause.clone())));
        }
    }
    let mut deliveries = Vec::new();
    let limit = Deadline::after(AT_MOST);
    for (letsencrypt, lineages) in &trees {
        let fleet = fleet.clone().with_letsencrypt(letsencrypt);
        let courier = Courier { config, letsencrypt, fleet: &fleet, manner };
        for lineage in lineages {
            report::warn_of_rival(&courier, &lineage.name);
        }
        let progress = Progress::new();
        deliveries.extend(courier.deliver(lineages, peers, &progress, limit)?);
    }
    if !arguments.wishes.dry_run {
        observations.extend(deliveries.iter().filter_map(observation::of_delivery));
        // The CA has validated what the own services have just taken.
        let is_taken = |lineage: &&Lineage| {
            deliveries.iter().any(|one| one.node == *own && one.lineage == lineage.name && one.is_applied())
        };
        let names = lineages().filter(is_taken).flat_map(|lineage| lineage.bundle.names());
        observations.extend(observation::of_challenges(own, &names.collect::<Vec<_>>(), &[]));
        let courier = Courier { config, letsencrypt: &config.node.letsencrypt, fleet, manner };
        // Of a part, or of what cannot be read, it cannot be said that no certificate has a name.
        let is_named = |name: &str| {
            !arguments.lineages.is_empty()
                || !unfit.is_empty()
                || lineages().any(|lineage| lineage.bundle.names().iter().any(|its| its.to_string() == name))
        };
        alert::note_all(config, &observations, |subject, seen| is_gone(&courier, &present, subject, seen, is_named));
    }
    let code = report::exit_code(&deliveries, !unfit.is_empty());
    print(&deliveries, arguments, code)?;
    if arguments.lineages.is_empty() {
        say_what_is_left_over(config, &present, peers, arguments)?;
    }
    Ok(code)
}

/// Whether nobody will see a subject of alerts again: its node, lineage or route is not there any more, or by its name.
fn is_gone(
    courier: &Courier<'_>,
    present: &[LineageName],
    subject: &Subject,
    seen: Timestamp,
    is_named: impl Fn(&str) -> bool,
) -> bool {
    let Courier { config, fleet, .. } = courier;
    let lineage = present.iter().find(|name| name.as_str() == subject.lineage && config.deploy.wants(name));
    let node = fleet.all().find(|member| member.name == subject.node);
    let is_ours = node.is_some_and(Member::is_own);
    match subject.kind {
        Kind::Delivery => !node.zip(lineage).is_some_and(|(node, lineage)| is_ours || courier.wants(node, lineage)),
        Kind::Lineage | Kind::Expiry => lineage.is_none() || !is_ours,
        Kind::Route => !alert::labels(config).contains(&subject.lineage) || !is_ours,
        Kind::Challenge => {
            !is_ours || seen.duration_until(Timestamp::now()) > ASKED_AGAIN && !is_named(&subject.lineage)
        }
        Kind::Test => false,
    }
}

fn print(deliveries: &[Delivery], arguments: &Resync, code: ExitCode) -> Result<(), Failure> {
    if arguments.json {
        report::line(&serde_json::to_string_pretty(deliveries).map_err(anyhow::Error::from)?);
        return Ok(());
    }
    // What is not in line goes to standard error: a timer that throws the rest away still hears of it.
    for delivery in deliveries {
        for line in report::lines(delivery) {
            if delivery.is_well() { report::line(&line) } else { report::complain(&line) }
        }
    }
    let unchanged = |delivery: &Delivery| delivery.outcome == Some(Outcome::Unchanged);
    if deliveries.is_empty() && code == ExitCode::Done {
        report::line("there is no lineage to compare");
    } else if deliveries.iter().all(unchanged) && code == ExitCode::Done {
        report::line("everything is in line");
    }
    Ok(())
}

/// No failure, and nothing that a run could mend: whether a service there still uses it only a person knows.
fn say_what_is_left_over(
    config: &Config,
    present: &[LineageName],
    peers: &[&Member],
    arguments: &Resync,
) -> Result<(), Failure> {
    for Leftover { node, lineage } in leftover::find(config, present, peers, arguments.wishes.dry_run)? {
        let trees = ["live", "archive"].map(|directory| format!("{directory}/{lineage}"));
        let text = format!(
            "{node}  {lineage}  kept: certbot no longer has it here, and nothing is removed unasked; once no service on \
             {node} uses it, run there in its letsencrypt directory: rm -r {}",
            pasteable(&trees)
        );
        tracing::info!("{text}");
        if !arguments.json {
            report::line(&text);
        }
    }
    Ok(())
}

fn chosen_peers<'f>(fleet: &'f Fleet, arguments: &Resync) -> Result<Vec<&'f Member>, Failure> {
    let find = |name: &NodeName| {
        let known = || fleet.peers.iter().map(|peer| peer.name.as_str()).collect::<Vec<_>>().join(", ");
        let peer = fleet.peers.iter().find(|peer| peer.name == *name);
        peer.ok_or_else(|| Failure::usage(anyhow!("--peer {name}: no such peer; the configuration has {}", known())))
    };
    match arguments.peers.as_slice() {
        [] => Ok(fleet.peers.iter().collect()),
        names => names.iter().map(find).collect(),
    }
}

/// A lineage that is not fit to be sent, and why.
pub type Unfit = (LineageName, String);

/// certbot's directories, the configured one and others, each with what is fit to be sent.
pub type Trees = BTreeMap<PathBuf, Vec<Lineage>>;

/// What is fit to be sent, and what is wrong with what is not: one unfit lineage does not hold the others back.
pub fn chosen_lineages(config: &Config, chosen: &[LineageName]) -> Result<(Trees, Vec<Unfit>), Failure> {
    let names: BTreeSet<_> = match chosen {
        [] => elsewhere::with_all_at_home(config).map_err(Failure::refused)?.into_iter().collect(),
        // Each once, however often it is named.
        names => names.iter().map(|name| wanted(config, name)).collect::<Result<_, _>>()?,
    };
    let (home, elsewhere) = (&config.node.letsencrypt, elsewhere::found(config)?);
    let (mut trees, mut unfit) = (Trees::new(), Vec::new());
    for name in names.iter().filter(|name| config.deploy.wants(name)) {
        let letsencrypt = elsewhere.get(name).unwrap_or(home);
        match read_patiently(letsencrypt, name) {
            Ok(lineage) => trees.entry(letsencrypt.clone()).or_default().push(lineage),
            Err(error) => unfit.push((name.clone(), format!("{:#}", anyhow::Error::from(error)))),
        }
    }
    Ok((trees, unfit))
}

/// A person who names a lineage is told that it would not be sent.
fn wanted(config: &Config, name: &LineageName) -> Result<LineageName, Failure> {
    let is_peer = config.peers.iter().any(|peer| peer.name.as_str() == name.as_str());
    let hint = if is_peer { format!("; the peer of that name is chosen by --peer {name}") } else { String::new() };
    let unwanted = || Failure::usage(anyhow!("{name}: not rolled out: no pattern in deploy.lineages matches it{hint}"));
    if config.deploy.wants(name) { Ok(name.clone()) } else { Err(unwanted()) }
}

fn read_patiently(letsencrypt: &Path, name: &LineageName) -> Result<Lineage, LineageError> {
    let now = Timestamp::now().as_second();
    match Lineage::read(letsencrypt, name, now) {
        Err(error) if error.may_pass() => {
            thread::sleep(SECOND_LOOK);
            Lineage::read(letsencrypt, name, now)
        }
        read => read,
    }
}

fn withdraw_what_is_owed(config: &Config, fleet: &Fleet) {
    let done = Runs::open(&config.node.state)
        .and_then(|runs| publication::settle_debts(config, fleet, &runs, Deadline::after(config.challenge.budget)));
    match done {
        Ok(answers) => {
            for answer in answers.iter().filter(|answer| !answer.failures.is_empty()) {
                tracing::warn!(node = %answer.node, "challenges are still to be withdrawn: {}", answer.failures.join("; "));
            }
        }
        Err(error) => tracing::warn!("cannot withdraw old challenges: {error}"),
    }
}

#[cfg(test)]
mod tests;
