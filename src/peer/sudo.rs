//! Whether sudo will run a service's commands for this user, who has nobody to type a password.

use std::path::Path;
use std::time::Duration;

use nix::unistd::geteuid;

use crate::model::deadline::Deadline;
use crate::sys::process::Run;

const RULES_AT_MOST: usize = 1024 * 1024;

/// Whether a command begins with sudo, which does not let this user run the rest of it.
pub fn refuses(argv: &[String], timeout: Duration) -> bool {
    let Some((sudo, rest)) = argv.split_first().filter(|(program, _)| Path::new(program).ends_with("sudo")) else {
        return false;
    };
    let rest: Vec<&str> = rest.iter().map(String::as_str).skip_while(|word| *word == "-n").collect();
    // sudo(8): with -l and a command, that command as it would be run, if the rules allow it, with a password or without.
    let Some(whole) = asked(sudo, &[&["-l"], rest.as_slice()].concat(), timeout) else { return true };
    !geteuid().is_root() && asked(sudo, &["-ll"], timeout).is_some_and(|rules| wants_password(&rules, whole.trim()))
}

fn asked(sudo: &str, words: &[&str], timeout: Duration) -> Option<String> {
    let question: Vec<String> = [sudo, "-n"].iter().chain(words).map(|&word| word.to_owned()).collect();
    let finished = Run::parsed(&question, Deadline::after(timeout), RULES_AT_MOST).run().ok()?;
    finished.status.success().then(|| String::from_utf8_lossy(&finished.raw).into_owned())
}

/// Whether the last rule that names a command, by which sudo goes, wants a password. One that allows it by a pattern is not seen.
fn wants_password(rules: &str, command: &str) -> bool {
    let program = command.split(' ').next().unwrap_or_default();
    let (mut is_free, mut wants) = (false, false);
    for line in rules.lines() {
        if line.starts_with("Sudoers entry") {
            is_free = false;
        } else if let Some(options) = line.trim_start().strip_prefix("Options:") {
            is_free = options.split(',').any(|option| option.trim() == "!authenticate");
        } else if line.starts_with('\t') && [command, program, "ALL"].contains(&line.trim()) {
            wants = !is_free;
        }
    }
    wants
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As sudo 1.9.13 says it.
    const RULES: &str = "User acme may run the following commands on web2:\n\nSudoers entry:\n    RunAsUsers: ALL\n    RunAsGroups: ALL\n    \
                         Options: !authenticate\n    Commands:\n\t/usr/bin/id\n\t/usr/sbin/nginx -t\n\nSudoers entry:\n    RunAsUsers: root\n    \
                         Commands:\n\t/usr/sbin/nginx -s reload\n\t/usr/bin/id\n";

    #[test]
    fn the_last_rule_that_names_a_command_says_whether_a_password_is_wanted() {
        assert!(!wants_password(RULES, "/usr/sbin/nginx -t"));
        assert!(wants_password(RULES, "/usr/sbin/nginx -s reload"));
        assert!(wants_password(RULES, "/usr/bin/id"), "the later one");
        assert!(!wants_password(RULES, "/usr/bin/true"));
        let all = format!("{RULES}\nSudoers entry:\n    Options: setenv, !authenticate\n    Commands:\n\tALL\n");
        assert!(!wants_password(&all, "/usr/sbin/nginx -s reload"));
    }
}
