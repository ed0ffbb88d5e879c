//! Where this program is, for certbot, which calls it.

use std::path::Path;

use anyhow::{Result, bail};

use crate::model::config;
use crate::model::escape::escaped;

/// Where a package has it.
const PACKAGED: &str = "/usr/bin/certcast";
/// Where a person puts it.
const PLACED: &str = "/usr/local/bin/certcast";

/// The path that hooks are to have.
pub fn path() -> &'static str {
    let is_packaged = std::env::current_exe().is_ok_and(|own| own == Path::new(PACKAGED));
    if is_packaged { PACKAGED } else { PLACED }
}

/// How hooks call it, but for the verb: with its configuration, where that is not at its usual place.
pub fn call(config_path: &Path) -> Result<String> {
    if config_path == Path::new(config::DEFAULT_PATH) {
        return Ok(path().to_owned());
    }
    let config = std::path::absolute(config_path)?;
    let config = config.to_string_lossy();
    // certbot keeps a hook in a file of its own, where commas, quotes and percent signs mean something.
    if !config.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte)) {
        bail!("{} cannot be written in a hook: give the file another path", escaped(&config));
    }
    Ok(format!("{} --config {config}", path()))
}

/// A hook that calls one of its verbs.
pub fn hook(config_path: &Path, verb: &str) -> Result<String> {
    Ok(format!("{} {verb}", call(config_path)?))
}
