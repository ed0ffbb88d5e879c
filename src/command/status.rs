//! `status`: what each node has and serves of each certificate.

mod page;

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::cli::Status;
use crate::command::failure::Failure;
use crate::command::{report, resync};
use crate::model::config;
use crate::model::deadline::Deadline;
use crate::model::exit_code::ExitCode;
use crate::model::names::LineageName;
use crate::model::pasteable::pasteable;
use crate::primary::alert;
use crate::primary::delivery::{Courier, Manner};
use crate::primary::fleet::Fleet;
use crate::primary::survey::{self, Row, State};
use crate::sys::terminal;
use crate::wire::message::Wishes;
use crate::wire::survey::Served;

/// To the upper left corner, and all below gone.
const CLEAR: &str = "\x1b[H\x1b[2J";
/// A node that has not answered by then is told as not reached.
const BUDGET: Duration = Duration::from_secs(20);

/// How all nodes stand.
pub struct Standing {
    /// The lineages that were compared.
    pub lineages: Vec<LineageName>,
    /// A row a node and lineage.
    pub rows: Vec<Row>,
    /// What is wrong with lineages that could not be compared.
    pub unfit: Vec<String>,
    /// What is wrong with routes of alerts.
    pub routes: Vec<String>,
    /// That there is no other node.
    pub alone: Option<String>,
}

/// Prints a line a node and lineage; with `--watch` again and again, until it is ended.
pub fn run(config_path: &Path, arguments: &Status) -> Result<ExitCode, Failure> {
    let Some(seconds) = arguments.watch else { return show(find(config_path, &arguments.lineages)?, arguments) };
    let is_terminal = std::io::stdout().is_terminal();
    loop {
        let found = find(config_path, &arguments.lineages);
        // Without a reader nobody would end it.
        if writeln!(std::io::stdout(), "{}", if is_terminal { CLEAR } else { "" }).is_err() {
            return Ok(ExitCode::Done);
        }
        if let Err(failure) = found.and_then(|standing| show(standing, arguments)) {
            failure.report();
        }
        thread::sleep(Duration::from_secs(seconds.into()));
    }
}

fn show(standing: Standing, arguments: &Status) -> Result<ExitCode, Failure> {
    if let Some(path) = &arguments.html {
        page::write(path, &standing)?;
    }
    let Standing { rows, unfit, routes, alone, .. } = standing;
    for cause in &unfit {
        report::complain(cause);
    }
    if arguments.json {
        report::line(&serde_json::to_string_pretty(&rows).map_err(anyhow::Error::from)?);
    } else if rows.is_empty() && unfit.is_empty() {
        report::line("there is no lineage to compare");
    } else {
        let paint = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
        for line in table(&rows, paint, terminal::columns()) {
            report::line(&line);
        }
    }
    for route in routes.iter().chain(&alone) {
        report::warn(route);
    }
    Ok(code(&rows, !unfit.is_empty()))
}

/// Asks all nodes.
pub fn find(config_path: &Path, chosen: &[LineageName]) -> Result<Standing, Failure> {
    let config = config::load(config_path)?;
    let fleet = Fleet::of(&config, config_path)?;
    let (trees, unfit) = resync::chosen_lineages(&config, chosen)?;
    let manner = Manner { wishes: Wishes::default(), is_fresh: false };
    let mut rows = Vec::new();
    for (letsencrypt, lineages) in &trees {
        let fleet = fleet.clone().with_letsencrypt(letsencrypt);
        let courier = Courier { config: &config, letsencrypt, fleet: &fleet, manner };
        rows.extend(survey::find(&courier, lineages, Deadline::after(BUDGET))?);
    }
    let lineages = trees.into_values().flatten().map(|lineage| lineage.name).collect();
    let unfit = unfit.into_iter().map(|(_, cause)| cause).collect();
    let routes = alert::standing(&config).iter().filter_map(told_of).collect();
    let path = config_path.display();
    let alone = config.peers.is_empty().then(|| {
        format!("no [[peer]] in {path}: this is about this server alone; typed where certbot runs, it is about all")
    });
    Ok(Standing { lineages, rows, unfit, routes, alone })
}

/// What is wrong with a route, if anything is.
fn told_of(route: &alert::Standing) -> Option<String> {
    let alert::Standing { label, waiting, dead, dropped, failing } = route;
    let mut troubles = Vec::new();
    if let Some((since, cause)) = failing {
        troubles.push(format!("fails since {since:.0}: {cause}; {waiting} wait"));
    }
    if *dead > 0 {
        troubles.push(format!("{dead} were put aside, since its receiver would not have them"));
    }
    if *dropped > 0 {
        troubles.push(format!("{dropped} were dropped: the oldest, since too many waited, or what was too long"));
    }
    (!troubles.is_empty()).then(|| format!("{label}: {}", troubles.join("; ")))
}

