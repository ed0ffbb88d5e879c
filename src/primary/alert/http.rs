//! A request to a receiver: bounded in time and size, no redirect followed, and no URL in an error, as it may be a secret.

use std::error::Error as _;
use std::io::Read;
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use reqwest::Url;
use reqwest::blocking::{Client, RequestBuilder};
use reqwest::redirect::Policy;

use super::route::SendError;
use crate::model::deadline::Deadline;
use crate::model::escape::escaped;

/// What a receiver says to an error is shown up to here.
const ANSWER_AT_MOST: u64 = 1024;

/// What is posted.
pub struct Post<'p> {
    /// Where to.
    pub url: &'p Url,
    /// In which form.
    pub content_type: &'static str,
    /// What.
    pub body: Vec<u8>,
    /// What else the receiver wants to hear: an authorization, a signature.
    pub headers: Vec<(&'static str, String)>,
    /// Whether the URL is a secret, so that nothing of what is answered may be shown: it may repeat it.
    pub is_secret: bool,
}

/// Posts JSON.
pub fn json(url: &Url, body: &serde_json::Value, is_secret: bool, deadline: Deadline) -> Result<(), SendError> {
    post(
        Post {
            url,
            content_type: "application/json",
            body: body.to_string().into_bytes(),
            headers: Vec::new(),
            is_secret,
        },
        deadline,
    )
}

/// Posts.
pub fn post(post: Post<'_>, deadline: Deadline) -> Result<(), SendError> {
    let mut request = client()?.post(post.url.clone()).header("Content-Type", post.content_type).body(post.body);
    for (name, value) in post.headers {
        request = request.header(name, value);
    }
    run(request, post.is_secret, deadline)
}

/// Asks for a page, whose content is nothing to us.
pub fn get(url: &Url, deadline: Deadline) -> Result<(), SendError> {
    run(client()?.get(url.clone()), true, deadline)
}

/// Does what has no deadline of its own in a thread that is left behind at the deadline; the process ends soon after.
pub fn in_time(
    deadline: Deadline,
    act: impl FnOnce() -> Result<(), SendError> + Send + 'static,
) -> Result<(), SendError> {
    let (sender, receiver) = mpsc::channel();
    let thread = thread::Builder::new().name("alert".to_owned()).spawn(move || _ = sender.send(act()));
    thread.map_err(|error| SendError::Unreached(error.to_string()))?;
    receiver.recv_timeout(deadline.left()).unwrap_or_else(|_| Err(SendError::Unreached("no answer in time".to_owned())))
}

/// A URL that is a secret; what is wrong with it is said without it.
pub fn secret_url(secret: &str) -> Result<Url, SendError> {
    let url = Url::parse(secret).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.ok_or_else(|| SendError::Refused("the secret is not an http or https URL".to_owned()))
}

/// One for all: it keeps connections, and reading the CA store takes longer than a request.
fn client() -> Result<Client, SendError> {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    if let Some(client) = CLIENT.get() {
        return Ok(client.clone());
    }
    let client = Client::builder()
        .user_agent(concat!("certcast/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .http1_only()
        .build();
    let client = client.map_err(|error| unreached(&error))?;
    Ok(CLIENT.get_or_init(|| client).clone())
}

fn run(request: RequestBuilder, is_secret: bool, deadline: Deadline) -> Result<(), SendError> {
    let response =
        request.timeout(deadline.left().max(Duration::from_millis(1))).send().map_err(|error| unreached(&error))?;
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let mut said = Vec::new();
    if !is_secret {
        _ = response.take(ANSWER_AT_MOST).read_to_end(&mut said);
    }
    let said = escaped(String::from_utf8_lossy(&said).trim());
    let text = if said.is_empty() { format!("it answered {status}") } else { format!("it answered {status}: {said}") };
    // 408 and 429 say "later", 5xx that it is not well; the rest will say the same the next time (RFC 9110 section 15).
    let is_passing = status.is_server_error() || matches!(status.as_u16(), 408 | 429);
    Err(if is_passing { SendError::Unreached(text) } else { SendError::Refused(text) })
}

fn unreached(error: &reqwest::Error) -> SendError {
    // reqwest's own words have the URL; those of its causes do not.
    let causes: Vec<_> =
        std::iter::successors(error.source(), |&cause| cause.source()).map(ToString::to_string).collect();
    let what = if error.is_timeout() { "no answer in time" } else { "it was not reached" };
    let why = causes.last().map(|cause| format!(": {}", escaped(cause))).unwrap_or_default();
    SendError::Unreached(format!("{what}{why}"))
}
