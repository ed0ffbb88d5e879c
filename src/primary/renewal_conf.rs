//! certbot's `renewal/NAME.conf`, with certcast's hooks in place of what was there (certbot 2.1, `_internal/storage.py`: a
//! `ConfigObj` file whose section `renewalparams` holds what the command line had).

use std::path::{Path, PathBuf};

use crate::primary::hook_call;

/// What makes certbot call a program, as certbot itself notes it.
fn wanted(program: &str) -> [(&'static str, String); 6] {
    let call = |verb: &str| format!("{program} {verb}");
    [
        ("authenticator", "manual".to_owned()),
        ("installer", "None".to_owned()),
        ("pref_challs", "http-01,".to_owned()),
        ("manual_auth_hook", call("auth")),
        ("manual_cleanup_hook", call("cleanup")),
        ("renew_hook", call("deploy")),
    ]
}
/// What belongs to another way of validation, and is noted for nothing then.
const DROPPED: [&str; 1] = ["webroot_path"];
const SECTION: &str = "[renewalparams]";

/// Where certbot has a lineage's.
pub fn path(letsencrypt: &Path, lineage: &str) -> PathBuf {
    letsencrypt.join("renewal").join(format!("{lineage}.conf"))
}

/// How a file stands to the hooks.
#[derive(Debug, PartialEq, Eq)]
pub enum Hooks {
    /// It has them.
    There,
    /// It has none of certbot's parameters, which would have to hold them.
    NoParameters,
    /// With them it is this.
    Wanted(Changed),
}

/// The file's text with the hooks.
#[derive(Debug, PartialEq, Eq)]
pub struct Changed {
    /// The text.
    pub text: String,
    /// A hook of somebody else's that is called no more.
    pub replaced: Option<String>,
}

/// With this program, and perhaps its options, as certbot is to call it.
pub fn with_hooks(text: &str, program: &str) -> Hooks {
    let wanted = wanted(program);
    let mut lines: Vec<&str> = text.lines().collect();
    let Some(head) = lines.iter().position(|line| line.trim() == SECTION) else { return Hooks::NoParameters };
    let begin = head + 1;
    let end =
        lines[begin..].iter().position(|line| line.trim_start().starts_with('[')).map_or(lines.len(), |at| begin + at);
    let has = |key: &str, value: &str| lines[begin..end].iter().any(|line| entry(line) == Some((key, value)));
    if wanted.iter().all(|(key, value)| has(key, value) || (*key == "installer" && !names(&lines[begin..end], key))) {
        return Hooks::There;
    }
    let hook = lines[begin..end].iter().filter_map(|line| entry(line)).find(|(key, _)| *key == "renew_hook");
    let is_gone = |value: &&str| *value != "None" && !hook_call::is_nothing_else(value, "deploy");
    let replaced = hook.map(|(_, value)| value).filter(is_gone).map(str::to_owned);
    let is_kept = |line: &&str| {
        entry(line).is_none_or(|(key, _)| !wanted.iter().any(|(own, _)| *own == key) && !DROPPED.contains(&key))
    };
    let rest = lines.split_off(end);
    let kept: Vec<&str> = lines.split_off(begin).into_iter().filter(is_kept).collect();
    let own: Vec<String> = wanted.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    let all = lines.into_iter().chain(kept).chain(own.iter().map(String::as_str)).chain(rest);
    Hooks::Wanted(Changed { text: all.flat_map(|line| [line, "\n"]).collect(), replaced })
}

/// What a key has, as certbot wrote it.
pub fn value<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let own = text.lines().skip_while(|line| line.trim() != SECTION).skip(1);
    let own = own.take_while(|line| !line.trim_start().starts_with('['));
    own.filter_map(entry).find(|(own, _)| *own == key).map(|(_, value)| value)
}

fn entry(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once('=')?;
    (!line.trim_start().starts_with('#')).then(|| (key.trim(), value.trim()))
}

fn names(lines: &[&str], key: &str) -> bool {
    lines.iter().any(|line| entry(line).is_some_and(|(own, _)| own == key))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAM: &str = "/usr/local/bin/certcast";
    const WEBROOT: &str = "version = 2.1.0\narchive_dir = /etc/letsencrypt/archive/a.example\n\n# Options used in the renewal process\n\
                           [renewalparams]\naccount = 0123\nauthenticator = webroot\nwebroot_path = /var/www/html,\nkey_type = ecdsa\n\
                           renew_hook = systemctl reload nginx\n[[webroot_map]]\na.example = /var/www/html\n";

    #[test]
    fn only_what_says_how_to_validate_and_what_to_call_is_changed() {
        let Hooks::Wanted(changed) = with_hooks(WEBROOT, PROGRAM) else { panic!() };
        assert_eq!(changed.replaced.as_deref(), Some("systemctl reload nginx"));
        let expected = "version = 2.1.0\narchive_dir = /etc/letsencrypt/archive/a.example\n\n# Options used in the renewal process\n\
                        [renewalparams]\naccount = 0123\nkey_type = ecdsa\nauthenticator = manual\ninstaller = None\n\
                        pref_challs = http-01,\nmanual_auth_hook = /usr/local/bin/certcast auth\n\
                        manual_cleanup_hook = /usr/local/bin/certcast cleanup\nrenew_hook = /usr/local/bin/certcast deploy\n\
                        [[webroot_map]]\na.example = /var/www/html\n";
        assert_eq!(changed.text, expected);
        assert_eq!(with_hooks(&changed.text, PROGRAM), Hooks::There, "the second time nothing is changed");
        assert_eq!(with_hooks("version = 2.1.0\n", PROGRAM), Hooks::NoParameters);
        let own = changed.text.replace("installer = None\n", "");
        assert_eq!(with_hooks(&own, PROGRAM), Hooks::There, "certbot itself leaves that one out");
    }
}
