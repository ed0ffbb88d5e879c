//! `alertmanager`: Prometheus Alertmanager's API v2, with the end of each alert.

use jiff::{SignedDuration, Timestamp};
use reqwest::Url;
use serde_json::{Value, json};

use super::http::{self, Post};
use super::notice::{Notice, severity_word, word};
use super::route::SendError;
use crate::model::config::{Event, Severity};
use crate::model::deadline::Deadline;

/// Without an end, Alertmanager takes an alert that is not sent again for over (`resolve_timeout`). What lasts is sent again every
/// hour; who stops that has a week.
const FAR: SignedDuration = SignedDuration::from_hours(24 * 7);
const EARLIER: SignedDuration = SignedDuration::from_mins(1);

/// The URL is Alertmanager's own, with or without the API's path.
pub fn send(url: &Url, secret: Option<&str>, notices: &[Notice], deadline: Deadline) -> Result<(), SendError> {
    let mut url = url.clone();
    if !url.path().ends_with("/api/v2/alerts") {
        let path = format!("{}/api/v2/alerts", url.path().trim_end_matches('/'));
        url.set_path(&path);
    }
    let alerts: Vec<Value> = notices.iter().flat_map(alerts).collect();
    let headers = secret.map(|secret| ("Authorization", format!("Bearer {secret}"))).into_iter().collect();
    let body = Value::from(alerts).to_string().into_bytes();
    http::post(Post { url: &url, content_type: "application/json", body, headers, is_secret: false }, deadline)
}

/// One that begins, one that ends, or both: with another event or severity it is another alert.
fn alerts(notice: &Notice) -> Vec<Value> {
    // Its own clock may be behind ours, and an end in its future would be none.
    let over = notice.time.saturating_sub(EARLIER).unwrap_or(notice.since).max(notice.since);
    let ends = |event, severity| alert(notice, event, severity, over);
    let before = notice.before.as_ref().map(|before| ends(before.event, before.severity));
    match (notice.state, before) {
        (0, before) => vec![before.unwrap_or_else(|| ends(notice.trouble.event, notice.trouble.severity))],
        (_, before) => {
            let far = notice.time.saturating_add(FAR).unwrap_or(Timestamp::MAX);
            before.into_iter().chain([alert(notice, notice.trouble.event, notice.trouble.severity, far)]).collect()
        }
    }
}

fn alert(notice: &Notice, event: Event, severity: Severity, ends: Timestamp) -> Value {
    let subject = &notice.subject;
    json!({
        "labels": {
            "alertname": format!("certcast-{}", word(event)),
            "node": subject.node,
            "lineage": subject.lineage,
            "kind": subject.kind.word(),
            "severity": severity_word(severity),
        },
        "annotations": { "summary": notice.title(), "description": notice.text(), "command": notice.trouble.command },
        "startsAt": notice.since.to_string(),
        "endsAt": ends.to_string(),
    })
}
