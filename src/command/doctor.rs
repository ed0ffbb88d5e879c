//! `doctor`: what goes wrong most is looked at, and each thing found has its remedy.

use std::path::Path;
use std::thread;
use std::time::Duration;

use serde::Serialize;

use crate::cli::Doctor;
use crate::command::failure::Failure;
use crate::command::{rehearse, report, resync, status};
use crate::model::config::{self, Config};
use crate::model::deadline::Deadline;
use crate::model::exit_code::ExitCode;
use crate::model::expiry;
use crate::model::finding::{Finding, Severity};
use crate::model::names::{Identifier, NodeName};
use crate::model::pasteable::pasteable;
use crate::primary::by_itself;
use crate::primary::cli_ini::CliIni;
use crate::primary::delivery::{Courier, Manner};
use crate::primary::elsewhere;
use crate::primary::examination::{self, Examined};
use crate::primary::fleet::Fleet;
use crate::primary::lineage::Lineage;
use crate::primary::renewal;
use crate::primary::survey::{self, Row, State};
use crate::wire::message::Wishes;

/// Services' own tests take their time; who has not answered by then is told as not reached.
const EXAMINATION: Duration = Duration::from_secs(60);
const SURVEY: Duration = Duration::from_secs(20);
/// As many as one order may have with most CAs; they share one budget.
const NAMES_AT_ONCE: usize = 100;

/// A finding, and where.
#[derive(Debug, PartialEq, Serialize)]
struct Found {
    node: NodeName,
    #[serde(flatten)]
    finding: Finding,
}

/// Publishes a made-up challenge for the certificates' names and takes it away again; changes nothing else.
pub fn run(config_path: &Path, arguments: &Doctor) -> Result<ExitCode, Failure> {
    let config = config::load(config_path)?;
    let fleet = Fleet::of(&config, config_path)?;
    let (mut trees, unfit) = resync::chosen_lineages(&config, &arguments.lineages)?;
    let lineages = trees.remove(&config.node.letsencrypt).unwrap_or_default();
    for (letsencrypt, lineages) in &trees {
        for Lineage { name, .. } in lineages {
            report::warn(&format!(
                "{name} is not looked at: it is in {}, and 'doctor' looks at node.letsencrypt only",
                letsencrypt.display()
            ));
        }
    }
    let all = elsewhere::with_all_at_home(&config).map_err(Failure::refused)?;
    let own = &config.node.name;
    let mut found = Vec::new();
    let cli_ini = CliIni::read();
    // What is wrong for every lineage, or by two hooks of one, is said once.
    let mut here = |finding| {
        let one = Found { node: own.clone(), finding };
        if !found.contains(&one) {
            found.push(one);
        }
    };
    for (_, cause) in &unfit {
        here(Finding::error(cause, "no node gets it", "certbot certificates"));
    }
    for name in all.iter().filter(|name| arguments.lineages.is_empty() && !config.deploy.wants(name)) {
        renewal::unsent(&config.node.letsencrypt, &cli_ini, name).into_iter().for_each(&mut here);
    }
    let mut names: Vec<&Identifier> = Vec::new();
    let mut is_renewed_here = false;
    for lineage in &lineages {
        let renewal = renewal::of(&config.node.letsencrypt, &cli_ini, &lineage.name);
        // Without a peer this may be one itself, and certbot is elsewhere.
        let is_elsewhere = fleet.peers.is_empty() && !renewal.is_there;
        is_renewed_here |= renewal.is_there;
        renewal.findings.into_iter().filter(|_| !is_elsewhere).for_each(&mut here);
        if renewal.is_http {
            names.extend(lineage.bundle.names().iter().filter(|name| !name.is_wildcard()));
        }
    }
    if is_renewed_here && !fleet.peers.is_empty() {
        by_itself::missing().into_iter().for_each(&mut here);
    }
    names.sort_unstable_by_key(ToString::to_string);
    names.dedup();
    let names: Vec<Identifier> = names.into_iter().cloned().collect();
    let manner = Manner { wishes: Wishes::default(), is_fresh: false };
    let courier = Courier { config: &config, letsencrypt: &config.node.letsencrypt, fleet: &fleet, manner };
    // Both wait for a node that is away.
    let (examined, readiness) = thread::scope(|scope| {
        let rehearsal = thread::Builder::new().name("rehearsal".to_owned());
        let rehearse =
            || names.chunks(NAMES_AT_ONCE).flat_map(|names| rehearsed(&config, config_path, names)).collect::<Vec<_>>();
        let rehearsal = rehearsal.spawn_scoped(scope, rehearse)?;
        let examined = examination::of_all(&courier, &lineages, &all, Deadline::after(EXAMINATION));
        let readiness = rehearsal.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        examined.map(|examined| (examined, readiness))
    })?;
    let away: Vec<NodeName> = examined.iter().filter(|node| !node.is_reached).map(|node| node.node.clone()).collect();
    let mut reached = fleet.clone();
    reached.peers.retain(|peer| !away.contains(&peer.name));
    let rows = survey::find(&Courier { fleet: &reached, ..courier }, &lineages, Deadline::after(SURVEY))?;
    for Examined { node, findings, .. } in examined {
        found.extend(findings.into_iter().map(|finding| Found { node: node.clone(), finding }));
    }
    for row in &rows {
        found.extend(stands(row, row.node == *own).map(|finding| Found { node: row.node.clone(), finding }));
    }
    // What is said of nodes that are away was said already.
    let is_new = |finding: &Finding| !away.iter().any(|node| finding.what.starts_with(&format!("{node}: ")));
    let readiness = readiness.into_iter().filter(is_new);
    found.extend(readiness.map(|finding| Found { node: own.clone(), finding }));
    tell(&found, arguments.json, &lineages, 1 + fleet.peers.len())?;
    Ok(if found.is_empty() { ExitCode::Done } else { ExitCode::Failed })
}

