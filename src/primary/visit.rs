//! A server, visited by the person's own ssh access: the system's `ssh`, with its agent, keys and
//! `ssh_config`, but trusting the pinned host key alone.

use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::model::deadline::Deadline;
use crate::model::escape::escaped;
use crate::model::names::NodeName;
use crate::model::pasteable::pasteable;
use crate::primary::link::{self, Destination, Route, known_hosts};
use crate::sys::process::Run;
use crate::wire::enrolment::{Enrolled, Enrolment};

/// Where the program is on every server: `authorized_keys` and certbot's hooks name it.
pub const PROGRAM: &str = "/usr/local/bin/certcast";
const STEP: Duration = Duration::from_secs(60);
/// For the program itself, over a slow line.
const COPY: Duration = Duration::from_secs(600);
const ANSWER_AT_MOST: u64 = 256 * 1024;

/// A server, and how to reach it.
pub struct Visit<'a> {
    /// Where.
    pub to: &'a Destination,
    /// The pinned host keys.
    pub known_hosts: &'a Path,
}

/// What the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its own name, as far as it can be a node's.
    pub name: Option<NodeName>,
    /// The digest of its certcast, if it has one.
    pub program: Option<String>,
}

impl Visit<'_> {
    /// Looks at it: it must be Linux, of this machine's architecture, and let the person be root.
    pub fn look(&self) -> Result<Seen> {
        let command = format!("uname -sm; id -u; uname -n; sha256sum {PROGRAM} 2>/dev/null; true");
        let said = self.run(&command, &[], STEP)?;
        let mut lines = said.lines().map(str::trim);
        let mut next = || lines.next().unwrap_or_default().to_owned();
        let (system, user, name) = (next(), next(), next());
        let own = Run::new(&["uname", "-sm"].map(str::to_owned), Deadline::after(STEP)).run()?.output;
        if system != own.trim() {
            bail!(
                "it is {}, and this program is for {}: build one there, and set the peer up by hand",
                escaped(&system),
                own.trim()
            );
        }
        if user != "0" {
            bail!("your login there is user {}, not root: give root@HOST, or set the peer up by hand", escaped(&user));
        }
        let digest = |line: String| line.split_whitespace().next().filter(|word| word.len() == 64).map(str::to_owned);
        let short = name.split('.').next().unwrap_or_default().to_owned();
        Ok(Seen { name: short.parse().ok(), program: digest(next()) })
    }

    /// Puts this very program there: whole and tried under another name first, so that one that runs is never written over.
    pub fn install(&self, program: &[u8], digest: &str) -> Result<()> {
        let length = program.len();
        let command = format!(
            "umask 022 && new=$(mktemp {PROGRAM}.XXXXXX) && {{ head -c {length} >$new && \
             echo \"{digest}  $new\" | sha256sum -c >/dev/null && chmod 755 $new && $new --version >/dev/null && \
             mv -f $new {PROGRAM} || {{ rm -f $new; false; }}; }}"
        );
        self.run(&command, program, COPY).map(drop)
    }

    /// Takes the program away.
    pub fn uninstall(&self) -> Result<()> {
        self.run(&format!("rm -f {PROGRAM}"), &[], STEP).map(drop)
    }

    /// Has it make itself a peer, or no peer any more.
    pub fn enrol(&self, request: &Enrolment) -> Result<Enrolled> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        let said = self.run(&format!("{PROGRAM} enrol"), &line, STEP)?;
        serde_json::from_str(said.trim())
            .with_context(|| format!("{PROGRAM} enrol there said {}", escaped(said.trim())))
    }

    /// Runs a command to its end, and gives what it printed.
    fn run(&self, command: &str, input: &[u8], budget: Duration) -> Result<String> {
        let argv = self.argv(command);
        let mut stream = link::open(&Route::Client { argv: &argv }, Deadline::after(budget))?;
        let mut said = Vec::new();
        let talked = stream
            .write_all(input)
            .and_then(|()| Read::by_ref(&mut stream).take(ANSWER_AT_MOST).read_to_end(&mut said));
        let said = String::from_utf8_lossy(&said);
        // What a login shell says comes before, and only a command that went well has the end.
        let answer = said.trim_end().strip_suffix(END).and_then(|said| said.rsplit_once(BEGIN));
        if let Some((_, answer)) = answer {
            return Ok(answer.trim_start().to_owned());
        }
        let words = stream.said();
        let cause = talked.err().map_or_else(|| words.clone(), |error| format!("{error}: {words}"));
        bail!("`{}` failed: {}", pasteable(&argv[..argv.len() - 1]), cause.trim())
    }

    /// The command is made of constants and numbers: nothing in it is anybody's word.
    fn argv(&self, command: &str) -> Vec<String> {
        let mut argv = link::ssh_client(&[
            "UpdateHostKeys=no",
            "VerifyHostKeyDNS=no",
            "KnownHostsCommand=none",
            "GlobalKnownHostsFile=/dev/null",
            // Unquoted, a space would begin another file.
            &format!("UserKnownHostsFile=\"{}\"", self.known_hosts.display()),
            &format!("HostKeyAlias={}", known_hosts::lookup_name(&self.to.host, self.to.port.unwrap_or(22))),
            "ConnectTimeout=20",
            "ServerAliveInterval=10",
        ]);
        if let Some(port) = self.to.port {
            argv.extend(["-p".to_owned(), port.to_string()]);
        }
        let user = self.to.user.as_deref().unwrap_or("root");
        argv.extend(["-l".to_owned(), user.to_owned(), "--".to_owned(), self.to.host.clone()]);
        argv.push(format!("echo {BEGIN}; {{ {command}; }} && echo {END}"));
        argv
    }
}

const BEGIN: &str = "certcast-begin";
const END: &str = "certcast-end";
