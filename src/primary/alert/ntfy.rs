//! `ntfy`: a message to a topic.

use reqwest::Url;

use super::http::{self, Post};
use super::notice::Notice;
use super::route::SendError;
use crate::model::config::Severity;
use crate::model::deadline::Deadline;

/// More than 4096 bytes are an attachment to ntfy, which not every server takes; a character has at most four.
const CHARACTERS_AT_MOST: usize = 1000;

/// Some in one message, as urgent as the worst of them.
pub fn send(url: &Url, secret: Option<&str>, notices: &[Notice], deadline: Deadline) -> Result<(), SendError> {
    let worst = notices.iter().filter(|notice| notice.state == 1).map(|notice| notice.trouble.severity).max();
    let (priority, tag) = match worst {
        Some(Severity::Critical) => ("5", "rotating_light"),
        Some(Severity::Warning) => ("4", "warning"),
        _ => ("3", "white_check_mark"),
    };
    let title = Notice::titles(notices);
    // A header takes no more than ASCII.
    let title = title.chars().map(|c| if (' '..='~').contains(&c) { c } else { '?' }).collect();
    let mut headers = vec![("Title", title), ("Priority", priority.to_owned()), ("Tags", tag.to_owned())];
    headers.extend(secret.map(|secret| ("Authorization", format!("Bearer {secret}"))));
    let body = Notice::texts(notices).chars().take(CHARACTERS_AT_MOST).collect::<String>().into_bytes();
    http::post(Post { url, content_type: "text/plain; charset=utf-8", body, headers, is_secret: false }, deadline)
}
