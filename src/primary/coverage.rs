//! Whether DNS names the nodes, all of them and nobody else.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::model::names::{Identifier, NodeName};
use crate::model::some_of::{SomeOf, grouped};
use crate::primary::fleet::{Fleet, Member};

/// What DNS and the configuration disagree about for one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// The name.
    pub name: Identifier,
    /// Addresses in DNS that are no node's and no front's. The CA may ask them: an error.
    pub unknown: Vec<IpAddr>,
    /// Addresses in DNS of nodes that do not get the name's challenges. The CA may ask them: an error.
    pub unasked: Vec<(NodeName, IpAddr)>,
    /// Nodes that no record names. The CA will not ask them: a warning. An address is one node's only.
    pub absent: Vec<NodeName>,
}

/// The nodes, each with its addresses and whether it gets a name's challenges.
pub fn nodes(fleet: &Fleet, name: &Identifier) -> Vec<(NodeName, Vec<IpAddr>, bool)> {
    let node = |member: &Member| (member.name.clone(), member.addresses.clone(), member.answers_for(name));
    fleet.all().map(node).collect()
}

/// Compares a name's records with the fronts and the nodes' addresses, each with whether it gets the name's challenges.
///
/// Where a record names a front, nodes need no record of their own: the public reaches them
/// through it. Addresses are compared as what they mean: `::ffff:192.0.2.1` is `192.0.2.1`.
pub fn coverage(
    name: &Identifier,
    records: &[IpAddr],
    nodes: &[(NodeName, Vec<IpAddr>, bool)],
    fronts: &[IpAddr],
) -> Coverage {
    let records: BTreeSet<IpAddr> = records.iter().map(IpAddr::to_canonical).collect();
    let fronts: BTreeSet<IpAddr> = fronts.iter().map(IpAddr::to_canonical).collect();
    let has = |addresses: &[IpAddr], record: &IpAddr| addresses.iter().any(|address| address.to_canonical() == *record);
    let (mut unknown, mut unasked) = (Vec::new(), Vec::new());
    for record in records.difference(&fronts) {
        let owners = || nodes.iter().filter(|(_, addresses, _)| has(addresses, record));
        match owners().next() {
            None => unknown.push(*record),
            Some((node, ..)) if owners().all(|(.., answers)| !answers) => unasked.push((node.clone(), *record)),
            Some(_) => {}
        }
    }
    let needs_no_record = !records.is_disjoint(&fronts) || matches!(name, Identifier::Ip(_));
    let absent = nodes
        .iter()
        .filter(|(_, addresses, answers)| {
            *answers && !needs_no_record && !records.iter().any(|record| has(addresses, record))
        })
        .map(|(node, ..)| node.clone())
        .collect();
    Coverage { name: name.clone(), unknown, unasked, absent }
}

/// A line for each address that is nobody's, however many names it is listed for; it may be this machine's where none of those
/// that this one is known by is listed.
pub fn errors(all: &[Coverage], may_be_own: bool) -> Vec<String> {
    let own = if may_be_own { " (or to node.addresses, if it is this server's own)" } else { "" };
    let listed = grouped(all.iter().flat_map(|one| one.unknown.iter().map(|address| (*address, &one.name))));
    let line = |(address, names): &(IpAddr, Vec<&Identifier>)| {
        format!(
            "DNS lists {address} for {}, which is no node: the CA may ask it; add it to a [[peer]]'s addresses \
             or to challenge.fronts{own}, or remove the record",
            SomeOf(names)
        )
    };
    let unasked = grouped(all.iter().flat_map(|one| one.unasked.iter().map(|place| (place, &one.name))));
    let without = |((node, address), names): &(&(NodeName, IpAddr), Vec<&Identifier>)| {
        format!(
            "DNS lists {address} for {}, and {node} gets no challenge for it: the CA may ask it; correct 'challenges' in \
             its [[peer]], or remove the record",
            SomeOf(names)
        )
    };
    listed.iter().map(line).chain(unasked.iter().map(without)).collect()
}

