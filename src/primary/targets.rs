//! What the proof asks: every address of every node and front, or what `challenge.prove_at` names in its place.

use std::net::IpAddr;

use crate::model::config::Config;
use crate::model::names::NodeName;
use crate::primary::fleet::Fleet;
use crate::primary::proof::Target;

/// The places to ask; none of nodes that failed before. What is not asked where the public asks is a warning each
/// time: the proof says less then.
pub fn targets(config: &Config, fleet: &Fleet, failed: &[&NodeName], warnings: &mut Vec<String>) -> Vec<Target> {
    let published = fleet.all().filter(|member| !failed.contains(&&member.name));
    let nodes = published.flat_map(|member| member.addresses.iter().map(|&ip| Target::node(member.name.clone(), ip)));
    let public: Vec<Target> = nodes.chain(config.challenge.fronts.iter().map(|&ip| Target::front(ip))).collect();
    let all: Vec<IpAddr> =
        fleet.all().flat_map(|member| &member.addresses).chain(&config.challenge.fronts).copied().collect();
    for address in config.challenge.prove_at.keys() {
        if !all.iter().any(|other| other.to_canonical() == *address) {
            warnings.push(format!("challenge.prove_at has {address}, which is no node's address and no front"));
        }
    }
    public.into_iter().filter_map(|target| reachable(config, target, warnings)).collect()
}

fn reachable(config: &Config, target: Target, warnings: &mut Vec<String>) -> Option<Target> {
    match config.challenge.prove_at.get(&target.address) {
        None => Some(target),
        Some(Some(inside)) => {
            warnings.push(format!(
                "{target} is asked at {inside} (challenge.prove_at): the public's way there is not proven"
            ));
            Some(Target { address: inside.to_canonical(), ..target })
        }
        Some(None) => {
            warnings
                .push(format!("{target} is not proven (challenge.prove_at): the CA may find out what is wrong there"));
            None
        }
    }
}
