//! Text from elsewhere, made harmless before a terminal or a log sees it.

/// How much foreign text one message shows, in characters.
pub const SHOWN_AT_MOST: usize = 400;

/// Foreign text with control characters escaped and its length capped.
///
/// What a peer, a command or a file says may hold terminal escapes, bidirectional overrides or
/// megabytes; a message shows it through this only.
pub fn escaped(text: &str) -> String {
    escaped_up_to(text, SHOWN_AT_MOST)
}

/// [`escaped`] with another limit, in characters, for text that was put together of several.
pub fn escaped_up_to(text: &str, at_most: usize) -> String {
    shown(text, at_most, text.len())
}

/// [`escaped`] for bytes that may not be UTF-8.
pub fn escaped_bytes(bytes: &[u8]) -> String {
    let end = bytes.len().min(SHOWN_AT_MOST * 4 + 4);
    shown(&String::from_utf8_lossy(&bytes[..end]), SHOWN_AT_MOST, bytes.len())
}

fn shown(text: &str, at_most: usize, in_all: usize) -> String {
    let mut shown = String::new();
    for (length, c) in text.trim_end().chars().enumerate() {
        if length == at_most {
            return format!("{shown}… ({in_all} bytes in all)");
        }
        if is_harmless(c) {
            shown.push(c);
        } else {
            shown.extend(c.escape_unicode());
        }
    }
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
    use super::{escaped, escaped_bytes, escaped_up_to};

    #[test]
    fn terminal_escapes_are_inert_and_length_is_capped() {
        assert_eq!(escaped("a\u{1b}[31mb\nc"), "a\\u{1b}[31mb\\u{a}c");
        assert_eq!(escaped("\u{202e}x\u{61c}"), "\\u{202e}x\\u{61c}");
        assert_eq!(escaped(&"x".repeat(5000)), "x".repeat(400) + "… (5000 bytes in all)");
        assert_eq!(escaped(&"é".repeat(400)), "é".repeat(400));
        assert_eq!(escaped_up_to("\u{7}bc \n", 3), "\\u{7}bc");
        assert_eq!(escaped_up_to("abcd", 3), "abc… (4 bytes in all)");
        assert_eq!(escaped_bytes(b"a\xffb\n"), "a\u{fffd}b");
        assert!(escaped_bytes(&[b'x'; 5000]).ends_with("x… (5000 bytes in all)"));
    }
}
