//! Whether the CA can be asked: the challenges brought to every node, DNS compared, every address proven.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::thread;

use crate::model::challenge::Challenge;
use crate::model::config::{Config, Require};
use crate::model::deadline::Deadline;
use crate::model::names::{Identifier, NodeName};
use crate::primary::challenge::Runs;
use crate::primary::coverage;
use crate::primary::detour;
use crate::primary::dns::{self, DnsError};
use crate::primary::fleet::{Fleet, Member};
use crate::primary::proof::{self, Target};
use crate::primary::publication::{self, Answer};
use crate::primary::targets;

/// What of the budget publishing and DNS may use: a node that hangs must leave time to prove the others.
const PUBLISHING: (u32, u32) = (2, 3);

/// What was found.
#[derive(Debug)]
pub struct Readiness {
    /// What a person must know why the CA must not be asked; nothing when it can be.
    pub complaints: Vec<String>,
    /// What is worth knowing and no reason not to ask it.
    pub warnings: Vec<String>,
    /// Every address that was asked, and for which names.
    pub asked: Vec<(Target, Vec<Identifier>)>,
}

/// Publishes the challenges and proves them. The caller holds [`Runs::hold`].
pub fn find(config: &Config, mut fleet: Fleet, runs: &Runs, challenges: &[Challenge]) -> io::Result<Readiness> {
    let deadline = Deadline::after(config.challenge.budget);
    let publishing = deadline.at_most(config.challenge.budget * PUBLISHING.0 / PUBLISHING.1);
    let names: Vec<_> = challenges.iter().map(|challenge| challenge.name().clone()).collect();
    let mut warnings = Vec::new();
    // Dead name servers must leave the other half for publishing.
    let mut complaints = find_addresses(config, &mut fleet, &names, publishing.at_most(publishing.left() / 2));
    let wanted = config.challenge.check_dns || fleet.own.addresses_are_guessed;
    let (answers, records) = thread::scope(|scope| {
        let look_up = || wanted.then(|| dns::lookup_all(&names, publishing));
        let records = thread::Builder::new().name("dns".to_owned()).spawn_scoped(scope, look_up)?;
        let answers = publication::publish(config, &fleet, runs, challenges, publishing);
        let records = records.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        answers.map(|answers| (answers, records.unwrap_or_default()))
    })?;
    complaints.extend(unpublished(config, &answers, &mut warnings));
    let listed: Vec<IpAddr> = records.iter().flatten().flatten().copied().collect();
    let seen = reached(&fleet.own.addresses, &listed);
    let is_unseen = fleet.own.addresses_are_guessed && seen.is_empty();
    if config.challenge.check_dns {
        complaints.extend(check_dns(config, &fleet, &names, &records, is_unseen, &mut warnings));
    }
    let whole = fleet.clone();
    if fleet.own.addresses_are_guessed {
        fleet.own.addresses = seen;
        if is_unseen {
            let known = if records.iter().all(Result::is_ok) {
                "lists none of"
            } else {
                "was not readable for all names, and lists none of"
            };
            warnings.push(format!(
                "{}: DNS {known} this machine's addresses, so none is proven; set node.addresses",
                fleet.own.name
            ));
        }
    }
    // Proving takes its time where an answer is missing: pointless for a node that has no challenge.
    let failed: Vec<_> =
        answers.iter().filter(|answer| !answer.failures.is_empty()).map(|answer| &answer.node).collect();
    let mut asked = targets::targets(config, &fleet, &names, &failed, &mut warnings);
    let compared = names.iter().zip(&records).filter(|_| config.challenge.check_dns);
    let known: BTreeMap<_, _> = compared.filter_map(|(name, records)| Some((name, records.as_ref().ok()?))).collect();
    let may_ask =
        |target: &Target, name: &Identifier| targets::may_ask(config, &fleet, target, name, known.get(name).copied());
    asked.retain(|target| names.iter().any(|name| may_ask(target, name)));
    if asked.is_empty() && !targets::all_are_known(&fleet, &names, &failed) && complaints.is_empty() {
        complaints.push(
            "nobody was asked for the challenge, so nothing is proven; set node.addresses, and \
             challenge.prove_at for those that this machine cannot reach"
                .into(),
        );
    }
    let proof = proof::prove(challenges, &asked, may_ask, deadline);
    complaints.extend(proof::summary(&proof.failures));
    if config.challenge.check_dns {
        complaints.extend(detour::check(config, &whole, &names, &proof.detours, deadline, &mut warnings));
    }
    let with_names = |target: Target| {
        let its = names.iter().filter(|name| may_ask(&target, name)).cloned().collect();
        (target, its)
    };
    Ok(Readiness { complaints, warnings, asked: asked.into_iter().map(with_names).collect() })
}

