//! The host key of a server that is to become a peer. Nothing is trusted on first use: a person says that it is right.

use std::io::{self, BufRead, IsTerminal, Read};
use std::time::Duration;

use anyhow::{Result, anyhow, bail};

use crate::cli::PeerAdd;
use crate::command::report;
use crate::model::config::Config;
use crate::model::deadline::Deadline;
use crate::primary::link::known_hosts::{FILE_AT_MOST, KnownHosts, lookup_name};
use crate::primary::link::{self, Destination, LinkError, OfferedKey, Route};
use crate::sys::bounded;

const LOOK: Duration = Duration::from_secs(30);

/// The key that the server shows and somebody confirmed, unless one is pinned already. One that is another than the pinned
/// one, or than the one that was given, is an error.
pub fn unknown(config: &Config, to: &Destination, arguments: &PeerAdd) -> Result<Option<OfferedKey>> {
    let (identity, known_hosts) = (&config.ssh.identity, &config.ssh.known_hosts);
    let route = Route::Ssh2 { to, identity, known_hosts, connect_timeout: config.ssh.connect_timeout };
    match link::open(&route, Deadline::after(LOOK)) {
        // Whether the key is let in already, or not yet, its host key was believed.
        Ok(_) | Err(LinkError::Authentication { .. }) => {
            let host = lookup_name(&to.host, to.port.unwrap_or(22));
            let pinned = KnownHosts::parse(&bounded::read_bounded(known_hosts, FILE_AT_MOST)?).fingerprints(&host);
            match &arguments.host_key {
                Some(wanted) if !pinned.contains(wanted) => {
                    bail!("{host} is pinned with {}, not {wanted}: nothing was changed", pinned.join(", "))
                }
                _ => Ok(None),
            }
        }
        Err(LinkError::HostKeyUnknown(offered)) => {
            confirm(&offered, arguments)?;
            Ok(Some(*offered))
        }
        Err(error) => {
            let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
            Err(anyhow!("{:#}{hint}", anyhow::Error::from(error)))
        }
    }
}

/// A person says that this is the server, here or on the command line.
fn confirm(offered: &OfferedKey, arguments: &PeerAdd) -> Result<()> {
    let OfferedKey { host, kind, fingerprint, .. } = offered;
    let look = format!("ssh-keygen -lf {}", link::host_key_file(kind));
    match &arguments.host_key {
        Some(wanted) if wanted == fingerprint => return Ok(()),
        Some(wanted) => bail!("{host} shows the host key {fingerprint} ({kind}), not {wanted}: nothing was changed"),
        None if arguments.dry_run => return Ok(()),
        None if !io::stdin().is_terminal() => bail!(
            "{host} shows the host key {fingerprint} ({kind}): if `{look}` on the server itself says the same, give --host-key {fingerprint}"
        ),
        None => {}
    }
    report::line(&format!(
        "{host} shows the host key {fingerprint} ({kind}). On the server itself `{look}` shows its own."
    ));
    report::line("Is it the same? Type 'yes':");
    let mut answer = String::new();
    io::stdin().lock().take(100).read_line(&mut answer)?;
    if answer.trim() != "yes" {
        bail!("not confirmed: nothing was changed");
    }
    Ok(())
}
