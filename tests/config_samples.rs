//! Every sample configuration is a test: those in `examples/` are right, those in
//! `tests/config-samples/` are wrong, each in the way that its `.expected` file says.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use certcast::model::config::{Config, ProbeTarget, Require, Transport, load};

/// The files of a directory that end so, by their paths relative to the repository's root, where
/// cargo runs tests; messages show them as given.
fn files(directory: &str, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    let mut found: Vec<PathBuf> = entries.unwrap_or_else(|error| panic!("{directory}: {error}"));
    found.retain(|path| path.extension().is_some_and(|e| e == extension));
    found.sort();
    found
}

#[test]
fn every_example_is_accepted() {
    let examples = files("examples", "toml");
    let names: Vec<_> = examples.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["load-balancer.toml", "mail.toml", "peer.toml", "primary.toml", "two-servers.toml"]);
    for path in examples {
        if let Err(error) = load(&path) {
            panic!("{error}");
        }
    }
}

#[test]
fn a_configuration_means_what_it_says() {
    let config = load(Path::new("examples/load-balancer.toml")).unwrap();
    assert_eq!(config.services[0].test, ["nginx", "-t"]);
    assert_eq!(config.services[0].reload, ["nginx", "-s", "reload"]);
    assert_eq!(config.services[0].probe, [ProbeTarget::Port(443)]);
    assert_eq!(config.peers[0].ssh.to_string(), "root@10.0.0.12");
    assert_eq!(config.peers[0].addresses, ["10.0.0.12".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!((config.challenge.require, config.deploy.require), (Require::All, Require::Reachable));
    assert_eq!(config.challenge.fronts.len(), 2);

    let config = load(Path::new("examples/primary.toml")).unwrap();
    let (mail, rehearsal) = (&config.peers[1], &config.peers[2]);
    let lineage = |text: &str| text.parse().unwrap();
    assert!(mail.wants(&lineage("imap.site.com")) && !mail.wants(&lineage("www.site.com")));
    assert_eq!((mail.transport, rehearsal.transport), (Transport::SystemSsh, Transport::Local));
    assert!(mail.addresses.is_empty() && rehearsal.receive.is_empty());
    assert_eq!(config.deploy.name_on_peers(&lineage("www.site.com-0001")).as_str(), "www.site.com");
    assert_eq!(config.deploy.name_on_peers(&lineage("other")).as_str(), "other");
    assert_eq!(config.deploy.budget, Duration::from_secs(120));
}

#[test]
fn an_empty_file_is_a_node_with_the_defaults_and_the_host_name() {
    let config = Config::parse("", Path::new("x")).unwrap();
    assert!(config.services.is_empty() && config.peers.is_empty() && config.alerts.is_empty());
    assert_eq!(config.node.letsencrypt, Path::new("/etc/letsencrypt"));
    assert_eq!(config.node.name.as_str(), fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim_end());
}

#[test]
fn every_wrong_sample_has_its_exact_error() {
    let samples = files("tests/config-samples", "toml");
    let expectations = files("tests/config-samples", "expected");
    let stems = |paths: &[PathBuf]| -> BTreeSet<_> { paths.iter().map(|path| path.with_extension("")).collect() };
    assert!(samples.len() > 50);
    assert_eq!(stems(&samples), stems(&expectations), "a sample lacks its .expected file, or the reverse");

    let mut wrong = String::new();
    for path in samples {
        let expected = fs::read_to_string(path.with_extension("expected")).unwrap();
        let shown = match load(&path) {
            Ok(_) => "accepted".to_owned(),
            Err(error) => error.to_string(),
        };
        if shown != expected.trim_end() {
            wrong.extend([&path.display().to_string(), ":\n", &shown, "\n\n"]);
        }
    }
    assert!(wrong.is_empty(), "these say something else than expected:\n\n{wrong}");
}

#[test]
fn no_wrong_sample_repeats_a_secret() {
    for path in files("tests/config-samples", "toml") {
        let error = load(&path).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}

/// The parser's tables, as they are written, each with its keys: serde names them where it meets one that it does not know.
fn tables() -> Vec<(String, Vec<String>)> {
    let expected_in = |text: &str| -> Option<Vec<String>> {
        let error = Config::parse(text, Path::new("x")).err()?.to_string();
        let (_, expected) = error.split_once("expected one of ")?;
        Some(expected.split('`').skip(1).step_by(2).map(str::to_owned).collect())
    };
    let keys = |table: String| expected_in(&format!("{table}\n__x = 1")).map(|keys| (table, keys));
    let table = |name: String| {
        let found = keys(format!("[{name}]")).or_else(|| keys(format!("[[{name}]]")));
        found.unwrap_or_else(|| panic!("the keys of {name}"))
    };
    expected_in("__x = 1").unwrap_or_else(|| panic!("the tables")).into_iter().map(table).collect()
}

/// The text between one table's beginning and the next that is another's.
fn section<'a>(text: &'a str, table: &str, begins: impl Fn(&str) -> bool) -> Vec<&'a str> {
    let mut inside = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if begins(line) {
            inside = line.contains(table);
        }
        if inside {
            lines.push(line);
        }
    }
    lines
}

