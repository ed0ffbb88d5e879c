//! From the file's shape to a [`Config`]: defaults, and what can only be judged together.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use super::check_alert::alert;
use super::check_peer::peers;
use super::diagnostic::Fault;
use super::pattern::Pattern;
use super::raw::{RawChallenge, RawConfig, RawDeploy, RawNode, RawService, RawSsh};
use super::service::{PRESETS, ProbeTarget, Service};
use super::value::{Absolute, Pairs, Span, Text};
use super::{ChallengePolicy, Config, DeployPolicy, MissingNames, Node, Require, Ssh};
use crate::model::escape::escaped;
use crate::model::names::NodeName;

/// More of a kind than this is a mistake, and the checks compare each with each.
const MOST_SERVICES: usize = 100;

pub(super) fn config(raw: RawConfig, host_name: NodeName) -> Result<Config, Fault> {
    let node = node(raw.node, host_name)?;
    let services = services(raw.service, &node)?;
    let peers = peers(raw.peer, &node)?;
    Ok(Config {
        services,
        ssh: ssh(raw.ssh),
        peers,
        challenge: challenge(raw.challenge)?,
        deploy: deploy(raw.deploy)?,
        alerts: raw.alert.into_iter().map(alert).collect::<Result<_, _>>()?,
        node,
    })
}

fn node(raw: RawNode, host_name: NodeName) -> Result<Node, Fault> {
    if let Some((name, _)) = raw.webroots.0.iter().find(|(name, _)| name.get_ref().0.is_wildcard()) {
        let text = format!("\"{}\" is a wildcard name", name.get_ref().0);
        return Err(Fault::new(name.span(), text, "HTTP-01 cannot validate these; expected a host name or an address"));
    }
    Ok(Node {
        name: raw.name.map_or(host_name, |text| text.0),
        letsencrypt: path_or(raw.letsencrypt, "/etc/letsencrypt"),
        webroot: path_or(raw.webroot, "/var/www/html"),
        webroots: unique("webroots", raw.webroots)?
            .into_iter()
            .map(|(name, root)| (name, root.into_inner().0.0))
            .collect(),
        state: path_or(raw.state, "/var/lib/certcast"),
        addresses: raw.addresses.into_iter().map(|text| text.0.0).collect(),
        key_group: raw.key_group.map(|text| text.0.0),
        key_mode: raw.key_mode.map(|text| text.0.0),
    })
}

fn services(raw: Vec<RawService>, node: &Node) -> Result<Vec<Service>, Fault> {
    let mut services: Vec<Service> = Vec::new();
    for raw in raw {
        let at = raw.name.span();
        let joined_at = raw.joined.as_ref().map_or_else(|| at.clone(), Spanned::span);
        let service = service(raw)?;
        if services.len() == MOST_SERVICES {
            return Err(Fault::new(at, "too many services", format!("expected at most {MOST_SERVICES}")));
        }
        if services.iter().any(|other| other.name == service.name) {
            return Err(Fault::new(
                at,
                format!("a second service \"{}\"", escaped(&service.name)),
                "expected another name",
            ));
        }
        if let Some(joined) = &service.joined {
            if Path::new(joined.as_str()).starts_with(&node.letsencrypt) {
                let text = format!(
                    "this file would stand among certbot's own below {}",
                    escaped(&node.letsencrypt.to_string_lossy())
                );
                return Err(Fault::new(joined_at, text, "expected a path outside"));
            }
            if let Some(other) = services.iter().find(|other| other.joined.as_ref() == Some(joined)) {
                let text = format!("service \"{}\" already has this file", escaped(&other.name));
                return Err(Fault::new(
                    joined_at,
                    text,
                    "expected another path; the other service may read that file too",
                ));
            }
        }
        services.push(service);
    }
    Ok(services)
}

fn service(raw: RawService) -> Result<Service, Fault> {
    let (at, name) = (raw.name.span(), raw.name.into_inner());
    if name.trim().is_empty() || name.len() > 64 || escaped(&name) != name {
        let text = format!("\"{}\" cannot name a service", escaped(&name));
        return Err(Fault::new(at, text, "expected 1 to 64 printable characters"));
    }
    let preset = PRESETS.iter().find(|preset| preset.name == name);
    let command = |given, preset: Option<&[&str]>, key| match (given, preset) {
        (Some(given), _) => argv(given),
        (None, Some(preset)) => Ok(preset.iter().map(|&word| word.to_owned()).collect()),
        (None, None) => {
            let presets: Vec<_> = PRESETS.iter().map(|preset| preset.name).collect();
            let label = format!("needs `{key}`; only {} need none", presets.join(", "));
            Err(Fault::new(at.clone(), format!("service \"{name}\" has no `{key}`"), label))
        }
    };
    Ok(Service {
        test: command(raw.test, preset.map(|preset| preset.test), "test")?,
        reload: command(raw.reload, preset.map(|preset| preset.reload), "reload")?,
        probe: match (raw.probe, preset) {
            (Some(given), _) => given.into_iter().map(|text| text.0).collect(),
            (None, Some(preset)) => preset.probe.iter().copied().map(ProbeTarget::Port).collect(),
            (None, None) => Vec::new(),
        },
        joined: raw.joined.map(|joined| joined.into_inner().0),
        timeout: time_or(raw.timeout.as_ref(), 60),
        name,
    })
}