/// What is wrong with a row of `status`.
///
/// What ends everywhere is said once, of the own node.
fn stands(row: &Row, is_own: bool) -> Option<Finding> {
    let lineage = row.lineage.as_str();
    let what = format!("{lineage}: {}", status::state_and_cause(row));
    let resync = || {
        let cause = row.last_outcome.as_deref().filter(|_| row.pending_since.is_some()).unwrap_or_default();
        match cause {
            cause if cause.contains("--adopt") => {
                format!("on the primary: {}", pasteable(&["certcast", "resync", "--adopt", lineage]))
            }
            cause if cause.starts_with("refused") || cause.starts_with("rolled back") => {
                format!("mend what it says; then on the primary: {}", pasteable(&["certcast", "resync", lineage]))
            }
            _ => format!("on the primary: {}", pasteable(&["certcast", "resync", lineage])),
        }
    };
    let look = || format!("on the primary: {}", pasteable(&["certcast", "status", lineage]));
    match &row.state {
        State::InLine => is_own.then(|| ends(row)).flatten(),
        State::Unfinished => Some(Finding::warning(what, "nothing else can be brought there", "certcast recover")),
        State::Stuck { .. } => Some(Finding::error(what, "nothing can be brought there", "certcast recover")),
        State::ServesOlder { .. } => {
            let why = "visitors are shown a certificate that ends earlier, while the files are right";
            Some(Finding::error(what, why, "reload that service, as its [[service]] has it"))
        }
        State::NotServed { .. } => {
            let why = "visitors are not shown this certificate";
            Some(Finding::error(what, why, "look at that service's own log and configuration"))
        }
        State::PartlySeen => Some(Finding::warning(what, "what was not asked may be wrong", look())),
        State::Behind | State::Missing => {
            Some(Finding::error(what, "visitors are shown another certificate here than elsewhere", resync()))
        }
        State::Unknown { .. } => Some(Finding::error(what, "whether it is right is not known", look())),
    }
}

fn ends(row: &Row) -> Option<Finding> {
    let days = row.days_left.filter(|days| *days < expiry::days_at_least(row.life))?;
    let lineage = row.lineage.as_str();
    let what =
        if days < 0 { format!("{lineage} has ended") } else { format!("{lineage} ends in {days} days on all nodes") };
    let why = "certbot should have renewed it by now";
    Some(Finding::error(what, why, pasteable(&["certbot", "renew", "--cert-name", lineage, "--dry-run"])))
}

/// What a CA would find.
fn rehearsed(config: &Config, config_path: &Path, names: &[Identifier]) -> Vec<Finding> {
    let shown: Vec<String> = names.iter().map(Identifier::to_string).collect();
    let again: Vec<&str> = ["certcast", "rehearse"].into_iter().chain(shown.iter().map(String::as_str)).collect();
    let again = pasteable(&again);
    let readiness = match rehearse::find(config, config_path, names, None) {
        Ok(readiness) => readiness,
        Err(failure) => return vec![Finding::error(failure.text(), "what a CA would find is not known", again)],
    };
    let complaint = |text: &String| Finding::error(text, "the CA may ask just there: the renewal fails", &again);
    let warning = |text: &String| Finding::warning(text, "the proof before a renewal says less by it", &again);
    let complaints = readiness.complaints.iter().map(complaint);
    complaints.chain(readiness.warnings.iter().map(warning)).collect()
}

fn tell(found: &[Found], json: bool, lineages: &[Lineage], nodes: usize) -> Result<(), Failure> {
    if json {
        report::line(&serde_json::to_string_pretty(found).map_err(anyhow::Error::from)?);
        return Ok(());
    }
    for Found { node, finding } in found {
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        report::line(&format!("{node}: {severity}: {}", finding.what));
        report::line(&format!("    why: {}", finding.why));
        report::line(&format!("    do:  {}", finding.remedy));
    }
    let errors = found.iter().filter(|found| found.finding.severity == Severity::Error).count();
    report::line(&format!(
        "examined {nodes} nodes and {} lineages: {errors} errors, {} warnings",
        lineages.len(),
        found.len() - errors
    ));
    Ok(())
}
