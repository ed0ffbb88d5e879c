//! Text from elsewhere, made harmless before a terminal or a log sees it.

use std::fmt;

/// How much foreign text one message shows, in characters.
pub const SHOWN_AT_MOST: usize = 400;

/// Shows foreign text with control characters escaped and its length capped.
///
/// What a peer, a command or a file says may hold terminal escapes, bidirectional overrides or
/// megabytes; a message shows it through this type only.
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_up_to(f, self.0, SHOWN_AT_MOST, self.0.len())
    }
}

fn write_up_to(f: &mut impl fmt::Write, text: &str, at_most: usize, in_all: usize) -> fmt::Result {
    for (shown, c) in text.trim_end().chars().enumerate() {
        if shown == at_most {
            return write!(f, "… ({in_all} bytes in all)");
        }
        if is_harmless(c) {
            f.write_char(c)?;
        } else {
            write!(f, "{}", c.escape_unicode())?;
        }
    }
    Ok(())
}

/// [`escaped`] with another limit, in characters, for text that was put together of several.
pub fn escaped_up_to(text: &str, at_most: usize) -> String {
    let mut shown = String::new();
    // A string takes whatever is written to it.
    _ = write_up_to(&mut shown, text, at_most, text.len());
    shown
}

/// The owned form of [`Escaped`], for messages that outlive the text.
pub fn escaped(text: &str) -> String {
    Escaped(text).to_string()
}

/// The owned form of [`Escaped`] for bytes that may not be UTF-8.
pub fn escaped_bytes(bytes: &[u8]) -> String {
    let end = bytes.len().min(SHOWN_AT_MOST * 4 + 4);
    let mut shown = String::new();
    _ = write_up_to(&mut shown, &String::from_utf8_lossy(&bytes[..end]), SHOWN_AT_MOST, bytes.len());
    shown
}

/// Newlines are escaped too: one message is one line.
fn is_harmless(c: char) -> bool {
    // Unicode's Bidi_Control.
    let overrides_direction =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !c.is_control() && !overrides_direction && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::{escaped, escaped_bytes};

    #[test]
    fn terminal_escapes_are_inert_and_length_is_capped() {
        assert_eq!(escaped("a\u{1b}[31mb\nc"), "a\\u{1b}[31mb\\u{a}c");
        assert_eq!(escaped("\u{202e}x\u{61c}"), "\\u{202e}x\\u{61c}");
        assert!(escaped(&"x".repeat(5000)).len() < 500);
        assert!(escaped_bytes(&[b'x'; 5000]).ends_with("x… (5000 bytes in all)"));
    }
}
