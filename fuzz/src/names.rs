//! Names: of lineages, nodes, hosts, transactions, processes; and where a peer's sshd is.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use certcast::model::bundle::Part;
use certcast::model::config::{Pattern, SshTarget};
use certcast::model::digest::Digest;
use certcast::model::names::{Identifier, LineageName, NodeName};
use certcast::sys::ancestry::ProcessId;
use certcast::wire::transaction_id::TransactionId;
use reqwest::Url;

use super::{is_a_file_name, is_a_message, is_inert};

/// What is accepted is a plain file name and no option, and reads back as the same; what is not is told harmlessly.
pub fn names(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(name) = told::<LineageName>(text) {
        is_a_file_name(text);
        assert_eq!(name.as_str(), text);
        // With what a transaction and a killed write put around it.
        assert!(text.len() <= 200 && !text.starts_with('.') && text != "README");
        is_read_from_json_as(&name, text);
    }
    if let Some(name) = told::<NodeName>(text) {
        is_a_file_name(text);
        assert!(text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_graphic()), "{text:?}");
        is_read_from_json_as(&name, text);
    }
    if let Some(name) = told::<Identifier>(text) {
        is_a_host(&name, text);
    }
    if let Ok(id) = TransactionId::try_from(text.to_owned()) {
        is_a_file_name(text);
        assert_eq!(id.as_str(), text);
        assert!(text.len() == 32 && u128::from_str_radix(text, 16).is_ok());
    }
    _ = told::<Digest>(text);
    _ = told::<SshTarget>(text).map(|target| {
        let SshTarget { user, host, .. } = &target;
        for word in user.iter().chain([host]) {
            assert!(!word.is_empty() && !word.starts_with('-') && is_inert(word), "{target}");
            assert!(!word.contains(|c: char| c.is_whitespace() || "/@'\"$`;&|<>\\*?".contains(c)), "{target}");
        }
    });
    if let Some(pattern) = told::<Pattern>(text)
        && let Ok(name) = text.parse::<LineageName>()
    {
        assert!(pattern.matches(&name), "a name is a pattern for itself");
    }
    if let Ok(process) = text.parse::<ProcessId>() {
        assert!(process.to_string() == text && process.pid > 0);
        is_a_file_name(text);
    }
    if let Some((part, number)) = Part::of_file(text) {
        assert_eq!(part.file(number), text);
    }
}

/// What it is; when it is nothing, the reason is fit to be shown.
fn told<T: FromStr + Display + PartialEq + Debug>(text: &str) -> Option<T>
where
    T::Err: Display,
{
    match text.parse::<T>() {
        Ok(value) => {
            assert_eq!(value.to_string().parse().ok().as_ref(), Some(&value), "written and read it is another");
            Some(value)
        }
        Err(error) => {
            is_a_message(&error);
            None
        }
    }
}

fn is_read_from_json_as<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq>(value: &T, text: &str) {
    let json = serde_json::to_string(value).expect("a name is written");
    assert_eq!(serde_json::from_str::<String>(&json).ok().as_deref(), Some(text));
    assert!(serde_json::from_str::<T>(&json).is_ok_and(|read| read == *value));
}

fn is_a_host(name: &Identifier, text: &str) {
    let shown = name.to_string();
    assert!(shown.is_ascii() && shown.len() <= 253 && !shown.starts_with(['-', '.']), "{text:?}");
    assert_eq!(shown, shown.to_ascii_lowercase());
    is_read_from_json_as(name, &shown);
    match name {
        // The proof asks for it by a URL: there it must be the same host, and no address.
        Identifier::Dns(dns) => {
            is_a_file_name(dns);
            if let Ok(url) = Url::parse(&format!("http://{dns}/")) {
                assert_eq!(url.domain(), Some(dns.as_str()), "{text:?} is another host in a URL");
            }
        }
        Identifier::Ip(address) => assert_eq!(text.parse(), Ok(*address)),
    }
}
