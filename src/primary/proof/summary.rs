//! Failures as a person reads them: a hundred names on one dead server are one line.

use std::mem::{Discriminant, discriminant};

use super::{Failure, Kind, Role};
use crate::model::escape::escaped;
use crate::model::some_of::{SomeOf, grouped};

/// One line a server and kind of failure; the first failure stands for all.
pub fn summary(failures: &[Failure]) -> Vec<String> {
    let key = |failure: &Failure| (failure.target.role.clone(), class(&failure.kind));
    grouped(failures.iter().map(|failure| (key(failure), failure)))
        .iter()
        .filter_map(|(_, group)| line(group))
        .collect()
}

/// What has the same cause and remedy.
fn class(kind: &Kind) -> (Discriminant<Kind>, u16) {
    let status = match kind {
        Kind::Status(status) | Kind::Redirect { status, .. } => *status,
        _ => 0,
    };
    (discriminant(kind), status)
}

fn line(group: &[&Failure]) -> Option<String> {
    let first = group.first()?;
    let addresses = distinct(group.iter().map(|failure| failure.target.address));
    let names = distinct(group.iter().map(|failure| &failure.name));
    let who = match &first.target.role {
        Role::Node(node) => format!("{node} ({})", SomeOf(&addresses)),
        Role::Front => format!("the front {}", SomeOf(&addresses)),
    };
    let redirected = first.redirected_to.as_deref().map(escaped);
    let redirected =
        redirected.map(|to| format!(" (redirected to {to}, asked at the same address)")).unwrap_or_default();
    let others = match names.get(1..) {
        None | Some([]) => String::new(),
        Some(others) => format!(", and so for {}", SomeOf(others)),
    };
    Some(format!("{who} {} for {}{redirected}{others}: {}", first.kind, first.url, first.hint()))
}

fn distinct<T: PartialEq>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut kept = Vec::new();
    for item in items {
        if !kept.contains(&item) {
            kept.push(item);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::{Failure, Kind, summary};
    use crate::primary::proof::Target;

    fn failure(name: &str, address: &str, kind: Kind) -> Failure {
        let target = Target::node("web2".parse().unwrap(), address.parse().unwrap());
        Failure { url: format!("http://{name}/t"), name: name.parse().unwrap(), target, redirected_to: None, kind }
    }

    #[test]
    fn a_hundred_names_on_one_server_are_a_line_a_kind() {
        let mut all: Vec<Failure> = Vec::new();
        for n in 0..100 {
            for address in ["192.0.2.2", "2001:db8::2"] {
                all.push(failure(&format!("n{n}.test"), address, Kind::Status(404)));
            }
        }
        all.push(failure("n7.test", "192.0.2.2", Kind::Status(403)));
        let lines = summary(&all);
        assert_eq!(lines.len(), 2);
        let begin = "web2 (192.0.2.2 and 2001:db8::2) answers 404 for http://n0.test/t, and so for n1.test, n2.test, n3.test and 96 more: ";
        assert!(lines[0].starts_with(begin), "{}", lines[0]);
        assert!(lines[1].starts_with("web2 (192.0.2.2) answers 403 for http://n7.test/t: "), "{}", lines[1]);
    }
}