#[test]
fn the_full_example_shows_every_key() {
    let text = fs::read_to_string("examples/primary.toml").unwrap();
    for (table, keys) in tables() {
        let lines = section(&text, &table, |line| line.starts_with('['));
        for key in keys {
            let shows = |line: &&str| line.trim_start_matches("# ").starts_with(&format!("{key} = "));
            assert!(lines.iter().any(shows), "examples/primary.toml does not show {key} in {table}");
        }
    }
}

#[test]
fn the_commented_values_of_the_full_example_are_accepted_and_the_default_ones_change_nothing() {
    let text = fs::read_to_string("examples/primary.toml").unwrap();
    let config = load(Path::new("examples/primary.toml")).unwrap();
    let tables = tables();
    let (mut defaults, mut everything) = (String::new(), String::new());
    for line in text.lines() {
        let commented = line.strip_prefix("# ").filter(|rest| {
            rest.split_once(" = ").is_some_and(|(key, _)| tables.iter().any(|(_, keys)| keys.iter().any(|k| k == key)))
        });
        let is_default = !line.contains("# default: ");
        defaults.extend([commented.filter(|_| is_default).unwrap_or(line), "\n"]);
        // A user without a password is half a login.
        everything.extend([commented.filter(|rest| !rest.starts_with("user")).unwrap_or(line), "\n"]);
    }
    let parse = |text: &str| Config::parse(text, Path::new("examples/primary.toml")).unwrap_or_else(|e| panic!("{e}"));
    assert_ne!(defaults, text);
    assert_eq!(parse(&defaults), config, "a line that shows a default shows something else");
    assert_ne!(parse(&everything), config);
}

#[test]
fn the_reference_lists_exactly_the_keys() {
    let text = fs::read_to_string("docs/configuration.md").unwrap();
    for (table, keys) in tables() {
        let lines = section(&text, &format!("`{table}`"), |line| line.starts_with("## "));
        let rows = lines.iter().skip_while(|line| !line.starts_with("| key |")).skip(2);
        let listed: Vec<_> = rows
            .take_while(|line| line.starts_with('|'))
            .map(|row| row.split('`').nth(1).unwrap_or_default())
            .collect();
        assert_eq!(listed, keys, "docs/configuration.md, {table}");
    }
}

#[test]
fn the_error_in_the_reference_is_the_one_that_is_shown() {
    let text = fs::read_to_string("docs/configuration.md").unwrap();
    let error = Config::parse("[node]\nwebrot = \"/srv/www\"\n", Path::new("/etc/certcast/config.toml")).unwrap_err();
    assert!(text.contains(&format!("```\n{error}\n```")), "docs/configuration.md does not show this:\n{error}");
}

