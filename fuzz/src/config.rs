//! The configuration.

use std::collections::BTreeSet;
use std::path::Path;

use certcast::model::config::{Config, Transport};

use super::is_inert;

/// What is accepted keeps what the rest of the program relies on; what is not is shown in a few harmless lines, and no
/// secret is in them.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Config::parse(text, Path::new("config.toml")) {
        Ok(config) => {
            is_sound(&config);
            let commented = format!("# first\n{text}\n# last\n");
            assert_eq!(Config::parse(&commented, Path::new("other.toml")).ok(), Some(config));
        }
        Err(error) => {
            let shown = error.to_string();
            assert!(shown.lines().count() <= 5 && shown.chars().count() < 20_000, "{shown}");
            assert!(shown.lines().all(is_inert), "{shown:?}");
            // Where it stands as a secret's value and nowhere else.
            if text.matches("hunter2").count() == text.matches("password = \"hunter2\"").count() {
                assert!(!shown.contains("hunter2") && !format!("{error:?}").contains("hunter2"), "{error:?}");
            }
        }
    }
}

fn is_sound(config: &Config) {
    let node = &config.node;
    let places = [&node.letsencrypt, &node.webroot, &node.state, &config.ssh.identity, &config.ssh.known_hosts];
    for path in places.into_iter().chain(node.webroots.values()) {
        assert!(path.is_absolute(), "{}", path.display());
        assert!(path.components().all(|part| part != std::path::Component::ParentDir), "{}", path.display());
    }
    assert!(node.webroots.keys().all(|name| !name.is_wildcard()));
    if let Some(mode) = node.key_mode {
        assert_eq!(mode & !0o660, 0, "{mode:o}");
    }
    for service in &config.services {
        for argv in [&service.test, &service.reload] {
            assert!(argv.first().is_some_and(|program| !program.is_empty()), "{argv:?}");
            assert!(argv.iter().all(|word| !word.contains('\0')), "{argv:?}");
        }
        if let Some(joined) = &service.joined {
            let path = |name: &str| joined.path(&name.parse().expect("a name"));
            assert!(path("a").is_absolute() && path("a") != path("b"));
            assert!(!path("a").starts_with(&node.letsencrypt));
        }
        assert!(!service.timeout.is_zero());
    }
    let mut names = BTreeSet::from([&node.name]);
    assert!(config.peers.iter().all(|peer| names.insert(&peer.name)), "two nodes of one name");
    let mut places = BTreeSet::new();
    let others = config.peers.iter().filter(|peer| peer.transport != Transport::Local);
    assert!(others.into_iter().all(|peer| places.insert(&peer.ssh)), "two peers at one place");
    let targets: BTreeSet<_> = config.deploy.rename.values().collect();
    assert_eq!(targets.len(), config.deploy.rename.len(), "two lineages of one name");
    assert!((1..=500).contains(&config.deploy.parallel));
    for time in [config.ssh.connect_timeout, config.challenge.budget, config.deploy.budget] {
        assert!(!time.is_zero());
    }
}
