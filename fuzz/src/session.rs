//! Whole conversations: what a peer does with whatever comes after its banner.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use certcast::model::bundle::{Bundle, Part, PemFiles};
use certcast::model::config::Config;
use certcast::model::deadline::Deadline;
use certcast::peer::node::Node;
use certcast::peer::policy::{Grant, Role};
use certcast::peer::session::serve;
use certcast::sys::timed::SharedDeadline;
use certcast::wire::message::Reply;
use certcast::wire::{banner, frame};

use super::bundle::piece;
use super::records::scratch;

const OUTSIDE: [&str; 3] = ["secret", "webroot/index.html", "letsencrypt/accounts/key"];
const HELLO: &str = r#"{"verb":"hello","version":"9","node":"thief","budget_ms":5000}"#;

/// The first line is the caller's role; each other one is a frame, or raw bytes behind a `!`. `@NAME` stands for the PEM of that
/// name, as a JSON string.
///
/// Whatever is said: every answer is a message, only places of the role are written to, what is there in the end is whole, and
/// nothing is left staged.
pub fn session(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let role = match lines.next() {
        Some(b"challenge") => Role::Challenge,
        Some(b"own") => return,
        _ => Role::Deploy,
    };
    let home = scratch();
    let node = node(home.path());
    let mut input = Vec::new();
    banner::write(&mut input).expect("written");
    input.extend(framed(HELLO.as_bytes()));
    for line in lines.take(12) {
        input.extend(line.strip_prefix(b"!").map_or_else(|| framed(&with_pieces(line)), <[u8]>::to_vec));
    }
    let before = files(home.path());
    let grant = Grant { role, only: Vec::new(), accounts: Vec::new(), allow_force: false };
    let limit = SharedDeadline::new(Deadline::after(Duration::from_secs(5)));
    let mut output = Vec::new();
    // An error says how the conversation ended; what counts is what it left.
    _ = serve(&node, &grant, &mut input.as_slice(), &mut output, &limit);
    answers_are_messages(&output);
    let after = files(home.path());
    for place in OUTSIDE {
        assert_eq!(after.get(Path::new(place)), before.get(Path::new(place)), "{place} was touched");
    }
    for (path, content) in after.iter().filter(|(path, _)| !before.contains_key(*path)) {
        let place = path.to_str().expect("a name of ours");
        if let Some(token) = place.strip_prefix("webroot/.well-known/acme-challenge/") {
            super::challenge::is_a_validation(token, std::str::from_utf8(content).expect("a validation"));
        } else if place.starts_with("letsencrypt/live/") || place.starts_with("letsencrypt/archive/") {
            assert!(role == Role::Deploy, "{place} was written with a key for challenges");
            assert!(!place.contains("/.") && !place.contains("/.."), "{place} is left over");
        } else {
            assert!(place.starts_with("state/") && !place.ends_with(".journal"), "{place}");
        }
    }
    every_lineage_is_whole(&home.path().join("letsencrypt"));
}

fn node(home: &Path) -> Node {
    for directory in ["webroot", "letsencrypt/accounts", "state"] {
        fs::create_dir_all(home.join(directory)).expect("made");
    }
    for place in OUTSIDE {
        fs::write(home.join(place), "not ours").expect("written");
    }
    let place = |name: &str| home.join(name).display().to_string();
    let text = format!(
        "[node]\nname = \"web2\"\nwebroot = \"{}\"\nletsencrypt = \"{}\"\nstate = \"{}\"\n",
        place("webroot"),
        place("letsencrypt"),
        place("state")
    );
    let config = Config::parse(&text, Path::new("config.toml")).expect("a configuration");
    Node::open(config, false).expect("opened")
}

fn framed(line: &[u8]) -> Vec<u8> {
    let length = u32::try_from(line.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], line].concat()
}

/// Puts the PEM of the pieces where they are named.
fn with_pieces(line: &[u8]) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(line) else { return line.to_vec() };
    let mut parts = text.split("\"@");
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (names, rest) = part.split_once('"').unwrap_or((part, ""));
        let pem: String = names.split('+').map(|name| piece(name).unwrap_or(name)).collect();
        whole.push_str(&serde_json::Value::from(pem).to_string());
        whole.push_str(rest);
    }
    whole.into_bytes()
}

fn answers_are_messages(output: &[u8]) {
    let mut rest = output;
    banner::read(&mut rest).expect("a banner");
    while !rest.is_empty() {
        let _: Reply = frame::read(&mut rest).expect("a reply");
    }
}

/// All files with what is in them, links with where they point.
fn files(home: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![home.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("listed") {
            let path = entry.expect("listed").path();
            if path.is_symlink() {
                let target = fs::read_link(&path).expect("a link").into_os_string().into_encoded_bytes();
                found.insert(path.strip_prefix(home).expect("below").to_owned(), target);
            } else if path.is_dir() {
                folders.push(path);
            } else {
                let content = fs::read(&path).expect("read");
                found.insert(path.strip_prefix(home).expect("below").to_owned(), content);
            }
        }
    }
    found
}

fn every_lineage_is_whole(letsencrypt: &Path) {
    let Ok(lineages) = fs::read_dir(letsencrypt.join("live")) else { return };
    for lineage in lineages.map(|entry| entry.expect("listed").path()).filter(|path| path.is_dir()) {
        let text = |part: Part| fs::read_to_string(lineage.join(part.link())).expect("a link to a file");
        let files = PemFiles {
            cert: text(Part::Cert),
            privkey: text(Part::Privkey).into(),
            chain: text(Part::Chain),
            fullchain: text(Part::Fullchain),
        };
        super::bundle::is_served(&Bundle::check(files, now()).expect("whole"));
    }
}

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_secs()).expect("before the end")
}
