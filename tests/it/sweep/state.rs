//! What a run has left on a host's disk, without what differs from run to run and means nothing.

use std::hash::{Hash, Hasher};

use serde_json::Value;

use crate::lab::Host;

/// Words for people, and times.
const MEANINGLESS: [&str; 6] = ["cause", "notes", "remedy", "at", "pending_since", "transaction"];

/// Adds all below some directories.
pub fn hash(host: &Host, directories: &[&str], hasher: &mut impl Hasher) {
    for directory in directories {
        for entry in host.tree(directory) {
            let name = entry.path.to_string_lossy();
            let path: Vec<_> = name.split('/').map(same).collect();
            // It holds the number of the process that locked last.
            let content = entry.content.filter(|_| !name.ends_with(".lock")).map(|content| plain(&content));
            (directory, path, entry.kind, entry.mode, entry.owner, entry.target, content).hash(hasher);
        }
    }
}

/// A name without what is random in it: of a temporary file, a transaction, a process.
fn same(name: &str) -> String {
    if name.strip_prefix(".certcast-").is_some_and(|rest| rest.strip_suffix(".tmp").is_some()) {
        return "temporary".to_owned();
    }
    let end = name.rsplit('-').next().unwrap();
    let is_transaction = end.len() == 32 && end.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_process =
        name.contains('-') && name.trim_start_matches(".forgotten-").bytes().all(|b| b == b'-' || b.is_ascii_digit());
    match (is_transaction, is_process) {
        (true, _) => name.trim_end_matches(end).to_owned(),
        (_, true) => name.trim_matches(|c: char| c == '-' || c.is_ascii_digit()).to_owned(),
        _ => name.to_owned(),
    }
}

/// Records are lines of JSON, some of them behind a checksum; anything else stays as it is.
fn plain(content: &[u8]) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(content) else { return content.to_vec() };
    let line = |line: &str| {
        let json = line.find(['{', '[']).map_or(line, |at| &line[at..]);
        serde_json::from_str::<Value>(json).map_or_else(|_| line.to_owned(), |value| stripped(value).to_string())
    };
    text.split_inclusive('\n').map(line).collect::<String>().into_bytes()
}

fn stripped(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(key, _)| !MEANINGLESS.contains(&key.as_str()));
            kept.map(|(key, value)| (key, stripped(value))).collect()
        }
        Value::Array(values) => values.into_iter().map(stripped).collect(),
        other => other,
    }
}
