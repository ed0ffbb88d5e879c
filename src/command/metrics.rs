//! What `check` found, in Prometheus' text format, for `node_exporter`'s textfile collector.

use std::fmt::Write as _;

use jiff::Timestamp;

use crate::primary::survey::{Row, State};

/// A row's value; none where it has none.
type Value = fn(&Row) -> Option<i64>;

const METRICS: [(&str, &str, Value); 5] = [
    (
        "certcast_certificate_not_after_timestamp_seconds",
        "The end of the validity of the certificate that the node has.",
        |row| row.not_after.map(Timestamp::as_second),
    ),
    ("certcast_in_line", "1 when the node has the primary's version and serves it wherever it is probed.", |row| {
        Some(i64::from(row.state == State::InLine))
    }),
    ("certcast_reached", "1 when certcast on the node answered.", |row| Some(i64::from(row.receiver.is_some()))),
    (
        "certcast_pending_since_timestamp_seconds",
        "Since when deliveries to the node fail; absent when they do not.",
        |row| row.pending_since.map(Timestamp::as_second),
    ),
    ("certcast_last_success_timestamp_seconds", "When the node was last brought or found in line.", |row| {
        row.last_success.map(Timestamp::as_second)
    }),
];

/// All metrics of all rows, and how many lineages could not be compared: those have no row that could show it.
pub fn text(rows: &[Row], unfit: usize) -> String {
    let mut text = format!(
        "# HELP certcast_unfit_lineages How many lineages of the primary are not fit to be sent.\n\
         # TYPE certcast_unfit_lineages gauge\ncertcast_unfit_lineages {unfit}\n"
    );
    for (name, help, value) in METRICS {
        _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        for row in rows {
            if let Some(value) = value(row) {
                let (node, lineage) = (label(row.node.as_str()), label(row.lineage.as_str()));
                _ = writeln!(text, "{name}{{node=\"{node}\",lineage=\"{lineage}\"}} {value}");
            }
        }
    }
    text
}

/// A label's value as the format wants it.
fn label(text: &str) -> String {
    text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests;
