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
use crate::sys::atomic::{self, Attributes};
use crate::sys::dir::make_private;
use crate::sys::process::Run;

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
    let servers: Vec<&str> = SERVERS.into_iter().filter(|server| running.contains(*server)).collect();
    let webroots = if servers.contains(&"nginx") { nginx_webroots() } else { BTreeSet::new() };
    let webroot = match Vec::from_iter(&webroots).as_slice() {
        [one] => one.as_str(),
        _ => DEFAULT_WEBROOT,
    };
    let mut notes = Vec::new();
    if webroots.len() > 1 {
        let all = Vec::from_iter(webroots.clone()).join(", ");
        notes.push(format!("port 80 has several webroots ({all}): say in node.webroots which names are where"));
    }
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

/// Where nginx has what it serves on port 80; nothing where it does not say. Of a very long configuration the end is read.
fn nginx_webroots() -> BTreeSet<String> {
    let argv = ["nginx", "-T"].map(str::to_owned);
    match Run::new(&argv, Deadline::after(LOOK)).run() {
        Ok(finished) if finished.status.success() => webroots(&finished.output),
        _ => BTreeSet::new(),
    }
}

const CHALLENGES: &str = "/.well-known/acme-challenge";

/// The roots of an nginx configuration's servers on port 80: of the challenges' own location where there is one.
fn webroots(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut servers: Vec<Server> = Vec::new();
    let mut blocks: Vec<Block> = Vec::new();
    let mut words: Vec<String> = Vec::new();
    for token in tokens(text) {
        match token.as_str() {
            "{" => {
                let block = match words.first().map(String::as_str) {
                    Some("server") => {
                        servers.push(Server::default());
                        Block::Server
                    }
                    Some("location") if words.iter().any(|word| word.contains(CHALLENGES)) => Block::Challenges,
                    _ => Block::Other,
                };
                blocks.push(block);
                words.clear();
            }
            "}" => {
                if blocks.pop() == Some(Block::Server)
                    && let Some(server) = servers.pop()
                {
                    found.extend(server.webroot());
                }
                words.clear();
            }
            ";" => {
                if let (Some(server), [name, value, ..]) = (servers.last_mut(), words.as_slice()) {
                    server.take(blocks.last(), name, value);
                }
                words.clear();
            }
            _ => words.push(token),
        }
    }
    found
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    Server,
    Challenges,
    Other,
}

#[derive(Default)]
struct Server {
    listens: Vec<String>,
    root: Option<String>,
    challenges: Option<String>,
}

impl Server {
    fn take(&mut self, block: Option<&Block>, name: &str, value: &str) {
        match (block, name) {
            (Some(Block::Server), "listen") => self.listens.push(value.to_owned()),
            (Some(Block::Server), "root") => self.root = Some(value.to_owned()),
            (Some(Block::Challenges), "root") => self.challenges = Some(value.to_owned()),
            _ => {}
        }
    }

    fn webroot(self) -> Option<String> {
        // Without a port, or a word at all, it is 80.
        let is_80 = |listen: &String| match listen.rsplit(':').next().map(str::parse::<u16>) {
            Some(Ok(port)) => port == 80,
            _ => true,
        };
        if !self.listens.is_empty() && !self.listens.iter().any(is_80) {
            return None;
        }
        self.challenges.or(self.root).filter(|root| root.starts_with('/') && !root.contains('$'))
    }
}

/// Words, braces and semicolons; comments are left out and quotes taken off.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut word = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '#' if word.is_empty() => while chars.next_if(|&c| c != '\n').is_some() {},
            '"' | '\'' if word.is_empty() => {
                while let Some(inner) = chars.next_if(|&inner| inner != c) {
                    word.push(inner);
                }
                chars.next();
                tokens.push(std::mem::take(&mut word));
            }
            '{' | '}' | ';' => {
                if !word.is_empty() {
                    tokens.push(std::mem::take(&mut word));
                }
                tokens.push(c.to_string());
            }
            c if c.is_whitespace() => {
                if !word.is_empty() {
                    tokens.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_webroot_of_port_80_is_read_from_nginxs_own_words() {
        let of = |text: &str| Vec::from_iter(webroots(text)).join(" ");
        assert_eq!(of("http { server { listen 80; root /srv/www; location / { root /elsewhere; } } }"), "/srv/www");
        assert_eq!(of("server { root /srv/www; }"), "/srv/www", "80 is nginx's default");
        let redirects = "server { listen [::]:80 default_server; root /srv/www; # not { this }\n\
                         location ^~ /.well-known/acme-challenge/ { root \"/srv/acme here\"; } return 301 https://$host; }";
        assert_eq!(of(redirects), "/srv/acme here");
        assert_eq!(of("server { listen 443 ssl; root /a; } server { listen 192.0.2.1:80; root /b; }"), "/b");
        assert_eq!(of("server { listen 8080; root /a; } server { listen 80; root /srv/$host; }"), "");
        assert_eq!(of("server { root /a; } server { root /b; }"), "/a /b");
        assert_eq!(of("} } { ; server {"), "");
    }

    #[test]
    fn what_is_written_is_a_configuration() {
        let found = here(&"web2".parse().unwrap(), "\n[deploy]\nlineages = [\"*\"]\n");
        Config::parse(&found.text, Path::new("test.toml")).unwrap();
    }
}
