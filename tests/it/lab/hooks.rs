//! A stand-in for certbot: calls the hooks as certbot does, with names, tokens and endings that no real one can be made to give.

use std::fmt::Write;

use super::host::Host;
use super::process::{Command, Finished};

const PROGRAM: &str = "/root/certbot";
/// The ACME account that its challenges are of.
pub const ACCOUNT: &str = "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI";
/// Where challenges are on every host.
pub const CHALLENGES: &str = "/var/www/html/.well-known/acme-challenge";

/// A run of it about to begin. Each call replaces what the last one said; the run's code is that of the last call.
pub struct Hooks<'h> {
    host: &'h Host,
    script: String,
}

impl Host {
    /// A run of the stand-in, which ends as soon as it has made its calls.
    pub fn hooks(&self) -> Hooks<'_> {
        Hooks { host: self, script: "#!/bin/sh\n".to_owned() }
    }

    /// The challenge files here.
    pub fn tokens(&self) -> Vec<String> {
        self.list(CHALLENGES)
    }
}

/// The token that the stand-in has for a name.
pub fn token(name: &str) -> String {
    format!("{:_<43}", name.replace('.', "_"))
}

impl Hooks<'_> {
    /// One call of a hook with these variables and no others but PATH and HOME.
    #[must_use]
    pub fn call(self, hook: &str, variables: &[(&str, &str)]) -> Self {
        self.call_by(&format!("certcast {hook}"), variables)
    }

    /// The same with the shell's command line in full.
    #[must_use]
    pub fn call_by(mut self, line: &str, variables: &[(&str, &str)]) -> Self {
        let words: Vec<String> = variables.iter().map(|(key, value)| format!("{key}='{value}'")).collect();
        // Not the last command of the script: a shell would replace itself, and the stand-in be gone.
        writeln!(self.script, "{} /bin/sh -c '{line}; exit $?'\ncode=$?", words.join(" ")).unwrap();
        self
    }

    /// Auth calls for these names, the last of which publishes.
    #[must_use]
    pub fn auth(self, names: &[&str]) -> Self {
        self.auth_by("certcast auth", names)
    }

    /// The same with the shell's command line in full.
    #[must_use]
    pub fn auth_by(self, line: &str, names: &[&str]) -> Self {
        let mut remaining = names.len();
        names.iter().fold(self, |hooks, name| {
            remaining -= 1;
            hooks.auth_one(line, name, remaining)
        })
    }

    /// The auth call for one name of which `remaining` follow.
    #[must_use]
    pub fn auth_one(self, line: &str, name: &str, remaining: usize) -> Self {
        let (token, remaining) = (token(name), remaining.to_string());
        let validation = format!("{token}.{ACCOUNT}");
        let variables = [
            ("CERTBOT_DOMAIN", name),
            ("CERTBOT_TOKEN", &token),
            ("CERTBOT_VALIDATION", &validation),
            ("CERTBOT_REMAINING_CHALLENGES", &remaining),
        ];
        self.call_by(line, &variables)
    }

    /// Cleanup calls for these names.
    #[must_use]
    pub fn cleanup(self, names: &[&str]) -> Self {
        names.iter().fold(self, |hooks, name| hooks.cleanup_by("certcast cleanup", name))
    }

    /// The cleanup call for one name with the shell's command line in full.
    #[must_use]
    pub fn cleanup_by(self, line: &str, name: &str) -> Self {
        self.call_by(line, &[("CERTBOT_DOMAIN", name), ("CERTBOT_TOKEN", &token(name))])
    }

    /// Any line of shell: to wait, to say something between two calls.
    #[must_use]
    pub fn then(mut self, line: &str) -> Self {
        writeln!(self.script, "{line}").unwrap();
        self
    }

    /// Its calls as a shell's lines, for another program to make.
    pub fn lines(self) -> String {
        self.script
    }

    /// The program, to be started.
    pub fn command(self) -> Command {
        self.host.write(PROGRAM, self.script + "exit $code\n");
        self.host.chmod(PROGRAM, 0o700);
        self.host.command([PROGRAM])
    }

    /// Runs it.
    pub fn run(self) -> Finished {
        self.command().run()
    }
}
