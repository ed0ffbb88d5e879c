//! What the proof asks: every address of every node and front, or what `challenge.prove_at` names in its place.

use std::net::IpAddr;

use crate::model::config::Config;
use crate::model::names::{Identifier, NodeName};
use crate::primary::fleet::{Fleet, Member};
use crate::primary::proof::{Role, Target};

/// The places to ask for one of the names at least; none of nodes that failed before. What is not asked where the public asks
/// is a warning each time: the proof says less then.
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
    for address in config.challenge.prove_at.keys() {
        if !self::public(config, fleet).any(|other| other.to_canonical() == *address) {
            warnings.push(format!("challenge.prove_at has {address}, which is no node's address and no front"));
        }
    }
    public.into_iter().filter_map(|target| reachable(config, target, warnings)).collect()
}

/// Whether the CA may ask this place for the name: a front only where DNS lists it, as far as that is known. For an address it
/// asks there, and nowhere else where that is one of ours: also when it is not asked here, or its node has failed before.
pub fn may_ask(
    config: &Config,
    fleet: &Fleet,
    target: &Target,
    name: &Identifier,
    records: Option<&Vec<IpAddr>>,
) -> bool {
    let is_its_place = match name {
        Identifier::Dns(_) => true,
        Identifier::Ip(address) => {
            let is_it = |other: &IpAddr| other.to_canonical() == address.to_canonical();
            is_it(&target.public) || !public(config, fleet).any(|other| is_it(&other))
        }
    };
    is_its_place
        && match &target.role {
            Role::Node(node) => fleet.all().any(|member| member.name == *node && member.answers_for(name)),
            Role::Front => {
                records.is_none_or(|records| records.iter().any(|record| record.to_canonical() == target.public))
            }
        }
}

/// Every address at which the public reaches a node or front.
fn public<'a>(config: &'a Config, fleet: &'a Fleet) -> impl Iterator<Item = IpAddr> + 'a {
    fleet.all().flat_map(|member| &member.addresses).chain(&config.challenge.fronts).copied()
}

/// Nodes that get the challenge of one of the names at least.
pub fn asked<'f>(fleet: &'f Fleet, names: &'f [Identifier]) -> impl Iterator<Item = &'f Member> {
    fleet.all().filter(|member| member.answers_for_any(names))
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
    fn for_an_address_only_the_place_that_has_it_is_asked_wherever_that_is_asked_instead() {
        // Where the places are at which the challenge for an address is asked.
        let asked = |prove_at: &str, name: &str, failed: &[&NodeName]| -> Vec<String> {
            let text = format!(
                "[node]\nname = \"web1\"\nwebroot = \"/var/www/html\"\naddresses = [\"192.0.2.1\"]\n\
                 [[peer]]\nname = \"web2\"\nssh = \"root@192.0.2.2\"\naddresses = [\"192.0.2.2\"]\n\
                 [challenge]\nfronts = [\"192.0.2.9\"]\nprove_at = {{ {prove_at} }}\n"
            );
            let path = Path::new("test.toml");
            let config = Config::parse(&text, path).unwrap();
            let fleet = Fleet::of(&config, path).unwrap();
            let name: Identifier = name.parse().unwrap();
            let all = targets(&config, &fleet, std::slice::from_ref(&name), failed, &mut Vec::new());
            let its = all.iter().filter(|target| may_ask(&config, &fleet, target, &name, None));
            its.map(|target| target.address.to_string()).collect()
        };
        assert_eq!(asked("", "192.0.2.2", &[]), ["192.0.2.2"]);
        assert_eq!(asked("", "::ffff:192.0.2.2", &[]), ["192.0.2.2"]);
        assert_eq!(asked("", "192.0.2.9", &[]), ["192.0.2.9"]);
        assert_eq!(asked("", "198.51.100.7", &[]).len(), 3, "nobody's (NAT) must be served by all");
        assert_eq!(asked("\"192.0.2.2\" = \"10.9.0.2\"", "192.0.2.2", &[]), ["10.9.0.2"]);
        assert_eq!(asked("\"192.0.2.2\" = \"10.9.0.2\"", "www.example", &[]).len(), 3);
        assert!(asked("\"192.0.2.2\" = \"nowhere\"", "192.0.2.2", &[]).is_empty());
        assert!(asked("", "192.0.2.2", &[&"web2".parse().unwrap()]).is_empty());
    }

    #[test]
    fn a_front_is_asked_for_the_names_that_dns_lists_there() {
        let text = "[node]\nwebroot = \"/var/www/html\"\n[challenge]\nfronts = [\"192.0.2.9\"]\n";
        let path = Path::new("test.toml");
        let config = Config::parse(text, path).unwrap();
        let fleet = Fleet::of(&config, path).unwrap();
        let front = Target::front("192.0.2.9".parse().unwrap());
        let is_asked = |records: Option<&[&str]>| {
            let records = records.map(|all| all.iter().map(|one| one.parse().unwrap()).collect());
            may_ask(&config, &fleet, &front, &"www.example".parse().unwrap(), records.as_ref())
        };
        assert!(is_asked(Some(&["192.0.2.1", "::ffff:192.0.2.9"])));
        assert!(is_asked(None), "not known");
        assert!(!is_asked(Some(&["192.0.2.1"])));
    }

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
