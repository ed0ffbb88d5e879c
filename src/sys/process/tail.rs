//! The end of what a program writes: a flood costs no more memory than is kept of it.

use crate::model::escape::escaped;

/// The last bytes.
pub struct Tail {
    cap: usize,
    kept: Vec<u8>,
    dropped: usize,
}

impl Tail {
    /// Nothing yet; so many are kept.
    pub fn new(cap: usize) -> Self {
        Tail { cap, kept: Vec::new(), dropped: 0 }
    }

    /// What came next.
    pub fn push(&mut self, chunk: &[u8]) {
        self.kept.extend_from_slice(chunk);
        // Twice the cap before it is cut, so that a flood does not move every byte each time.
        if self.kept.len() > self.cap.saturating_mul(2) {
            self.cut();
        }
    }

    /// As it was.
    pub fn kept(self) -> Vec<u8> {
        self.kept
    }

    fn cut(&mut self) {
        let surplus = self.kept.len().saturating_sub(self.cap);
        self.kept.drain(..surplus);
        self.dropped += surplus;
    }

    /// As lines that are harmless to show.
    pub fn text(&mut self) -> String {
        self.cut();
        let mut lines = Vec::new();
        if self.dropped > 0 {
            lines.push(format!("… ({} bytes before this are dropped)", self.dropped));
        }
        lines.extend(String::from_utf8_lossy(&self.kept).lines().map(escaped));
        lines.join("\n")
    }
}