fn ssh(raw: RawSsh) -> Ssh {
    Ssh {
        identity: path_or(raw.identity, "/etc/certcast/id_ed25519"),
        known_hosts: path_or(raw.known_hosts, "/etc/certcast/known_hosts"),
        connect_timeout: time_or(raw.connect_timeout.as_ref(), 10),
    }
}

fn challenge(raw: RawChallenge) -> Result<ChallengePolicy, Fault> {
    let prove_at = unique("prove_at", raw.prove_at)?;
    Ok(ChallengePolicy {
        require: raw.require.unwrap_or(Require::All),
        budget: time_or(raw.budget.as_ref(), 60),
        abort_certbot: raw.abort_certbot.unwrap_or(false),
        check_dns: raw.check_dns.unwrap_or(true),
        fronts: raw.fronts.into_iter().map(|text| text.0.0).collect(),
        prove_at: prove_at.into_iter().map(|(at, instead)| (at.0, instead.into_inner().0.0)).collect(),
        keep_tokens: time_or(raw.keep_tokens.as_ref(), 24 * 60 * 60),
    })
}

fn deploy(raw: RawDeploy) -> Result<DeployPolicy, Fault> {
    let rename = unique("rename", raw.rename)?;
    for (from, to) in &rename {
        let same = |(other, target): &(_, &Spanned<Text<_>>)| *other < from && target.get_ref() == to.get_ref();
        if let Some((other, _)) = rename.iter().find(same) {
            let text = format!("lineages \"{other}\" and \"{from}\" would both be \"{}\"", to.get_ref().0);
            return Err(Fault::new(to.span(), text, "expected another name"));
        }
    }
    let parallel = match raw.parallel {
        None => 50,
        Some(given) => usize::try_from(*given.get_ref()).ok().filter(|n| (1..=500).contains(n)).ok_or_else(|| {
            Fault::new(
                given.span(),
                format!("{} conversations at once", given.get_ref()),
                "expected a number from 1 to 500",
            )
        })?,
    };
    Ok(DeployPolicy {
        require: raw.require.unwrap_or(Require::Reachable),
        canary: raw.canary.unwrap_or(true),
        parallel,
        lineages: patterns(raw.lineages),
        rename: rename.into_iter().map(|(from, to)| (from, to.into_inner().0)).collect(),
        budget: time_or(raw.budget.as_ref(), 120),
        missing_names: raw.missing_names.unwrap_or(MissingNames::Warn),
    })
}

/// A command as argv: a program, and no NUL anywhere, since exec would cut there.
pub(super) fn argv(given: Spanned<Vec<String>>) -> Result<Vec<String>, Fault> {
    const EXPECTED: &str = "expected a program and its arguments such as [\"nginx\", \"-t\"]";
    let wrong = |text| Err(Fault::new(given.span(), text, EXPECTED));
    match given.get_ref().first() {
        None => wrong("the command is empty"),
        Some(program) if program.trim().is_empty() => wrong("the command's program is empty"),
        _ if given.get_ref().iter().any(|word| word.contains('\0')) => wrong("the command holds a NUL character"),
        Some(program) if program.contains(char::is_whitespace) && given.get_ref().len() == 1 => {
            wrong("the command is one word with spaces, and no shell takes it apart")
        }
        Some(_) => Ok(given.into_inner()),
    }
}

pub(super) fn patterns(given: Option<Vec<Text<Pattern>>>) -> Vec<Pattern> {
    given.map_or_else(|| vec![Pattern::any()], |given| given.into_iter().map(|text| text.0).collect())
}

fn path_or(given: Option<Text<Absolute>>, default: &str) -> PathBuf {
    given.map_or_else(|| PathBuf::from(default), |text| text.0.0)
}

fn time_or(given: Option<&Text<Span>>, seconds: u64) -> Duration {
    given.map_or(Duration::from_secs(seconds), |text| text.0.0)
}

fn unique<K: Ord + Display, V>(table: &str, pairs: Pairs<K, V>) -> Result<BTreeMap<K, Spanned<Text<V>>>, Fault> {
    let mut map = BTreeMap::new();
    let mut pairs = pairs.0;
    // The parser gives them sorted by name; of two, the one further down is the second.
    pairs.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in pairs {
        let at = key.span();
        let key = key.into_inner().0;
        if map.contains_key(&key) {
            return Err(Fault::new(at, format!("\"{key}\" is twice in `{table}`"), "expected each name once"));
        }
        map.insert(key, value);
    }
    Ok(map)
}
