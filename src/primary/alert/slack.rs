//! `slack`: an incoming webhook of Slack, Mattermost, or Discord's `/slack`.

use serde_json::json;

use super::http;
use super::notice::Notice;
use super::route::SendError;
use crate::model::deadline::Deadline;

/// Discord's own limit; Slack's is higher.
const CHARACTERS_AT_MOST: usize = 1900;

/// Some in one message. What would be mark-up there, or call somebody, is neither.
pub fn send(secret: &str, notices: &[Notice], deadline: Deadline) -> Result<(), SendError> {
    let mark = if notices.iter().all(|notice| notice.state == 0) { '✓' } else { '✗' };
    let text: String = format!("{mark} {}", Notice::texts(notices)).chars().take(CHARACTERS_AT_MOST).collect();
    // A sign of no width parts what would be a name, or a link or image in other words, to Mattermost or Discord.
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let text = ["@", "]("].iter().fold(text, |text, sign| text.replace(sign, &format!("{sign}\u{200b}")));
    let body = json!({ "text": text, "username": "certcast", "mrkdwn": false });
    http::json(&http::secret_url(secret)?, &body, true, deadline)
}
