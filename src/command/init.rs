//! `init`: this server becomes a primary.

mod hooks;

use std::path::Path;

use anyhow::{Context, Result};

use crate::cli::Init;
use crate::command::failure::Failure;
use crate::command::{rehearse, report};
use crate::model::config::{self, Config};
use crate::model::exit_code::ExitCode;
use crate::model::names::Identifier;
use crate::model::pasteable::pasteable;
use crate::peer::found;
use crate::primary::{own_key, own_program, renewal_conf};

/// Writes a configuration and makes a key, where there is none, and says what comes next. Done twice, the second time
/// changes nothing.
pub fn run(config_path: &Path, arguments: &Init) -> Result<ExitCode, Failure> {
    rehearse::refuse_wildcards(&arguments.names)?;
    write(config_path, arguments)?;
    let config = config::load(config_path)?;
    if own_key::make(&config)? {
        report::line(&format!("made a key for certcast: {}", config.ssh.identity.display()));
    }
    match &arguments.install_hooks {
        Some(lineage) => hooks::install(&config, config_path, lineage)?,
        None => say_what_comes_next(&config, config_path, &arguments.names)?,
    }
    Ok(ExitCode::Done)
}

fn write(path: &Path, arguments: &Init) -> Result<()> {
    if found::is_there(path)? {
        report::line(&format!("{} is there, and stays as it is", path.display()));
        if config::load(path)?.deploy.is_everything() {
            report::warn("every lineage here is sent to every peer, with its key; to limit that, set deploy.lineages");
        }
        return Ok(());
    }
    let own = Config::parse("", path).context("this host has no name that a node can have")?.node.name;
    let lineage = match (&arguments.install_hooks, arguments.names.first()) {
        (Some(lineage), _) => lineage.to_string(),
        (None, name) => name.map(ToString::to_string).unwrap_or_default(),
    };
    let lineage = toml::Value::from(lineage);
    let deploy = format!("\n# What leaves this server, with its private key.\n[deploy]\nlineages = [{lineage}]\n");
    if let Some(found) = found::configure(path, &own, &deploy, false)? {
        report::line(&format!("wrote {}: {}", path.display(), found.summary));
        found.notes.iter().for_each(|note| report::warn(note));
    }
    Ok(())
}

fn say_what_comes_next(config: &Config, config_path: &Path, names: &[Identifier]) -> Result<()> {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let lineage = names.first().and_then(|name| name.parse().ok());
    if let Some(lineage) = lineage.filter(|lineage| !config.deploy.wants(lineage)) {
        hooks::warn_of_unwanted(&lineage);
    }
    let mut certbot: Vec<String> =
        ["certbot", "certonly", "--manual", "--preferred-challenges", "http"].map(str::to_owned).into();
    for hook in ["manual-auth", "manual-cleanup", "deploy"] {
        let verb = hook.rsplit('-').next().unwrap_or_default();
        certbot.extend([format!("--{hook}-hook"), own_program::hook(config_path, verb)?]);
    }
    certbot.extend(names.iter().flat_map(|name| ["-d".to_owned(), name.clone()]));
    report::line("next:");
    if config.peers.is_empty() {
        report::line("  certcast peer add root@HOST        # for each other server");
    }
    report::line(&format!("  certcast rehearse {}", pasteable(&names)));
    let lineage = names.first().map_or("", String::as_str);
    if found::is_there(&renewal_conf::path(&config.node.letsencrypt, lineage))? {
        // certbot would offer to keep what it has, and then keeps its way of renewal too.
        report::line(&format!("  {}", pasteable(&["certcast", "init", "--install-hooks", lineage])));
        report::line(&format!("  {}", pasteable(&["certcast", "resync", lineage])));
    } else {
        report::line(&format!("  {}", pasteable(&certbot)));
    }
    Ok(())
}
