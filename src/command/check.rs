//! `check`: one line for monitoring, by the rules of monitoring plugins, and metrics for Prometheus.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context;

use crate::cli::Check;
use crate::command::failure::Failure;
use crate::command::metrics;
use crate::command::report;
use crate::command::status::{self, Standing};
use crate::model::escape::escaped;
use crate::primary::survey::{Row, State};
use crate::sys::atomic::{self, Attributes};

/// What monitoring makes of it (the Monitoring Plugins' guidelines, "Plugin Return Codes").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Verdict {
    /// All is well.
    Ok = 0,
    /// Somebody should look, by day.
    Warning = 1,
    /// Somebody should look now.
    Critical = 2,
    /// It could not be found out.
    Unknown = 3,
}

/// Never fails otherwise than by its verdict.
pub fn run(config_path: &Path, arguments: &Check) -> Verdict {
    match try_run(config_path, arguments) {
        Ok(verdict) => verdict,
        Err(failure) => {
            report::line(&format!("CERTCAST UNKNOWN - {}", failure.text().replace(['\n', '|'], " ")));
            Verdict::Unknown
        }
    }
}

fn try_run(config_path: &Path, arguments: &Check) -> Result<Verdict, Failure> {
    let standing = status::find(config_path, &arguments.lineages)?;
    if let Some(path) = &arguments.metrics {
        let attributes = Attributes { mode: 0o644, owner: None };
        atomic::replace_path(path, metrics::text(&standing.rows).as_bytes(), &attributes)
            .with_context(|| format!("cannot write the metrics to {}", path.display()))?;
    }
    let mut found: Vec<(Verdict, String)> = standing.rows.iter().filter_map(|row| trouble(row, arguments)).collect();
    found.extend(standing.unfit.iter().map(|cause| (Verdict::Critical, cause.clone())));
    if found.is_empty() && standing.rows.is_empty() {
        // A wrong directory looks just so, and must not look well.
        found.push((Verdict::Unknown, "there is no lineage to compare".to_owned()));
    }
    // The worst first: monitoring may cut the line off.
    found.sort_by_key(|(verdict, _)| std::cmp::Reverse(*verdict));
    let verdict = found.first().map_or(Verdict::Ok, |(verdict, _)| *verdict);
    report::line(&line(&standing, verdict, &found, arguments));
    Ok(verdict)
}

/// What is wrong with a row; nothing where all is well.
fn trouble(row: &Row, arguments: &Check) -> Option<(Verdict, String)> {
    let place = format!("{} {}", row.node, row.lineage);
    let ends = match row.days_left {
        Some(days) if days < 0 => Some((Verdict::Critical, format!("{place} has ended"))),
        Some(days) if days < arguments.critical => Some((Verdict::Critical, format!("{place} ends in {days} days"))),
        Some(days) if days < arguments.warning => Some((Verdict::Warning, format!("{place} ends in {days} days"))),
        _ => None,
    };
    let stands = match &row.state {
        State::InLine => None,
        State::Stuck { .. } => Some((Verdict::Critical, format!("{place} {}", status::state(row)))),
        _ => Some((Verdict::Warning, format!("{place} {}", status::state(row)))),
    };
    match (ends, stands) {
        (Some((worse, ends)), Some((other, stands))) => Some((worse.max(other), format!("{ends}, {stands}"))),
        (ends, stands) => ends.or(stands),
    }
}

fn line(standing: &Standing, verdict: Verdict, found: &[(Verdict, String)], arguments: &Check) -> String {
    let word = match verdict {
        Verdict::Ok => "OK",
        Verdict::Warning => "WARNING",
        Verdict::Critical => "CRITICAL",
        Verdict::Unknown => "UNKNOWN",
    };
    let rows = &standing.rows;
    let out_of_line = rows.iter().filter(|row| row.state != State::InLine).count();
    let mut text = format!("CERTCAST {word} - ");
    match found {
        [] => _ = write!(text, "{} in line", rows.len()),
        some => text += &some.iter().map(|(_, words)| words.replace('|', " ")).collect::<Vec<_>>().join("; "),
    }
    _ = write!(text, " | total={} out_of_line={out_of_line};0", rows.len());
    for lineage in &standing.lineages {
        let days = rows.iter().filter(|row| row.lineage == *lineage).filter_map(|row| row.days_left).min();
        if let Some(days) = days {
            // Quoted, as the guidelines want it for names with spaces or an equals sign.
            let label = escaped(lineage.as_str()).replace(['\'', '='], "_");
            _ = write!(text, " 'days {label}'={days};{}:;{}:", arguments.warning, arguments.critical);
        }
    }
    text
}
