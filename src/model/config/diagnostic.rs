//! Where a configuration is wrong, shown as compilers do: file, line and column, the line itself, a caret.

use std::fmt;
use std::ops::Range;
use std::path::Path;

use crate::model::escape::escaped;

/// More of a line than this is cut, around the fault.
const WIDTH: usize = 120;

/// What is wrong at which bytes of the text, before it is known which line that is.
#[derive(Debug)]
pub(super) struct Fault {
    pub span: Range<usize>,
    pub text: String,
    pub label: String,
    /// The line may hold a secret after its `=` and is not shown further.
    pub secret: bool,
}

impl Fault {
    pub fn new(span: Range<usize>, text: impl Into<String>, label: impl Into<String>) -> Self {
        Fault { span, text: text.into(), label: label.into(), secret: false }
    }

    pub fn secret(self) -> Self {
        Fault { secret: true, ..self }
    }

    /// Takes the parser's message apart: what was found is the error, what was expected the label.
    pub fn from_toml(error: &toml::de::Error) -> Self {
        let message = error.message();
        let (found, expected) = match message.rfind(", expected ") {
            Some(at) => (&message[..at], &message[at + 2..]),
            None => (message, ""),
        };
        let mut label = expected.to_owned();
        if found.starts_with("unknown ") {
            let given =
                found.split_once('`').and_then(|(_, rest)| rest.rsplit_once('`')).map_or("", |(given, _)| given);
            if let Some(meant) = expected.split('`').skip(1).step_by(2).find(|known| is_close(given, known)) {
                label = format!("{label}; did you mean `{meant}`?");
            }
        }
        // The words of this file's format and not serde's.
        let label = if found == "invalid type: map" && expected == "expected a sequence" {
            "expected a list; a list of tables is written with two brackets, such as [[peer]]".to_owned()
        } else {
            label.replace("a sequence", "a list")
        };
        let text = [
            ("unknown field ", "unknown key "),
            ("missing field ", "missing key "),
            ("unknown variant ", "unknown value "),
            ("invalid type: map", "wrong type: a table"),
            ("invalid type: sequence", "wrong type: a list"),
            ("invalid type: ", "wrong type: "),
        ]
        .iter()
        .find_map(|(theirs, ours)| found.strip_prefix(theirs).map(|rest| format!("{ours}{rest}")))
        .unwrap_or_else(|| found.to_owned());
        Fault::new(error.span().unwrap_or(0..0), text, label)
    }
}

/// One error in one configuration, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    path: String,
    line: usize,
    column: usize,
    text: String,
    shown: String,
    indent: usize,
    carets: usize,
    label: String,
}