/// A line for each node that DNS leaves out.
pub fn warnings(all: &[Coverage]) -> Vec<String> {
    let missing = grouped(all.iter().flat_map(|one| one.absent.iter().map(|node| (node, &one.name))));
    let line = |(node, names): &(&NodeName, Vec<&Identifier>)| {
        format!(
            "DNS lists none of {node}'s addresses for {}: the public does not reach it by that name; add a record, \
             or correct the addresses configured for {node}",
            SomeOf(names)
        )
    };
    missing.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::{Coverage, coverage, errors, warnings};
    use crate::model::names::NodeName;

    impl Coverage {
        fn is_complete(&self) -> bool {
            self.unknown.is_empty() && self.unasked.is_empty() && self.absent.is_empty()
        }
    }

    fn addresses(text: &[&str]) -> Vec<IpAddr> {
        text.iter().map(|address| address.parse().unwrap()).collect()
    }

    fn against_two_nodes(records: &[&str], fronts: &[&str]) -> Coverage {
        let nodes: Vec<(NodeName, Vec<IpAddr>, bool)> = vec![
            ("web1".parse().unwrap(), addresses(&["192.0.2.1", "2001:db8::1"]), true),
            ("web2".parse().unwrap(), addresses(&["192.0.2.2"]), true),
            ("mail".parse().unwrap(), addresses(&["192.0.2.3"]), false),
        ];
        coverage(&"www.example".parse().unwrap(), &addresses(records), &nodes, &addresses(fronts))
    }

    #[test]
    fn records_of_all_nodes_in_either_family_are_complete() {
        assert!(against_two_nodes(&["192.0.2.1", "192.0.2.2", "2001:db8::1"], &[]).is_complete());
        assert!(against_two_nodes(&["2001:db8::1", "192.0.2.2"], &[]).is_complete());
        assert!(against_two_nodes(&["::ffff:192.0.2.1", "192.0.2.2"], &[]).is_complete());
    }

    #[test]
    fn an_address_that_is_nobodys_is_named_once() {
        let found = against_two_nodes(&["192.0.2.1", "192.0.2.2", "192.0.2.9", "::ffff:192.0.2.9"], &[]);
        assert_eq!(
            errors(std::slice::from_ref(&found), false),
            ["DNS lists 192.0.2.9 for www.example, which is no node: the CA may ask it; add it to a [[peer]]'s \
              addresses or to challenge.fronts, or remove the record"]
        );
        assert!(warnings(std::slice::from_ref(&found)).is_empty());
        let said = errors(&[found], true).remove(0);
        assert!(
            said.contains("challenge.fronts (or to node.addresses, if it is this server's own), or remove"),
            "{said}"
        );
    }

    #[test]
    fn a_node_that_gets_no_challenge_needs_no_record_and_must_have_none() {
        let found = against_two_nodes(&["192.0.2.1", "192.0.2.2", "192.0.2.3"], &[]);
        assert_eq!(
            errors(std::slice::from_ref(&found), false),
            ["DNS lists 192.0.2.3 for www.example, and mail gets no challenge for it: the CA may ask it; correct \
              'challenges' in its [[peer]], or remove the record"]
        );
        assert!(found.unknown.is_empty() && found.absent.is_empty());
    }

    #[test]
    fn a_node_without_a_record_is_a_warning() {
        let found = against_two_nodes(&["192.0.2.1"], &[]);
        assert!(errors(std::slice::from_ref(&found), false).is_empty());
        let warnings = warnings(&[found.clone(), found]);
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].starts_with("DNS lists none of web2's addresses for www.example and www.example:"));
    }

    #[test]
    fn an_address_is_one_nodes_and_no_other_misses_it() {
        let nodes: Vec<(NodeName, Vec<IpAddr>, bool)> = ["192.0.2.1", "192.0.2.2"]
            .map(|address| (format!("web{}", &address[8..]).parse().unwrap(), addresses(&[address]), true))
            .into();
        assert!(coverage(&"192.0.2.2".parse().unwrap(), &addresses(&["192.0.2.2"]), &nodes, &[]).is_complete());
    }

    #[test]
    fn behind_a_front_nodes_need_no_records_but_strangers_are_still_strangers() {
        assert!(against_two_nodes(&["198.51.100.1"], &["::ffff:198.51.100.1"]).is_complete());
        let found = against_two_nodes(&["198.51.100.1", "192.0.2.9"], &["198.51.100.1"]);
        assert_eq!(found.unknown, addresses(&["192.0.2.9"]));
        assert!(found.absent.is_empty());
    }
}
