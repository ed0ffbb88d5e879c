//! Foreign text that is shown.

use certcast::model::escape::{escaped, escaped_bytes, escaped_up_to};
use certcast::model::outcome::{Outcome, Step};

use super::is_inert;

const SHOWN: usize = 400;

/// Whatever the bytes are: what is shown is inert and bounded, says the same, and is not escaped twice.
pub fn escape(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for shown in [escaped(&text), escaped_bytes(data), escaped_up_to(&text, 7), escaped_up_to(&text, 5000)] {
        assert!(is_inert(&shown), "{shown:?}");
        assert!(shown.chars().count() <= data.len() * 10);
    }
    assert!(escaped(&text).chars().count() <= SHOWN * 10 + 40);
    if text.chars().count() <= SHOWN {
        let shown = escaped(&text);
        assert_eq!(escaped_up_to(&shown, usize::MAX), shown.trim_end());
        if !text.contains('\\') {
            assert_eq!(unescaped(&shown), text.trim_end());
        }
    }
    for outcome in outcomes(&text) {
        let harmless = outcome.clone().harmless();
        is_a_line(&outcome.to_string());
        is_a_line(&harmless.to_string());
    }
}

fn is_a_line(text: &str) {
    assert!(is_inert(text) && text.chars().count() < 50_000, "{text:?}");
}

fn outcomes(text: &str) -> [Outcome; 4] {
    let lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let (step, cause) = (Step::Check, text.to_owned());
    [
        Outcome::Applied { notes: lines.clone() },
        Outcome::Refused { step, cause: cause.clone() },
        Outcome::Pending { cause: cause.clone() },
        Outcome::Stuck { cause, remedy: lines },
    ]
}

/// Undoes `\u{…}`.
fn unescaped(shown: &str) -> String {
    let mut parts = shown.split("\\u{");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (code, rest) = part.split_once('}').expect("an escape ends");
        text.extend(u32::from_str_radix(code, 16).ok().and_then(char::from_u32));
        text.push_str(rest);
    }
    text
}
