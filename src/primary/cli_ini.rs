//! certbot's own configuration, `cli.ini`: a hook that it names is called in place of a lineage's own.
//!
//! certbot 2.1 (`set_by_cli`) and 5.8 (`set_by_user`) take what it says for what a person typed. Not looked at is what a
//! person, a timer or a cron line does type.

use std::path::Path;

use crate::sys::bounded;

/// What certbot reads as root (`CLI_DEFAULTS`, `config_files`); of an option in both, the later one's counts.
const FILES: [&str; 2] = ["/etc/letsencrypt/cli.ini", "/root/.config/letsencrypt/cli.ini"];
const FILE_AT_MOST: u64 = 1024 * 1024;

/// The files that there are, with their text.
pub struct CliIni(Vec<(&'static Path, String)>);

/// An option that a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given<'t> {
    /// Which file.
    pub file: &'t Path,
    /// The option there.
    pub option: &'t str,
    /// What it has.
    pub value: &'t str,
}

impl CliIni {
    /// One that is not there, or cannot be read, says nothing.
    pub fn read() -> CliIni {
        let text = |file| Some((Path::new(file), bounded::read_bounded(Path::new(file), FILE_AT_MOST).ok()?));
        let files = FILES.into_iter().filter_map(text);
        CliIni(files.map(|(file, text)| (file, String::from_utf8_lossy(&text).into_owned())).collect())
    }

    /// The last option of these names; of two files, the later one's.
    fn last(&self, is_it: impl Fn(&str) -> bool) -> Option<Given<'_>> {
        self.0.iter().rev().find_map(|(file, text)| {
            let mut entries = text.lines().rev().filter_map(entry);
            entries.find(|(option, _)| is_it(option)).map(|(option, value)| Given { file, option, value })
        })
    }

    /// What has certbot validate in another way than by hooks, whatever a lineage has.
    pub fn authenticator(&self) -> Option<Given<'_>> {
        let flag = |name| self.last(|option| option == name).filter(|given| !is_off(given.value));
        let named = self.last(|option| ["authenticator", "configurator"].contains(&option));
        named
            .filter(|given| given.value != "manual")
            .or_else(|| ["webroot", "standalone", "nginx", "apache"].into_iter().find_map(flag))
    }

    /// Whether what is in `renewal-hooks` is not run.
    pub fn leaves_directories_out(&self) -> bool {
        self.last(|option| option == "no-directory-hooks").is_some_and(|given| !is_off(given.value))
    }

    /// The hook in place of the one that `renewal/NAME.conf` has under this key.
    pub fn hook(&self, key: &str) -> Option<Given<'_>> {
        self.last(|option| match option {
            // certbot(1): the two are one.
            "deploy-hook" | "renew-hook" => key == "renew_hook",
            other => other.replace('-', "_") == key,
        })
    }
}

fn is_off(value: &str) -> bool {
    ["false", "no", "off", "0"].iter().any(|word| value.eq_ignore_ascii_case(word))
}

/// An option and its value, as certbot parts them (Python's `ConfigArgParse`).
fn entry(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with(['#', ';', '[']) || line.starts_with("---") {
        return None;
    }
    let end = line.find(|c: char| c.is_whitespace() || ":=;#".contains(c)).unwrap_or(line.len());
    let (option, rest) = line.split_at(end);
    let rest = rest.trim_start();
    let after_sign = rest.strip_prefix([':', '=']);
    let rest = after_sign.unwrap_or(rest).trim_start();
    // A comment has a space before it.
    let is_end = |rest: &str| {
        let comment = rest.trim_start();
        comment.is_empty() || (comment.len() < rest.len() && comment.starts_with([';', '#']))
    };
    let quoted = rest.strip_prefix(['\'', '"']).and_then(|inner| {
        let mut quotes = inner.match_indices(&rest[..1]).map(|(at, _)| at);
        quotes.find(|at| is_end(&inner[at + 1..])).map(|at| &inner[..at])
    });
    let bare = || {
        let mut spaces = rest.match_indices(char::is_whitespace).map(|(at, _)| at);
        spaces.find(|at| is_end(&rest[*at..])).map_or(rest, |at| &rest[..at])
    };
    let value = if after_sign.is_none() && rest.is_empty() { "true" } else { quoted.unwrap_or_else(bare) };
    Some((option.strip_prefix("--").unwrap_or(option), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_parted_as_certbot_parts_them() {
        for (line, value) in [
            ("post-hook = certcast resync", "certcast resync"),
            ("post-hook: certcast resync ; as the page says", "certcast resync"),
            ("  --post-hook certcast resync", "certcast resync"),
            ("post-hook=\"a; certcast resync\"  # both", "a; certcast resync"),
            ("post-hook = 'it''s' # it's", "it''s"),
            ("post-hook = a;b #c", "a;b"),
            ("post-hook = 'it", "'it"),
            ("post-hook =", ""),
            ("post-hook", "true"),
        ] {
            assert_eq!(entry(line), Some(("post-hook", value)), "{line}");
        }
        for line in ["", "# post-hook = x", "; post-hook = x", "[post-hook]", "--- post-hook"] {
            assert_eq!(entry(line), None, "{line}");
        }
    }

    #[test]
    fn the_last_file_and_the_last_line_count_and_the_deploy_hook_has_two_names() {
        let [first, second] = FILES.map(Path::new);
        let text = "deploy-hook = a\nmanual-auth-hook = b\n".to_owned();
        let both = CliIni(vec![(first, text), (second, "renew-hook = c\nrenew-hook = d\n".to_owned())]);
        assert_eq!(both.hook("renew_hook"), Some(Given { file: second, option: "renew-hook", value: "d" }));
        assert_eq!(both.hook("manual_auth_hook"), Some(Given { file: first, option: "manual-auth-hook", value: "b" }));
        assert_eq!(both.hook("post_hook"), None);
    }

    #[test]
    fn another_way_of_validation_is_seen_and_so_are_directories_that_are_left_out() {
        let of = |text: &str| CliIni(vec![(Path::new(FILES[0]), text.to_owned())]);
        for text in ["authenticator = webroot", "nginx", "standalone = True\nwebroot-path = /srv"] {
            assert!(of(text).authenticator().is_some() && !of(text).leaves_directories_out(), "{text}");
        }
        for text in [
            "",
            "nginx = no\nnginx = False",
            "authenticator = nginx\nauthenticator = manual",
            "webroot = false",
            "webroot-path = /srv",
            "max-log-backups = 0",
        ] {
            assert_eq!(of(text).authenticator(), None, "{text}");
        }
        assert!(of("no-directory-hooks").leaves_directories_out());
    }
}