/// What a configuration is refused for, or nothing where it is accepted.
fn refused(text: &str) -> String {
    Config::parse(text, Path::new("x")).map_or_else(|error| error.to_string(), |_| String::new())
}

#[test]
fn a_service_has_a_name_that_can_be_shown_and_a_program_to_run() {
    let service = |name: &str, test: &str| {
        refused(&format!("[[service]]\nname = {name:?}\ntest = {test}\nreload = [\"true\"]\nprobe = []\n"))
    };
    assert_eq!(service("nginx", r#"["true"]"#), "");
    for name in [" ", &"x".repeat(65), "a\u{202e}b"] {
        assert_ne!(service(name, r#"["true"]"#), "", "{name:?} was accepted");
    }
    assert_ne!(service("nginx", r#"[" ", "x"]"#), "");
}

#[test]
fn two_peers_on_one_host_are_two_where_their_ports_differ_or_one_is_local() {
    let peers = |second: &str| {
        refused(&format!("[[peer]]\nname = \"a\"\nssh = \"192.0.2.7\"\n[[peer]]\nname = \"b\"\n{second}\n"))
    };
    assert_ne!(peers("ssh = \"192.0.2.7:22\""), "");
    assert_eq!(peers("ssh = \"192.0.2.7:2222\""), "");
    assert_eq!(peers("ssh = \"192.0.2.7\"\ntransport = \"local\"\nreceive = [\"certcast\", \"receive\"]"), "");
}

#[test]
fn a_peer_is_proven_at_the_addresses_that_are_named_and_else_at_that_of_its_ssh() {
    for (addresses, proven) in [("", "192.0.2.7"), ("addresses = [\"192.0.2.8\"]", "192.0.2.8")] {
        let text = format!("[[peer]]\nname = \"a\"\nssh = \"192.0.2.7\"\n{addresses}\n");
        let config = Config::parse(&text, Path::new("x")).unwrap();
        assert_eq!(config.peers[0].addresses, [proven.parse::<std::net::IpAddr>().unwrap()]);
    }
}

#[test]
fn an_alert_names_its_secret_and_a_place_once() {
    let alert = |text: &str| refused(&format!("[[alert]]\n{text}\n"));
    assert!(alert("to = \"pagerduty\"").contains("the routing key"));
    assert_eq!(alert("to = \"pagerduty\"\nsecret_env = \"KEY\""), "");
    assert!(alert("to = \"healthcheck\"").contains("which keeps it"));
    assert_eq!(alert("to = \"healthcheck\"\nurl = \"https://h/x\""), "");
    assert!(alert("to = \"healthcheck\"\nurl = \"https://h/x\"\nsecret_env = \"KEY\"").contains("named twice"));
}

#[test]
fn a_lineage_gives_way_to_another_that_goes_by_its_name_on_the_peers() {
    let policy = |text: &str| Config::parse(&format!("[deploy]\n{text}\n"), Path::new("x")).unwrap().deploy;
    let name = |text: &str| text.parse::<certcast::model::names::LineageName>().unwrap();
    let (site, next) = (name("site"), name("next"));
    let renamed = policy("rename = { next = \"site\" }");
    assert_eq!(renamed.superseded_by(&site, |_| true), Some(&next));
    assert_eq!(renamed.superseded_by(&site, |_| false), None, "the other one is not there");
    assert_eq!(renamed.superseded_by(&next, |_| true), None);
    assert_eq!(policy("rename = { site = \"site\" }").superseded_by(&site, |_| true), None, "its own name");
    let unwanted = policy("lineages = [\"site\"]\nrename = { next = \"site\" }");
    assert_eq!(unwanted.superseded_by(&site, |_| true), None, "the other one is not rolled out");
    let swapped = policy("rename = { next = \"site\", site = \"old\" }");
    assert_eq!(swapped.superseded_by(&site, |_| true), None, "it has another name there itself");
}