fn code(rows: &[Row], unfit: bool) -> ExitCode {
    if rows.iter().any(|row| matches!(row.state, State::Stuck { .. })) {
        return ExitCode::Stuck;
    }
    ExitCode::of(rows.len(), rows.iter().filter(|row| row.state == State::InLine).count(), unfit)
}

/// A state that has no room beside its row begins below it; `columns` are the terminal's.
fn table(rows: &[Row], paint: bool, columns: Option<usize>) -> Vec<String> {
    let head = ["NODE", "LINEAGE", "VERSION", "DAYS", "SERVED", "RECEIVER"].map(str::to_owned);
    let lines: Vec<_> = std::iter::once(head).chain(rows.iter().map(cells)).collect();
    let widths = lines.iter().fold([0; 6], |widths, line| {
        let mut cells = line.iter().map(|cell| cell.chars().count());
        widths.map(|width: usize| width.max(cells.next().unwrap_or(0)))
    });
    let states = rows.iter().map(|row| (state_and_cause(row).chars().count(), painted(row, paint)));
    let states = std::iter::once((0, "STATE".to_owned())).chain(states);
    let line = |(cells, (length, state)): (&[String; 6], (usize, String))| {
        let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        let row = padded.collect::<Vec<_>>().join("  ");
        let fits = columns.is_none_or(|columns| row.chars().count() + 2 + length <= columns);
        if fits { format!("{row}  {state}") } else { format!("{}\n    {state}", row.trim_end()) }
    };
    lines.iter().zip(states).map(line).collect()
}

fn painted(row: &Row, paint: bool) -> String {
    let state = state_and_cause(row);
    if paint { format!("{}{state}\x1b[0m", colour(row)) } else { state }
}

fn colour(row: &Row) -> &'static str {
    match row.state {
        State::InLine => "\x1b[32m",
        State::Behind | State::Unfinished | State::PartlySeen => "\x1b[33m",
        _ => "\x1b[31m",
    }
}

fn cells(row: &Row) -> [String; 6] {
    let or_unknown = |text: Option<String>| text.unwrap_or_else(|| "?".to_owned());
    let number = match &row.state {
        State::Missing => "none".to_owned(),
        _ => or_unknown(row.number.map(|number| number.to_string())),
    };
    [
        row.node.to_string(),
        row.lineage.to_string(),
        number,
        or_unknown(row.days_left.map(|days| days.to_string())),
        or_unknown(row.served.as_ref().map(served)),
        or_unknown(row.receiver.clone()),
    ]
}

fn served(served: &Served) -> String {
    match served {
        Served { older: 1.., current: 1.., .. } | Served { current: 1.., missed: Some(_), .. } => "in part",
        Served { older: 1.., .. } => "older",
        Served { current: 1.., .. } => "yes",
        Served { other: 0, none: 0, unasked: 1.., .. } => "?",
        _ => "no",
    }
    .to_owned()
}

/// How it stands, with the remedy.
pub fn state(row: &Row) -> String {
    let since = row.pending_since.map(|since| format!("; pending since {since:.0}")).unwrap_or_default();
    match &row.state {
        State::InLine => "in line".to_owned(),
        State::Unfinished => format!("a transaction is under way, or was cut off: 'certcast recover' there{since}"),
        State::Stuck { cause } => format!("stuck: {cause}: 'certcast recover' there{since}"),
        State::ServesOlder { place } => {
            format!("an older one is still served by {place}: reload that service there{since}")
        }
        State::NotServed { place } => format!("not served: {place}: look at that service there{since}"),
        State::PartlySeen => {
            let unasked = row.served.as_ref().map_or(0, |served| served.unasked);
            let again = pasteable(&["certcast", "status", row.lineage.as_str()]);
            format!("the time was up before it was asked at {unasked} places: `{again}`{since}")
        }
        State::Behind => format!("should be {}: 'certcast resync'{since}", row.expected),
        State::Missing => format!("not there: 'certcast resync'{since}"),
        State::Unknown { cause } => format!("{cause}{since}"),
    }
}

/// How it stands, and what the last delivery to it failed by.
pub fn state_and_cause(row: &Row) -> String {
    let is_told = matches!(row.state, State::Behind | State::Missing) && row.pending_since.is_some();
    let cause = row.last_outcome.as_ref().filter(|_| is_told).map(|outcome| format!(": {outcome}"));
    state(row) + &cause.unwrap_or_default()
}

#[cfg(test)]
pub mod tests;
