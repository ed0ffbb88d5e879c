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

/// Whether nobody is asked because the configuration says so of every one: those that failed before left aside.
pub fn are_all_left_out(config: &Config, fleet: &Fleet, failed: &[&NodeName]) -> bool {
    let is_left_out = |ip: &IpAddr| matches!(config.challenge.prove_at.get(&ip.to_canonical()), Some(None));
    let mut published = fleet.all().filter(|member| !failed.contains(&&member.name));
    published.all(|member| !member.addresses.is_empty() && member.addresses.iter().all(is_left_out))
        && config.challenge.fronts.iter().all(is_left_out)
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn one_address_that_is_not_to_be_proven_speaks_for_no_other() {
        let are_all_left_out = |own: &str, fronts: &str, nowhere: &str, failed: &[&NodeName]| {
            let nowhere: Vec<_> = nowhere.split_whitespace().map(|ip| format!("{ip:?} = \"nowhere\"")).collect();
            let text = format!(
                "[node]\nname = \"web1\"\nwebroot = \"/var/www/html\"\naddresses = {own}\n\
                 [[peer]]\nname = \"web2\"\nssh = \"root@192.0.2.2\"\naddresses = [\"192.0.2.2\"]\n\
                 [challenge]\nfronts = {fronts}\nprove_at = {{ {} }}\n",
                nowhere.join(", ")
            );
            let path = Path::new("test.toml");
            let config = Config::parse(&text, path).unwrap();
            let mut fleet = Fleet::of(&config, path).unwrap();
            // None given would be guessed.
            fleet.own.addresses = config.node.addresses.clone();
            are_all_left_out(&config, &fleet, failed)
        };
        let own = "[\"192.0.2.1\"]";
        assert!(are_all_left_out(own, "[]", "192.0.2.1 192.0.2.2", &[]));
        assert!(!are_all_left_out(own, "[]", "192.0.2.2", &[]));
        assert!(!are_all_left_out(own, "[]", "198.51.100.9", &[]), "nobody's address");
        assert!(!are_all_left_out("[]", "[]", "192.0.2.2", &[]), "where this node is reached is not known");
        assert!(!are_all_left_out(own, "[\"192.0.2.9\"]", "192.0.2.1 192.0.2.2", &[]));
        let away = "web2".parse().unwrap();
        assert!(are_all_left_out(own, "[]", "192.0.2.1", &[&away]), "a warning says that it is away");
    }
}
