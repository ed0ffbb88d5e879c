//! What must hold for every input from elsewhere, one function a parser.
//!
//! Each takes any bytes and panics when the property does not hold. The fuzzer calls them by the programs in
//! `fuzz_targets/`, the normal tests by `tests/fuzz_seeds.rs` with what is in `seeds/`.

mod bundle;
mod challenge;
mod config;
mod escape;
mod hook;
mod known_hosts;
mod names;
mod records;
mod redirect;
mod session;
mod wire;

pub use bundle::{assembled, bundle};
pub use challenge::challenge;
pub use config::config;
pub use escape::escape;
pub use hook::hook;
pub use known_hosts::known_hosts;
pub use names::names;
pub use records::{journal, records, state_of};
pub use redirect::redirect;
pub use session::session;
pub use wire::{banner, frame, reply, request};

use std::fmt::Display;
use std::path::{Component, Path};

/// Takes any bytes; panics when what must hold does not.
pub type Property = fn(&[u8]);

/// Every property under the name of its target and of its folder in `seeds/`.
pub const PROPERTIES: &[(&str, Property)] = &[
    ("escape", escape),
    ("names", names),
    ("challenge", challenge),
    ("banner", banner),
    ("frame", frame),
    ("request", request),
    ("reply", reply),
    ("bundle", bundle),
    ("assembled", assembled),
    ("config", config),
    ("known_hosts", known_hosts),
    ("redirect", redirect),
    ("hook", hook),
    ("journal", journal),
    ("records", records),
    ("session", session),
];

/// No terminal obeys it, and no line of it reads in another order than it has: Unicode's `Cc` and `Bidi_Control` (UAX 9),
/// and what ends a line.
fn is_inert(text: &str) -> bool {
    let obeyed = |c: char| u32::from(c) < 0x20 || (0x7f..0xa0).contains(&u32::from(c));
    let reorders =
        |c: char| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !text.chars().any(|c| obeyed(c) || reorders(c) || matches!(c, '\u{2028}' | '\u{2029}'))
}

/// A message about foreign text: inert, one line, not long.
#[track_caller]
fn is_a_message(error: &impl Display) {
    let text = error.to_string();
    assert!(!text.is_empty() && is_inert(&text), "not inert: {text:?}");
    // Each foreign text in it has at most 400 characters, of which each is at most ten when escaped.
    assert!(text.chars().count() < 10_000, "too long: {} characters", text.chars().count());
}

/// A text that as a path is one component below any directory, and as an argument no option.
#[track_caller]
fn is_a_file_name(text: &str) {
    let mut components = Path::new(text).components();
    assert!(matches!(components.next(), Some(Component::Normal(name)) if name == text), "{text:?}");
    assert!(components.next().is_none() && text.len() <= 255 && !text.starts_with('-'), "{text:?}");
    assert!(!text.contains(['/', '\0']) && is_inert(text), "{text:?}");
}
