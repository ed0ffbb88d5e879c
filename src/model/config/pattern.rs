//! Which lineages, or which names: a glob that knows `*` only.

use std::fmt;
use std::str::FromStr;

use super::value::ValueError;
use crate::model::names::{Identifier, LineageName};

/// A lineage's or host's name in which each `*` stands for any text, also none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// The pattern that takes every name.
    pub fn any() -> Self {
        Pattern("*".to_owned())
    }

    /// Whether the name, as it is on the primary, is meant.
    pub fn matches(&self, lineage: &LineageName) -> bool {
        glob(self.0.as_bytes(), lineage.as_str().as_bytes())
    }

    /// Whether this name of a certificate is meant; it has no capital letters.
    pub fn matches_name(&self, name: &Identifier) -> bool {
        glob(self.0.to_ascii_lowercase().as_bytes(), name.to_string().as_bytes())
    }
}

impl FromStr for Pattern {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let wrong =
            |why| Err(ValueError::new(text, why, "a name in which * stands for any text, such as \"*.example\""));
        if text.is_empty() {
            return wrong("is empty");
        }
        if text.len() > 253 {
            return wrong("is longer than any name");
        }
        // None of these would ever match what their writer had in mind.
        if text.contains(['/', '?', '[', ']', '{', '}']) || text.chars().any(char::is_control) {
            return wrong("is not a pattern for names");
        }
        Ok(Pattern(text.to_owned()))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a text fits: `*` is any run of bytes, and `?`, which no [`Pattern`] has, is one. Goes back to the last star only,
/// so the time is bounded by the product of the lengths.
pub fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match (pattern.get(p), star) {
            (Some(b'*'), _) => {
                star = Some((p + 1, t));
                p += 1;
            }
            (Some(&c), _) if c == b'?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            (_, Some((after_star, taken))) => {
                star = Some((after_star, taken + 1));
                p = after_star;
                t = taken + 1;
            }
            _ => return false,
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::{Pattern, glob};
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    #[test]
    fn a_star_is_any_text_and_the_rest_is_literal() {
        for (pattern, text, fits) in [
            ("*", "a", true),
            ("a", "a", true),
            ("a", "ab", false),
            ("*.example", "www.example", true),
            ("*.example", "www.example.net", false),
            ("*.example", "wwwxexample", false),
            ("a*b*c", "abbc", true),
            ("a*b*c", "acb", false),
            ("*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaa", false),
            ("**", "x", true),
        ] {
            let lineage = text.parse().unwrap();
            assert_eq!(pattern.parse::<Pattern>().unwrap().matches(&lineage), fits, "{pattern} on {text}");
        }
        let name = "www.example".parse().unwrap();
        let takes = |pattern: &str| pattern.parse::<Pattern>().unwrap().matches_name(&name);
        assert!(takes("WWW.*") && takes("*.Example") && !takes("www"));
        for bad in ["", "a/b", "web?", "[ab]", "{a,b}", "a\0"] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad:?} was accepted");
        }
    }

    /// The definition, slow and plain.
    fn model(pattern: &[u8], text: &[u8]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len()).any(|n| model(rest, &text[n..])),
            Some((c, rest)) => text.split_first().is_some_and(|(t, tail)| (*c == b'?' || t == c) && model(rest, tail)),
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab*?]{0,6}", text in "[ab]{0,8}") {
            prop_assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), model(pattern.as_bytes(), text.as_bytes()));
        }

        #[test]
        fn every_name_matches_itself(text in "[a-z.-]{1,30}") {
            prop_assert!(glob(text.as_bytes(), text.as_bytes()));
        }
    }
}
