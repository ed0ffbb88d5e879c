//! `init`: this server becomes a primary.

mod hooks;

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use anyhow::{Context, Result};

use crate::cli::Init;
use crate::command::failure::Failure;
use crate::command::report;
use crate::model::config::{self, Config};
use crate::model::exit_code::ExitCode;
use crate::model::names::Identifier;
use crate::model::pasteable::pasteable;
use crate::peer::found;
use crate::primary::own_key;
use crate::sys::atomic::{self, Attributes};

/// Writes a configuration and makes a key, where there is none, and says what comes next. Done twice, the second time
/// changes nothing.
pub fn run(config_path: &Path, arguments: &Init) -> Result<ExitCode, Failure> {
    match fs::symlink_metadata(config_path) {
        Err(error) if error.kind() == ErrorKind::NotFound => write(config_path, arguments)?,
        known => {
            known.with_context(|| format!("cannot look at {}", config_path.display()))?;
            report::line(&format!("{} is there, and stays as it is", config_path.display()));
        }
    }
    let config = config::load(config_path)?;
    if own_key::make(&config)? {
        report::line(&format!("made a key for certcast: {}", config.ssh.identity.display()));
    }
    match &arguments.install_hooks {
        Some(lineage) => hooks::install(&config, lineage)?,
        None => say_what_comes_next(&config, &arguments.names),
    }
    Ok(ExitCode::Done)
}

fn write(path: &Path, arguments: &Init) -> Result<()> {
    let own = Config::parse("", path).context("this host has no name that a node can have")?.node.name;
    let lineage = match (&arguments.install_hooks, arguments.names.first()) {
        (Some(lineage), _) => lineage.to_string(),
        (None, name) => name.map(ToString::to_string).unwrap_or_default(),
    };
    let lineage = toml::Value::from(lineage);
    let found = found::here(
        &own,
        &format!("\n# What leaves this server, with its private key.\n[deploy]\nlineages = [{lineage}]\n"),
    );
    Config::parse(&found.text, path).context("the configuration for what was found here is not right")?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("cannot make {}", directory.display()));
        }
        _ => {}
    }
    atomic::replace_path(path, found.text.as_bytes(), &Attributes { mode: 0o600, owner: None })?;
    report::line(&format!("wrote {}: {}", path.display(), found.summary));
    found.notes.iter().for_each(|note| report::warn(note));
    Ok(())
}

fn say_what_comes_next(config: &Config, names: &[Identifier]) {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut certbot: Vec<String> =
        ["certbot", "certonly", "--manual", "--preferred-challenges", "http"].map(str::to_owned).into();
    for hook in ["manual-auth", "manual-cleanup", "deploy"] {
        let verb = hook.rsplit('-').next().unwrap_or_default();
        certbot.extend([format!("--{hook}-hook"), format!("/usr/local/bin/certcast {verb}")]);
    }
    certbot.extend(names.iter().flat_map(|name| ["-d".to_owned(), name.clone()]));
    report::line("next:");
    if config.peers.is_empty() {
        report::line("  certcast peer add root@HOST        # for each other server");
    }
    report::line(&format!("  certcast rehearse {}", pasteable(&names)));
    report::line(&format!("  {}", pasteable(&certbot)));
}
