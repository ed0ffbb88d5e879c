//! `pagerduty`: the Events API v2, with the end of each incident.

use reqwest::Url;
use serde_json::json;

use super::http;
use super::notice::{Notice, severity_word};
use super::route::SendError;
use crate::model::config::Event;
use crate::model::deadline::Deadline;

/// What the API takes of a summary, in characters.
const SUMMARY_AT_MOST: usize = 1024;

/// Sends one. What is neither a trouble nor its end is no incident.
pub fn send(url: &Url, secret: &str, notice: &Notice, deadline: Deadline) -> Result<(), SendError> {
    let action = match (notice.state, notice.trouble.event) {
        (1, _) => "trigger",
        (_, Event::Applied) => return Ok(()),
        _ => "resolve",
    };
    let summary: String = notice.title().chars().take(SUMMARY_AT_MOST).collect();
    let body = json!({
        "routing_key": secret,
        "event_action": action,
        "dedup_key": format!("certcast/{}", notice.subject.key()),
        "client": "certcast",
        "payload": {
            "summary": summary,
            "source": notice.subject.node,
            "severity": severity_word(notice.trouble.severity),
            "timestamp": notice.time.to_string(),
            "component": notice.subject.lineage,
            "class": notice.subject.kind.word(),
            "custom_details": { "text": notice.text(), "command": notice.trouble.command },
        },
    });
    http::json(url, &body, false, deadline)
}
