//! Where this program is, for certbot, which calls it.

use std::path::Path;

/// Where a package has it.
const PACKAGED: &str = "/usr/bin/certcast";
/// Where a person puts it.
const PLACED: &str = "/usr/local/bin/certcast";

/// The path that hooks are to have.
pub fn path() -> &'static str {
    let is_packaged = std::env::current_exe().is_ok_and(|own| own == Path::new(PACKAGED));
    if is_packaged { PACKAGED } else { PLACED }
}

/// A hook that calls one of its verbs.
pub fn hook(verb: &str) -> String {
    format!("{} {verb}", path())
}
