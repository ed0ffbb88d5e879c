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

/// Monitoring cuts a long line off, and with it what stands at its end: the performance data.
const SHOWN_AT_MOST: usize = 10;
/// How much of each is shown.
const CHARACTERS_AT_MOST: usize = 150;
/// Monitoring counts bytes, and some characters have several.
const BYTES_AT_MOST: usize = 300;

/// Never fails otherwise than by its verdict.
pub fn run(config_path: &Path, arguments: &Check) -> Verdict {
    match try_run(config_path, arguments) {
        Ok(verdict) => verdict,
        Err(failure) => {
            unknown(&failure.text());
            Verdict::Unknown
        }
    }
}

/// Says why nothing is known, where monitoring looks for it.
pub fn unknown(why: &str) {
    report::line(&format!("CERTCAST UNKNOWN - {}", plain(why)));
}

fn try_run(config_path: &Path, arguments: &Check) -> Result<Verdict, Failure> {
    let standing = status::find(config_path, &arguments.lineages)?;
    let written = arguments.metrics.as_ref().map_or(Ok(()), |path| write_metrics(path, &standing));
    let (verdict, line) = told(&standing, written.err(), arguments);
    report::line(&line);
    Ok(verdict)
}

fn write_metrics(path: &Path, standing: &Standing) -> anyhow::Result<()> {
    let attributes = Attributes { mode: 0o644, owner: None };
    let text = metrics::text(&standing.rows, standing.unfit.len());
    atomic::replace_path(path, text.as_bytes(), &attributes)
        .with_context(|| format!("cannot write the metrics to {}", path.display()))
}

fn told(standing: &Standing, unwritten: Option<anyhow::Error>, arguments: &Check) -> (Verdict, String) {
    let mut found: Vec<(Verdict, String)> = standing.rows.iter().filter_map(|row| trouble(row, arguments)).collect();
    found.extend(standing.unfit.iter().map(|cause| (Verdict::Critical, cause.clone())));
    found.extend(standing.routes.iter().map(|route| (Verdict::Warning, route.clone())));
    // It must not hide how the nodes stand, which was found out.
    found.extend(unwritten.map(|error| (Verdict::Warning, format!("{error:#}"))));
    if standing.rows.is_empty() && standing.unfit.is_empty() {
        // A wrong directory looks just so, and must not look well.
        found.push((Verdict::Unknown, "there is no lineage to compare".to_owned()));
    }
    // The worst first: monitoring may cut the line off.
    found.sort_by_key(|(verdict, _)| std::cmp::Reverse(*verdict));
    let verdict = found.first().map_or(Verdict::Ok, |(verdict, _)| *verdict);
    (verdict, line(standing, verdict, &found, arguments))
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
        State::Stuck { .. } => Some((Verdict::Critical, format!("{place} {}", status::state_and_cause(row)))),
        _ => Some((Verdict::Warning, format!("{place} {}", status::state_and_cause(row)))),
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
        some => {
            let shown = &some[..some.len().min(SHOWN_AT_MOST)];
            text += &shown.iter().map(|(_, words)| capped(&plain(words))).collect::<Vec<_>>().join("; ");
            if shown.len() < some.len() {
                _ = write!(text, "; {} more: 'certcast status'", some.len() - shown.len());
            }
        }
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

/// One line, without what begins the performance data.
fn plain(words: &str) -> String {
    words.replace(['\n', '|'], " ")
}

fn capped(words: &str) -> String {
    let is_beyond =
        |(shown, (at, c)): &(usize, (usize, char))| *shown == CHARACTERS_AT_MOST || at + c.len_utf8() > BYTES_AT_MOST;
    match words.char_indices().enumerate().find(is_beyond) {
        None => words.to_owned(),
        Some((_, (end, _))) => format!("{}…", &words[..end]),
    }
}

#[cfg(test)]
mod tests;
