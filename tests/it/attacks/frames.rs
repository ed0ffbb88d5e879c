//! Messages made by hand, and the stolen key to send them with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::lab::{ACCOUNT, Bundle, Command, Entry, Finished, Host, Lab};

/// The lineage that everything is about.
pub const NAME: &str = "www.site.test";
const IDENTITY: &str = "/etc/certcast/id_ed25519";
/// How a conversation begins.
pub const BANNER: &[u8] = b"\0certcast-wire 1 1\n";

/// The system's ssh with the stolen key; options go before the host, which is web2.
pub fn ssh(lab: &Lab, options: &[&str], words: &[&str]) -> Command {
    let fixed = ["ssh", "-F", "none", "-i", IDENTITY, "-o", "UserKnownHostsFile=/etc/certcast/known_hosts"];
    let batch = ["-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes"];
    lab.primary().command(fixed).args(batch).args(options).args(["root@192.0.2.2"]).args(words)
}

/// One frame: its length and its bytes.
pub fn frame(json: &Value) -> Vec<u8> {
    let text = json.to_string().into_bytes();
    let length = u32::try_from(text.len()).unwrap();
    [&length.to_be_bytes()[..], &text].concat()
}

/// Several.
pub fn frames<'v>(all: impl IntoIterator<Item = &'v Value>) -> Vec<u8> {
    all.into_iter().flat_map(frame).collect()
}

pub fn hello(budget_ms: u64) -> Value {
    json!({"verb": "hello", "version": "9", "node": "thief", "budget_ms": budget_ms})
}

pub fn compare(lineage: &str) -> Value {
    json!({"verb": "compare", "lineages": [lineage]})
}

/// A transaction's id.
pub fn id(number: u32) -> String {
    format!("{number:032x}")
}

pub fn commit(number: u32) -> Value {
    json!({"verb": "commit", "transaction": id(number)})
}

/// A bundle as the primary would send it.
pub fn prepare(bundle: &Bundle, lineage: &str, number: u32) -> Value {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let files: serde_json::Map<_, _> =
        bundle.files().into_iter().map(|(file, bytes)| (file.to_owned(), text(bytes).into())).collect();
    let owned = |mode: u32| json!({"uid": 0, "gid": 0, "mode": mode});
    json!({
        "verb": "prepare", "transaction": id(number), "budget_ms": 20_000, "offers": [{
            "lineage": lineage, "number": number,
            "files": files, "keep": [number], "refuse_missing_names": false,
            "attributes": {"directory": owned(0o755), "key": owned(0o600), "public": owned(0o644)},
            "wishes": {"force": false, "adopt": false, "dry_run": false}
        }]
    })
}

/// Challenges, each with the token it is for.
pub fn publish(tokens: &[String]) -> Value {
    let one = |token: &String| json!({"name": NAME, "token": token, "validation": format!("{token}.{ACCOUNT}")});
    json!({"verb": "publish", "challenges": tokens.iter().map(one).collect::<Vec<_>>()})
}

/// The same with one value changed.
pub fn with(mut json: Value, place: &str, value: impl Into<Value>) -> Value {
    *json.pointer_mut(place).unwrap() = value.into();
    json
}

/// The same as [`send`] without ssh, as often as one likes: what its forced command hears on its standard input.
pub fn tell(peer: &Host, role: &str, bytes: &[u8]) -> Finished {
    let start = [BANNER, frame(&hello(20_000)).as_slice()].concat();
    let receive = peer.command(["/usr/local/bin/certcast", "receive", "--role", role]);
    receive.input([start.as_slice(), bytes].concat()).run()
}

/// Sends bytes after a good banner and hello, and returns what the receiver answered.
pub fn send(lab: &Lab, bytes: &[u8]) -> Finished {
    let start = [BANNER, frame(&hello(20_000)).as_slice()].concat();
    ssh(lab, &[], &["certcast", "receive"]).input([start.as_slice(), bytes].concat()).run()
}

/// A host but for its logs and what certcast notes of itself there; every path is absolute.
pub fn everything(host: &Host) -> Vec<Entry> {
    all_of(host, &["/etc", "/root", "/var/www", "/usr/local", "/tmp", "/srv", "/home"])
}

/// Some directories with all that is in them; every path is absolute.
pub fn all_of(host: &Host, tops: &[&str]) -> Vec<Entry> {
    let below = |top: &&str| {
        let top = top.to_string();
        host.tree(&top).into_iter().map(move |entry| Entry { path: Path::new(&top).join(&entry.path), ..entry })
    };
    tops.iter().flat_map(below).collect()
}

/// What was added, removed or changed: nothing of it where a test says so.
pub fn changes(before: &[Entry], after: &[Entry]) -> Vec<Entry> {
    let by_path = |entries: &[Entry]| -> BTreeMap<PathBuf, Entry> {
        entries.iter().map(|entry| (entry.path.clone(), entry.clone())).collect()
    };
    let only = |these: &BTreeMap<PathBuf, Entry>, those: &BTreeMap<PathBuf, Entry>| {
        these.iter().filter(|(path, entry)| those.get(*path) != Some(entry)).map(|(_, entry)| entry.clone()).collect()
    };
    let (before, after) = (by_path(before), by_path(after));
    let all: [Vec<Entry>; 2] = [only(&before, &after), only(&after, &before)];
    all.concat()
}

/// Fails the test unless nothing is changed.
#[track_caller]
pub fn is_unchanged(before: &[Entry], after: &[Entry], why: &str) {
    assert_eq!(changes(before, after), Vec::new(), "{why}");
}
