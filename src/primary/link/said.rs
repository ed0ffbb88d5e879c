//! What the far side wrote to stderr.

use std::borrow::Cow;

use crate::model::escape::escaped_bytes;

/// Kept at most; what follows is read and thrown away, so that a chatty far side never stalls.
const KEPT_AT_MOST: usize = 4 * 1024;

/// The first few kB of a foreign stderr.
#[derive(Default)]
pub struct Said(Vec<u8>);

impl Said {
    /// Adds what was read.
    pub fn hear(&mut self, bytes: &[u8]) {
        let room = KEPT_AT_MOST - self.0.len();
        self.0.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// What is kept of it, for judging.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }

    /// Escaped and capped.
    pub fn shown(&self) -> String {
        escaped_bytes(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_capped_and_escapes_are_inert() {
        let mut said = Said::default();
        said.hear(b"\x1b[31mno\n");
        (0..100).for_each(|_| said.hear(&[b'x'; 1000]));
        assert_eq!(said.0.len(), KEPT_AT_MOST);
        assert!(said.shown().starts_with("\\u{1b}[31mno") && said.shown().len() < 500);
    }
}
