//! A few of many, for a line that a person reads at night.

use std::fmt::{self, Display};

/// How many are named; of the rest only the number is said.
const NAMED: usize = 3;

/// Shows `a, b, c and 27 more`.
#[derive(Debug)]
pub struct SomeOf<'a, T>(pub &'a [T]);

impl<T: Display> Display for SomeOf<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // "and 1 more" would be longer than the name itself.
        let named = if self.0.len() == NAMED + 1 { self.0.len() } else { NAMED.min(self.0.len()) };
        let (shown, rest) = self.0.split_at(named);
        for (at, one) in shown.iter().enumerate() {
            let before = match at {
                0 => "",
                _ if at + 1 == self.0.len() => " and ",
                _ => ", ",
            };
            write!(f, "{before}{one}")?;
        }
        if rest.is_empty() { Ok(()) } else { write!(f, " and {} more", rest.len()) }
    }
}

/// Puts together what has the same key, in the order in which the keys first came.
pub fn grouped<K: PartialEq, T>(items: impl IntoIterator<Item = (K, T)>) -> Vec<(K, Vec<T>)> {
    let mut groups: Vec<(K, Vec<T>)> = Vec::new();
    for (key, item) in items {
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, group)) => group.push(item),
            None => groups.push((key, vec![item])),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::{SomeOf, grouped};

    #[test]
    fn many_are_three_and_a_number() {
        let shown = |number: usize| SomeOf(&["a", "b", "c", "d", "e", "f"][..number]).to_string();
        assert_eq!(shown(1), "a");
        assert_eq!(shown(2), "a and b");
        assert_eq!(shown(4), "a, b, c and d");
        assert_eq!(shown(6), "a, b, c and 3 more");
    }

    #[test]
    fn groups_keep_the_order_of_their_first() {
        assert_eq!(grouped([(2, 'a'), (1, 'b'), (2, 'c')]), [(2, vec!['a', 'c']), (1, vec!['b'])]);
    }
}
