//! What the proof asks: every address of every node and front, or what `challenge.prove_at` names in its place.

use std::net::IpAddr;

use crate::model::config::Config;
use crate::model::names::NodeName;
use crate::primary::fleet::Fleet;
use crate::primary::proof::Target;

/// The places to ask; none of nodes that failed before. What is not asked where the public asks is noted in the log each
/// time: the proof says less then.
pub fn targets(config: &Config, fleet: &Fleet, failed: &[&NodeName]) -> Vec<Target> {
    let published = fleet.all().filter(|member| !failed.contains(&&member.name));
    let nodes = published.flat_map(|member| member.addresses.iter().map(|&ip| Target::node(member.name.clone(), ip)));
    let public: Vec<Target> = nodes.chain(config.challenge.fronts.iter().map(|&ip| Target::front(ip))).collect();
    let all: Vec<IpAddr> =
        fleet.all().flat_map(|member| &member.addresses).chain(&config.challenge.fronts).copied().collect();
    for address in config.challenge.prove_at.keys() {
        if !all.iter().any(|other| other.to_canonical() == *address) {
            tracing::warn!("challenge.prove_at has {address}, which is no node's address and no front");
        }
    }
    public.into_iter().filter_map(|target| reachable(config, target)).collect()
}

fn reachable(config: &Config, target: Target) -> Option<Target> {
    match config.challenge.prove_at.get(&target.address) {
        None => Some(target),
        Some(Some(inside)) => {
            tracing::warn!("{target} is asked at {inside} (challenge.prove_at): the public's way there is not proven");
            Some(Target { address: inside.to_canonical(), ..target })
        }
        Some(None) => {
            tracing::warn!("{target} is not proven (challenge.prove_at): the CA may find out what is wrong there");
            None
        }
    }
}
