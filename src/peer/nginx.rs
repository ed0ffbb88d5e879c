//! nginx's own word for its configuration (`nginx -T`), as far as certcast wants to know it.

use std::collections::BTreeSet;

use crate::model::deadline::Deadline;
use crate::sys::process::Run;

/// What nginx reads, with all that it includes; nothing where it does not say.
pub fn configuration(deadline: Deadline) -> String {
    let argv = ["nginx", "-T"].map(str::to_owned);
    match Run::parsed(&argv, deadline, CONFIGURATION_AT_MOST).run() {
        Ok(finished) if finished.status.success() => String::from_utf8_lossy(&finished.raw).into_owned(),
        _ => String::new(),
    }
}

/// Thousands of sites; of a longer one the end is read.
const CONFIGURATION_AT_MOST: usize = 16 << 20;

/// The files of all certificates that it names.
pub fn certificates(text: &str) -> BTreeSet<String> {
    let all = tokens(text);
    all.windows(3)
        .filter(|words| words[0] == "ssl_certificate" && words[2] == ";")
        .map(|words| words[1].clone())
        .collect()
}

const CHALLENGES: &str = "/.well-known/acme-challenge";

/// The roots of an nginx configuration's servers on port 80: of the challenges' own location where there is one, else the
/// server's own, else the one of all.
pub fn webroots(text: &str) -> BTreeSet<String> {
    let mut servers: Vec<Server> = Vec::new();
    let mut whole: Vec<Server> = Vec::new();
    let mut of_all = None;
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
                    Some("location") if words.iter().any(|word| is_for_challenges(word)) => Block::Challenges,
                    _ => Block::Other,
                };
                blocks.push(block);
                words.clear();
            }
            "}" => {
                if blocks.pop() == Some(Block::Server)
                    && let Some(server) = servers.pop()
                {
                    whole.push(server);
                }
                words.clear();
            }
            ";" => {
                match (servers.last_mut(), words.as_slice()) {
                    (Some(server), [name, value, ..]) => server.take(blocks.last(), name, value),
                    (None, [name, value, ..]) if name == "root" => of_all = Some(value.clone()),
                    _ => {}
                }
                words.clear();
            }
            _ => words.push(token),
        }
    }
    whole.into_iter().filter_map(|server| server.webroot(of_all.as_ref())).collect()
}

/// A prefix of the challenges' path that is longer than the whole site's, or a part of it.
fn is_for_challenges(word: &str) -> bool {
    let path = word.trim_end_matches('/');
    path.contains(".well-known") && (CHALLENGES.starts_with(path) || path.contains(CHALLENGES))
}

/// What a root would be in its place (`ngx_http_core_module`, `alias`); nothing fit where none would do.
fn root_of_alias(alias: &str) -> &str {
    let path = alias.trim_end_matches('/');
    path.strip_suffix(CHALLENGES).or_else(|| path.strip_suffix("/.well-known")).unwrap_or_default()
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
            (Some(Block::Challenges), "alias") => self.challenges = Some(root_of_alias(value).to_owned()),
            _ => {}
        }
    }

    fn webroot(self, of_all: Option<&String>) -> Option<String> {
        // Without a port, or a word at all, it is 80.
        let is_80 = |listen: &String| match listen.rsplit(':').next().map(str::parse::<u16>) {
            Some(Ok(port)) => port == 80,
            _ => !listen.starts_with("unix:"),
        };
        if !self.listens.is_empty() && !self.listens.iter().any(is_80) {
            return None;
        }
        self.challenges
            .or(self.root)
            .or_else(|| of_all.cloned())
            .filter(|root| root.starts_with('/') && !root.contains('$'))
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
        assert_eq!(of("server { listen unix:/run/x.sock; root /srv/www; }"), "");
        assert_eq!(of("server { root /srv/www; }"), "/srv/www", "80 is nginx's default");
        let redirects = "server { listen [::]:80 default_server; root /srv/www; # not { this }\n\
                         location ^~ /.well-known/acme-challenge/ { root \"/srv/acme here\"; } return 301 https://$host; }";
        assert_eq!(of(redirects), "/srv/acme here");
        assert_eq!(of("server { listen 443 ssl; root /a; } server { listen 192.0.2.1:80; root /b; }"), "/b");
        assert_eq!(of("server { listen 8080; root /a; } server { listen 80; root /srv/$host; }"), "");
        assert_eq!(of("server { root /a; } server { root /b; }"), "/a /b");
        assert_eq!(of("} } { ; server {"), "");
        assert_eq!(of("http { server { } root /srv/all; server { root /a; } }"), "/a /srv/all");
        let aliased = |alias: &str| {
            let inner = format!("location /.well-known/acme-challenge/ {{ alias {alias}; }}");
            of(&format!("server {{ root /srv/www; {inner} }}"))
        };
        assert_eq!(aliased("/srv/acme/.well-known/acme-challenge/"), "/srv/acme");
        assert_eq!(aliased("/srv/acme/"), "", "no webroot is served there");
        assert_eq!(of("server { location ^~ /.well-known/ { root /srv/acme; } root /srv/www; }"), "/srv/acme");
        let long = "x".repeat(500);
        assert_eq!(of(&format!("server {{ add_header A \"{long}; {{\"; root /srv/www; }}")), "/srv/www");
        assert_eq!(of("server { root /srv/a\"b#c'd; }"), "/srv/a\"b#c'd", "within a word they are letters");
    }

    #[test]
    fn certificates_are_what_the_directive_names() {
        let text = "server { ssl_certificate /a/live/x/fullchain.pem; ssl_certificate_key /a/live/x/privkey.pem; }\n\
                    server { ssl_certificate '/a/live/y/cert.pem'; } # ssl_certificate /z;\n";
        assert_eq!(Vec::from_iter(certificates(text)), ["/a/live/x/fullchain.pem", "/a/live/y/cert.pem"]);
        assert_eq!(certificates("ssl_certificate"), BTreeSet::new());
    }
}
