//! A user of certcast's own for the primary's key: by one sudo rule he may run the receiver as root, and nothing else.
//! His home and all in it are root's, so that he cannot give himself another line.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::unistd::User;

use crate::model::deadline::Deadline;
use crate::model::names::UserName;
use crate::peer::authorized_keys::{AuthorizedKeys, RECEIVE};
use crate::peer::found;
use crate::sys::atomic::{self, Attributes};
use crate::sys::bounded;
use crate::sys::dir::Dir;
use crate::sys::process::Run;

const STATE: &str = "/var/lib";
const HOME: &str = "certcast-login";
const RULE: &str = "/etc/sudoers.d/certcast";
const RULE_AT_MOST: u64 = 64 * 1024;
const STEP: Duration = Duration::from_secs(30);

/// The user, made or to be made.
pub struct Login<'n> {
    user: &'n UserName,
}

impl<'n> Login<'n> {
    /// What can be seen to be in the way is said before anything is made.
    pub fn new(user: &'n UserName) -> Result<Login<'n>> {
        let login = Login { user };
        if let Some(known) = User::from_name(user.as_str())?
            && known.dir != home()
        {
            bail!(
                "{user} is a user there with the home {}: certcast made none such; give another name, or do it by hand",
                known.dir.display()
            );
        }
        if found::is_there(Path::new(RULE))? {
            let text = bounded::read_bounded(Path::new(RULE), RULE_AT_MOST)?;
            if !rules(&String::from_utf8_lossy(&text)).eq(rules(&login.rule())) {
                bail!("{RULE} is there, and is not for {user} alone: do it by hand");
            }
        }
        Ok(login)
    }

    /// His `authorized_keys`, read.
    pub fn keys(&self) -> Result<AuthorizedKeys> {
        AuthorizedKeys::of_login(home().join(".ssh/authorized_keys"), format!("sudo -n {RECEIVE}"))
    }

    /// Makes what is missing, but for the key, and says what that is.
    pub fn make(&self, dry_run: bool, done: &mut Vec<String>) -> Result<()> {
        if User::from_name(self.user.as_str())?.is_none() {
            done.push(format!("made the user {}", self.user));
            if !dry_run {
                let home = home();
                let words = ["--system", "--no-create-home", "--shell", "/bin/sh", "--password", "*", "--home-dir"];
                // Locked, and not without a password: some sshd let nobody in who is.
                run("/usr/sbin/useradd", &[&words[..], &[&home.to_string_lossy(), self.user.as_str()]].concat())?;
            }
        }
        if !dry_run {
            let home = Dir::open(Path::new(STATE))?.create_beneath(HOME, 0o755)?;
            home.create_beneath(".ssh", 0o755)?;
        }
        if !found::is_there(Path::new(RULE))? {
            done.push(format!("let {} run the receiver as root, by {RULE}", self.user));
            if !dry_run {
                if !Path::new(RULE).parent().is_some_and(Path::is_dir) {
                    bail!("sudo is not installed there: apt install sudo");
                }
                atomic::replace_path(
                    Path::new(RULE),
                    self.rule().as_bytes(),
                    &Attributes { mode: 0o440, owner: None },
                )?;
            }
        }
        Ok(())
    }

    /// Takes all of it away.
    pub fn remove(&self, done: &mut Vec<String>) -> Result<()> {
        if found::is_there(Path::new(RULE))? {
            fs::remove_file(RULE).with_context(|| format!("cannot remove {RULE}"))?;
            done.push(format!("removed {RULE}"));
        }
        let home = home();
        if found::is_there(&home)? {
            fs::remove_dir_all(&home).with_context(|| format!("cannot remove {}", home.display()))?;
            done.push(format!("removed {}", home.display()));
        }
        if User::from_name(self.user.as_str())?.is_some() {
            run("/usr/sbin/userdel", &[self.user.as_str()])?;
            done.push(format!("removed the user {}", self.user));
        }
        Ok(())
    }

    /// As `examples/least-privilege/sudoers` has it.
    fn rule(&self) -> String {
        let user = self.user;
        format!(
            "# certcast: the one command that the user may have run, with just these arguments and nothing of his environment.\n\
             Defaults:{user} env_reset, !setenv, !requiretty\n{user} ALL = (root) NOPASSWD: {RECEIVE}\n"
        )
    }
}

/// What sudo goes by.
fn rules(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.starts_with('#'))
}

fn home() -> PathBuf {
    Path::new(STATE).join(HOME)
}

fn run(program: &str, words: &[&str]) -> Result<()> {
    let argv: Vec<String> = [program].iter().chain(words).map(|&word| word.to_owned()).collect();
    Ok(Run::new(&argv, Deadline::after(STEP)).succeed().map(drop)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_is_the_one_that_the_docs_have() {
        let user = "certcast".parse().unwrap();
        let own = Login { user: &user }.rule();
        assert!(rules(&own).eq(rules(include_str!("../../examples/least-privilege/sudoers"))), "{own}");
    }
}