/// Of this machine's addresses those that the public may ask: not those of bridges, tunnels and the like.
fn reached(own: &[IpAddr], listed: &[IpAddr]) -> Vec<IpAddr> {
    let is_listed = |address: &IpAddr| listed.iter().any(|other| other.to_canonical() == address.to_canonical());
    own.iter().filter(|address| is_listed(address)).copied().collect()
}

/// A peer that is configured by the name of its sshd only is where DNS has that name.
///
/// One that is asked for none of the names is looked up too, for DNS must not name it.
fn find_addresses(config: &Config, fleet: &mut Fleet, names: &[Identifier], deadline: Deadline) -> Vec<String> {
    let is_asked = |peer: &Member| peer.answers_for_any(names);
    let is_unknown = |peer: &&mut Member| peer.addresses.is_empty() && (config.challenge.check_dns || is_asked(peer));
    let unknown: Vec<&mut Member> = fleet.peers.iter_mut().filter(is_unknown).collect();
    let hosts: Vec<Option<Identifier>> =
        unknown.iter().map(|peer| peer.host().and_then(|host| host.parse().ok())).collect();
    let known: Vec<Identifier> = hosts.iter().flatten().cloned().collect();
    let mut found = dns::lookup_all(&known, deadline).into_iter();
    let mut complaints = Vec::new();
    for (peer, host) in unknown.into_iter().zip(hosts) {
        let result = host.and_then(|_| found.next());
        match result {
            Some(Ok(addresses)) => peer.addresses = addresses,
            _ if !is_asked(peer) => {}
            Some(Err(error)) => complaints.push(unproven(&peer.name, &format!(": {error}"))),
            None => complaints.push(unproven(&peer.name, "")),
        }
    }
    complaints
}

fn unproven(node: &NodeName, why: &str) -> String {
    format!("{node}: where the public reaches it is not known{why}; set 'addresses' in its [[peer]]")
}

fn unpublished(config: &Config, answers: &[Answer], warnings: &mut Vec<String>) -> Vec<String> {
    let mut complaints = Vec::new();
    for answer in answers {
        for failure in &answer.failures {
            let text = format!("{}: {failure}", answer.node);
            if answer.unreached && config.challenge.require == Require::Reachable {
                warnings.push(text);
            } else {
                complaints.push(text);
            }
        }
    }
    complaints
}

fn check_dns(
    config: &Config,
    fleet: &Fleet,
    names: &[Identifier],
    records: &[Result<Vec<IpAddr>, DnsError>],
    own_is_unseen: bool,
    warnings: &mut Vec<String>,
) -> Vec<String> {
    let (mut covered, mut definite, mut troubles) = (Vec::new(), Vec::new(), Vec::new());
    for (name, records) in names.iter().zip(records) {
        match records {
            Ok(records) => {
                let nodes = coverage::nodes(fleet, name);
                covered.push(coverage::coverage(name, records, &nodes, &config.challenge.fronts));
            }
            Err(error) if error.is_definite() => definite.push(error.clone()),
            Err(error) => troubles.push(error.clone()),
        }
    }
    warnings.extend(coverage::warnings(&covered));
    let troubles = dns::summary(&troubles);
    warnings.extend(troubles.iter().map(|trouble| format!("cannot compare DNS with the nodes: {trouble}")));
    let mut complaints = coverage::errors(&covered, own_is_unseen);
    complaints.extend(dns::summary(&definite));
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_guessed_addresses_only_those_in_dns_are_proven() {
        let all = |text: &[&str]| text.iter().map(|a| a.parse().unwrap()).collect::<Vec<IpAddr>>();
        let own = all(&["192.0.2.1", "172.17.0.1", "2001:db8::1", "2001:db8::abcd"]);
        let listed = all(&["192.0.2.2", "::ffff:192.0.2.1", "2001:db8::1"]);
        assert_eq!(reached(&own, &listed), all(&["192.0.2.1", "2001:db8::1"]));
        assert!(reached(&own, &[]).is_empty());
    }
}
