//! What web server this machine has, and what it serves on port 80: for a first configuration.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::model::config::Config;
use crate::model::deadline::Deadline;
use crate::model::names::NodeName;
use crate::peer::nginx;
use crate::sys::atomic::{self, Attributes};
use crate::sys::dir::make_private;

const LOOK: Duration = Duration::from_secs(20);
const DEFAULT_WEBROOT: &str = "/var/www/html";
/// Which presets need nothing but their name.
const SERVERS: [&str; 2] = ["nginx", "apache2"];

/// A configuration, and what to say of it.
pub struct Found {
    /// The file's text.
    pub text: String,
    /// What it has, in a few words.
    pub summary: String,
    /// What a person should look at.
    pub notes: Vec<String>,
}

/// A configuration for this machine, with these tables at its end.
fn here(name: &NodeName, more: &str) -> Found {
    let running = running();
    let mut servers: Vec<&str> = SERVERS.into_iter().filter(|server| running.contains(*server)).collect();
    if servers.is_empty() {
        // One that is to be started once its certificate is there.
        servers = SERVERS.into_iter().filter(|server| Path::new("/usr/sbin").join(server).exists()).take(1).collect();
    }
    let webroots = if servers.contains(&"nginx") {
        nginx::webroots(&nginx::configuration(Deadline::after(LOOK)))
    } else {
        BTreeSet::new()
    };
    let (webroot, note) = webroot(&webroots);
    let mut notes = Vec::from_iter(note.filter(|_| !servers.is_empty()));
    if running.contains("haproxy") {
        notes.push("haproxy runs here: write a [[service]] for it, with 'joined', where its certificates are".into());
    }
    if servers.is_empty() {
        notes.push("neither nginx nor apache2 runs here: write a [[service]] for what uses certificates".into());
    }
    let mut text = format!(
        "# What uses certificates on this server, for certcast.\n[node]\nname = \"{name}\"\nwebroot = {}\n",
        toml::Value::from(webroot)
    );
    for server in &servers {
        _ = write!(text, "\n[[service]]\nname = \"{server}\"\n");
    }
    text += more;
    let summary =
        format!("webroot {webroot}, {}", if servers.is_empty() { "no service".into() } else { servers.join(", ") });
    Found { text, summary, notes }
}

/// The one of these, or the usual one; and what a person should decide.
fn webroot(all: &BTreeSet<String>) -> (&str, Option<String>) {
    match Vec::from_iter(all).as_slice() {
        [] => {
            let note = format!(
                "the webroot of port 80 was not found out: {DEFAULT_WEBROOT} is a guess; say in node.webroot where \
                 /.well-known/acme-challenge is served from"
            );
            (DEFAULT_WEBROOT, Some(note))
        }
        [one] => (one, None),
        _ => {
            let all = Vec::from_iter(all.clone()).join(", ");
            let note = format!("port 80 has several webroots ({all}): say in node.webroots which names are where");
            (DEFAULT_WEBROOT, Some(note))
        }
    }
}

/// Writes a configuration for this machine; none where there is one already, which stays.
pub fn configure(path: &Path, name: &NodeName, more: &str, dry_run: bool) -> Result<Option<Found>> {
    if is_there(path)? {
        return Ok(None);
    }
    let found = here(name, more);
    Config::parse(&found.text, path).context("the configuration for what was found here is not right")?;
    if !dry_run {
        make_private(path.parent().unwrap_or(Path::new("/")))?;
        atomic::replace_path(path, found.text.as_bytes(), &Attributes { mode: 0o600, owner: None })?;
    }
    Ok(Some(found))
}

/// Whether there is a file, of whatever kind.
pub fn is_there(path: &Path) -> Result<bool> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        known => known.map(|_| true).with_context(|| format!("cannot look at {}", path.display())),
    }
}

/// The names of the programs that run here, as the kernel has them (proc(5), /proc/PID/comm).
fn running() -> BTreeSet<String> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let name = |process: fs::DirEntry| fs::read_to_string(process.path().join("comm")).ok();
    processes.filter_map(name).map(|name| name.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_webroot_is_taken_and_of_several_a_person_is_told() {
        let of = |all: &[&str]| {
            let all = all.iter().map(|&root| root.to_owned()).collect();
            let (root, note) = webroot(&all);
            (root.to_owned(), note.is_some())
        };
        assert_eq!(of(&[]), (DEFAULT_WEBROOT.to_owned(), true));
        assert_eq!(of(&["/srv/www"]), ("/srv/www".to_owned(), false));
        assert_eq!(of(&["/srv/a", "/srv/b"]), (DEFAULT_WEBROOT.to_owned(), true));
    }

    #[test]
    fn what_is_written_is_a_configuration() {
        let found = here(&"web2".parse().unwrap(), "\n[deploy]\nlineages = [\"*\"]\n");
        Config::parse(&found.text, Path::new("test.toml")).unwrap();
    }
}
