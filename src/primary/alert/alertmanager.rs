//! `alertmanager`: Prometheus Alertmanager's API v2, with the end of each alert.

use jiff::{SignedDuration, Timestamp};
use reqwest::Url;
use serde_json::{Value, json};

use super::http::{self, Post};
use super::notice::{Notice, severity_word, word};
use super::route::SendError;
use crate::model::config::{Event, Severity};
use crate::model::deadline::Deadline;

/// Without an end, Alertmanager takes an alert that is not sent again for over (`resolve_timeout`).
const FAR: SignedDuration = SignedDuration::from_hours(24 * 365);

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
    http::post(Post { url: &url, content_type: "application/json", body, headers }, deadline)
}

/// One that begins, one that ends, or both: with another event it is another alert.
fn alerts(notice: &Notice) -> Vec<Value> {
    let ends = |event, severity| alert(notice, event, severity, notice.time);
    match (notice.event, notice.over) {
        (Event::Recovered, over) => vec![ends(over.unwrap_or(Event::Recovered), notice.severity)],
        (event, _) if notice.state == 0 => vec![ends(event, notice.severity)],
        (event, over) => {
            let before = over.map(|over| ends(over, notice.severity_before.unwrap_or(notice.severity)));
            let far = notice.time.saturating_add(FAR).unwrap_or(Timestamp::MAX);
            before.into_iter().chain([alert(notice, event, notice.severity, far)]).collect()
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
        "annotations": { "summary": notice.title(), "description": notice.text(), "command": notice.command },
        "startsAt": notice.since.to_string(),
        "endsAt": ends.to_string(),
    })
}
