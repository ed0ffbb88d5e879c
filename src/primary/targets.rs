//! What the proof asks: every address of every node and front, or what `challenge.prove_at` names in its place.

use std::net::IpAddr;

use crate::model::config::Config;
use crate::model::names::{Identifier, NodeName};
use crate::primary::fleet::{Fleet, Member};
use crate::primary::proof::Target;

/// The places to ask for one of the names at least; none of nodes that failed before. What is not asked where the public asks is a warning each
/// time: the proof says less then.
pub fn targets(
    config: &Config,
    fleet: &Fleet,
    names: &[Identifier],
    failed: &[&NodeName],
    warnings: &mut Vec<String>,
) -> Vec<Target> {
    let published = asked(fleet, names).filter(|member| !failed.contains(&&member.name));
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

/// Nodes that get the challenge of one of the names at least.
pub fn asked<'f>(fleet: &'f Fleet, names: &'f [Identifier]) -> impl Iterator<Item = &'f Member> {
    fleet.all().filter(|member| names.iter().any(|name| member.answers_for(name)))
}

/// Whether it is known where each of these nodes is reached, those that failed before left aside. Where it is and nobody is to be
/// asked, the configuration says so of every one.
pub fn all_are_known(fleet: &Fleet, names: &[Identifier], failed: &[&NodeName]) -> bool {
    asked(fleet, names).all(|member| failed.contains(&&member.name) || !member.addresses.is_empty())
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
        // Whether nobody is asked, and whether the configuration says so.
        let asks_nobody = |own: &str, fronts: &str, nowhere: &str, failed: &[&NodeName]| {
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
            let names = ["www.example".parse().unwrap()];
            let asked = targets(&config, &fleet, &names, failed, &mut Vec::new());
            (asked.is_empty(), all_are_known(&fleet, &names, failed))
        };
        let own = "[\"192.0.2.1\"]";
        assert_eq!(asks_nobody(own, "[]", "192.0.2.1 192.0.2.2", &[]), (true, true));
        assert_eq!(asks_nobody(own, "[]", "192.0.2.2", &[]), (false, true));
        assert_eq!(asks_nobody(own, "[]", "198.51.100.9", &[]), (false, true), "nobody's address");
        assert_eq!(asks_nobody("[]", "[]", "192.0.2.2", &[]), (true, false), "where this node is reached is not known");
        assert_eq!(asks_nobody(own, "[\"192.0.2.9\"]", "192.0.2.1 192.0.2.2", &[]), (false, true));
        let away = "web2".parse().unwrap();
        assert_eq!(asks_nobody(own, "[]", "192.0.2.1", &[&away]), (true, true), "a warning says that it is away");
    }
}
