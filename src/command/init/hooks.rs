//! `init --install-hooks`: a lineage that certbot has already is renewed by certcast's hooks from now on.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::command::report;
use crate::model::certificate::Leaf;
use crate::model::config::Config;
use crate::model::deadline::Deadline;
use crate::model::escape::escaped;
use crate::model::names::{Identifier, LineageName};
use crate::primary::own_program;
use crate::primary::renewal_conf::{self, Hooks};
use crate::sys::atomic::{self, Attributes};
use crate::sys::bounded;
use crate::sys::process::Run;

const FILE_AT_MOST: u64 = 1024 * 1024;
const KEPT_AT_MOST: u32 = 20;
/// The CA has its time, and so has the proof.
const DRY_RUN: Duration = Duration::from_secs(900);

/// Changes the renewal configuration and has certbot try it; what does not stand the trial is taken back. The old one stays
/// beside it. Killed during the trial, it leaves the change, and the next call tries that.
pub fn install(config: &Config, config_path: &Path, lineage: &LineageName) -> Result<()> {
    let call = own_program::call(config_path)?;
    let tree = &config.node.letsencrypt;
    let path = renewal_conf::path(tree, lineage.as_str());
    let old = match bounded::read_bounded(&path, FILE_AT_MOST) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("certbot has no {}: `certbot certificates` shows what it has", path.display())
        }
        text => String::from_utf8_lossy(&text?).into_owned(),
    };
    refuse_wildcards(&tree.join("live").join(lineage.as_str()).join("cert.pem"), &call)?;
    if !config.deploy.wants(lineage) {
        warn_of_unwanted(lineage);
    }
    let changed = match renewal_conf::with_hooks(&old, &call) {
        Hooks::Wanted(changed) => changed,
        Hooks::NoParameters => bail!("{} has no [renewalparams]: `certbot certificates` says more", path.display()),
        Hooks::There => {
            report::line(&format!("{} has the hooks already", path.display()));
            return try_renewal(tree, lineage);
        }
    };
    let backup = keep(&path, &old)?;
    atomic::rewrite(&path, changed.text.as_bytes())?;
    report::line(&format!("changed {}; what it was is in {}", path.display(), backup.display()));
    if let Some(hook) = changed.replaced {
        report::warn(&format!(
            "its own deploy hook is called no more: {}; what it did for services here, [[service]] does now",
            escaped(&hook)
        ));
    }
    if let Err(error) = try_renewal(tree, lineage) {
        atomic::rewrite(&path, old.as_bytes()).context("cannot take the change back")?;
        return Err(error.context(format!("{} is as it was before", path.display())));
    }
    report::line(&format!("{lineage} is renewed by certcast's hooks from now on; send it with 'certcast resync'"));
    Ok(())
}

/// Says that no node gets a lineage.
pub fn warn_of_unwanted(lineage: &LineageName) {
    report::warn(&format!("{lineage} is not rolled out yet: add it to deploy.lineages"));
}

/// Keeps the text beside its file, and nothing that was kept before is lost by it. certbot reads what ends in .conf and
/// nothing else there.
fn keep(path: &Path, text: &str) -> Result<PathBuf> {
    for count in 1..=KEPT_AT_MOST {
        let name = if count == 1 { "conf.before-certcast".to_owned() } else { format!("conf.before-certcast.{count}") };
        let backup = path.with_extension(name);
        match bounded::read_bounded(&backup, FILE_AT_MOST) {
            Ok(kept) if kept == text.as_bytes() => return Ok(backup),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {
                atomic::replace_path(&backup, text.as_bytes(), &Attributes::of(path))?;
                return Ok(backup);
            }
            Err(error) => return Err(error.into()),
        }
    }
    let all = format!("{}.before-certcast*", path.display());
    bail!("{KEPT_AT_MOST} copies of it are kept already: remove what nobody needs of {all}")
}

/// HTTP-01 cannot validate them (RFC 8555 section 8.3).
fn refuse_wildcards(cert: &Path, call: &str) -> Result<()> {
    let text = bounded::read_bounded(cert, FILE_AT_MOST)?;
    let leaf =
        Leaf::read(&String::from_utf8_lossy(&text)).with_context(|| format!("{} cannot be read", cert.display()))?;
    if let Some(name) = leaf.names.iter().find(|name| Identifier::is_wildcard(name)) {
        bail!(
            "its certificate is for {name}, which only DNS-01 validates: keep its renewal, and let its deploy hook be '{call} deploy'"
        );
    }
    Ok(())
}

fn try_renewal(tree: &Path, lineage: &LineageName) -> Result<()> {
    report::line("trying it with the CA's staging server, which may take a minute");
    let tree = tree.to_string_lossy();
    let words = [
        "certbot",
        "renew",
        "--config-dir",
        &tree,
        "--cert-name",
        lineage.as_str(),
        "--dry-run",
        "--no-random-sleep-on-renew",
    ];
    let argv = words.map(str::to_owned);
    Ok(Run::new(&argv, Deadline::after(DRY_RUN)).succeed().map(drop)?)
}