impl Diagnostic {
    pub(super) fn new(fault: &Fault, source: &str, path: &Path) -> Self {
        let start = floor_char(source, fault.span.start);
        let end = floor_char(source, fault.span.end).max(start);
        let line_start = source[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = source[start..].find('\n').map_or(source.len(), |at| start + at);
        let mut line = source[line_start..line_end].trim_end();
        let mut hidden = "";
        if let Some(equal) =
            line.match_indices('=').map(|(at, _)| at).find(|at| fault.secret || names_a_secret(&line[..*at]))
        {
            line = &line[..=equal];
            hidden = " …";
        }
        let (from, to) = (start - line_start, (end - line_start).min(line.len()));
        let before = cell_count(&line[..from.min(line.len())]);
        let carets = if from < to { cell_count(&line[from..to]) } else { 1 };
        // A fault behind what is hidden is shown where the hiding begins.
        let indent = if from > line.len() { before + usize::from(!hidden.is_empty()) } else { before };

        let skipped = if before > WIDTH / 2 { before - WIDTH / 4 } else { 0 };
        let mut shown: String = cells(line).skip(skipped).take(WIDTH).collect();
        if cells(line).count() > skipped + WIDTH {
            shown.push('…');
        }
        if skipped > 0 {
            shown.insert(0, '…');
        }
        let indent = indent - skipped + usize::from(skipped > 0);
        Diagnostic {
            path: escaped(&path.to_string_lossy()),
            line: source[..line_start].matches('\n').count() + 1,
            column: source[line_start..start].chars().count() + 1,
            text: escaped(&fault.text),
            carets: carets.min(WIDTH.saturating_sub(indent)).max(1),
            shown: shown + hidden,
            indent,
            label: escaped(&fault.label),
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Diagnostic { path, line, column, text, shown, indent, carets, label } = self;
        let number = line.to_string();
        let gutter = " ".repeat(number.len());
        writeln!(f, "{text}")?;
        writeln!(f, "{gutter}--> {path}:{line}:{column}")?;
        writeln!(f, "{gutter} |")?;
        writeln!(f, "{}", format!("{number} | {shown}").trim_end())?;
        let pointer = format!("{gutter} | {}{} {label}", " ".repeat(*indent), "^".repeat(*carets));
        f.write_str(pointer.trim_end())
    }
}

/// The line as it is printed, a piece for each printed character: a tab is one space wide here, and
/// whatever a terminal would obey is written out.
fn cells(line: &str) -> impl Iterator<Item = char> {
    line.chars()
        .flat_map(|c| if c.is_whitespace() { vec![' '] } else { escaped(c.encode_utf8(&mut [0; 4])).chars().collect() })
}

fn cell_count(text: &str) -> usize {
    cells(text).count()
}

fn floor_char(source: &str, at: usize) -> usize {
    (0..=at.min(source.len())).rev().find(|at| source.is_char_boundary(*at)).unwrap_or(0)
}

/// Whether the text before an equal sign ends in a key whose value may be a secret, which no message
/// may repeat. No key here holds one, but somebody may put it there, and the line would be shown.
fn names_a_secret(before: &str) -> bool {
    let key = before.trim_end().trim_end_matches(['"', '\'']);
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let key = key.rsplit(|c| !word(c)).next().unwrap_or_default().to_ascii_lowercase();
    let harmless = matches!(key.as_str(), "secret_file" | "keep_tokens" | "key_mode" | "key_group");
    let words = ["secret", "pass", "pw", "token", "key", "auth", "credential", "url"];
    !harmless && words.iter().any(|word| key.contains(word))
}

/// Whether one was probably meant when the other was typed: at most two edits, fewer in short words.
fn is_close(typed: &str, known: &str) -> bool {
    if typed.len() > 64 {
        return false;
    }
    let mut row: Vec<usize> = (0..=known.len()).collect();
    for (i, a) in typed.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in known.bytes().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().is_some_and(|edits| *edits <= 2 && *edits * 3 <= known.len())
}

#[cfg(test)]
mod tests {
    use super::{Diagnostic, Fault, is_close};
    use proptest::prelude::{any, prop_assert, proptest};
    use std::path::Path;

    fn show(source: &str, span: std::ops::Range<usize>) -> String {
        Diagnostic::new(&Fault::new(span, "wrong", "expected right"), source, Path::new("c.toml")).to_string()
    }

    #[test]
    fn the_caret_stands_under_the_fault() {
        assert_eq!(
            show("a = 1\nbc = \"x\"\n", 6..8),
            "wrong\n --> c.toml:2:1\n  |\n2 | bc = \"x\"\n  | ^^ expected right"
        );
        assert_eq!(show("\té = 1", 6..7), "wrong\n --> c.toml:1:6\n  |\n1 |  é = 1\n  |      ^ expected right");
        assert_eq!(show("", 0..0), "wrong\n --> c.toml:1:1\n  |\n1 |\n  | ^ expected right");
    }

    #[test]
    fn terminal_escapes_in_the_line_are_inert_and_counted() {
        assert_eq!(
            show("\u{1b}[31m=1", 6..7),
            "wrong\n --> c.toml:1:7\n  |\n1 | \\u{1b}[31m=1\n  |            ^ expected right"
        );
    }

    #[test]
    fn a_line_that_may_hold_a_secret_ends_at_its_equal_sign() {
        for at in [0..8, 11..18] {
            let shown = show("password = \"hunter2\"", at);
            assert!(shown.contains("1 | password = …") && !shown.contains("hunter"), "{shown}");
        }
        let inline = show("alert = [{ to = \"x\", \"api-key\" = \"hunter2\" }]", 16..19);
        assert!(inline.contains("\"x\", \"api-key\" = …") && !inline.contains("hunter"), "{inline}");
        assert!(show("secret_file = \"x\"", 14..17).contains("secret_file = \"x\""));
    }

    #[test]
    fn a_long_line_is_cut_around_the_fault() {
        let source = format!("x = [{}]", "\"y\", ".repeat(50_000));
        let shown = show(&source, 100_000..100_003);
        assert!(shown.len() < 500 && shown.contains("1 | …"), "{shown}");
    }

    #[test]
    fn a_typing_error_is_close_and_another_word_is_not() {
        for (typed, known) in [("webrot", "webroot"), ("webroots_", "webroots"), ("adresses", "addresses")] {
            assert!(is_close(typed, known), "{typed} {known}");
        }
        for (typed, known) in [("to", "url"), ("x", "to"), ("name", "state"), ("", "to")] {
            assert!(!is_close(typed, known), "{typed} {known}");
        }
    }

    proptest! {
        #[test]
        fn no_text_and_no_span_breaks_it(source in any::<String>(), a in 0usize..80, b in 0usize..80) {
            let shown = show(&source, a..b);
            prop_assert!(shown.ends_with("expected right"));
            prop_assert!(shown.lines().count() == 5, "{}", shown);
        }
    }
}
