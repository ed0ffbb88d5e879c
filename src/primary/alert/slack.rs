//! `slack`: an incoming webhook of Slack, Mattermost, or Discord's `/slack`.

use serde_json::json;

use super::http;
use super::notice::Notice;
use super::route::SendError;
use crate::model::deadline::Deadline;

/// Some in one message. What would be mark-up there is none.
pub fn send(secret: &str, notices: &[Notice], deadline: Deadline) -> Result<(), SendError> {
    let text: Vec<String> = notices.iter().map(|notice| format!("{} {}", mark(notice), notice.text())).collect();
    let text = text.join("\n\n").replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    http::json(&http::secret_url(secret)?, &json!({ "text": text, "username": "certcast" }), deadline)
}

fn mark(notice: &Notice) -> char {
    if notice.state == 0 { '✓' } else { '✗' }
}
