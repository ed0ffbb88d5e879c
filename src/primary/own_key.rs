//! The key with which the primary comes to its peers: made, and its public half.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::model::config::{Config, Transport};
use crate::model::deadline::Deadline;
use crate::model::public_key::PublicKey;
use crate::sys::bounded;
use crate::sys::process::Run;

const KEYGEN: Duration = Duration::from_secs(30);
const KEY_AT_MOST: u64 = 64 * 1024;

/// Makes one without a passphrase, for hooks run unattended, where there is none; says whether it did.
///
/// Not where peers let another in already: an agent may stand in for it, or it is lost.
pub fn make(config: &Config) -> Result<bool> {
    let identity = &config.ssh.identity;
    if identity.try_exists()? {
        return Ok(false);
    }
    if config.peers.iter().any(|peer| peer.transport == Transport::Ssh2) {
        bail!("{} is not there, and peers let another key in already: restore it", identity.display());
    }
    keygen(&["-q", "-t", "ed25519", "-N", "", "-C", "certcast", "-f", &identity.to_string_lossy()]).map(|_| true)
}

/// The public half.
pub fn public(identity: &Path) -> Result<PublicKey> {
    // One with a passphrase is used by an agent, and its public half is beside it.
    let said = keygen(&["-y", "-P", "", "-f", &identity.to_string_lossy()]).or_else(|error| {
        let mut beside = identity.as_os_str().to_owned();
        beside.push(".pub");
        let beside = Path::new(&beside);
        let text = bounded::read_bounded(beside, KEY_AT_MOST).map_err(|_| error)?;
        anyhow::Ok(String::from_utf8_lossy(&text).into_owned())
    })?;
    said.parse().with_context(|| format!("{} cannot be read by ssh-keygen", identity.display()))
}

/// Asked whether to write over a file that is there, it reads the end of its input, and leaves it.
fn keygen(words: &[&str]) -> Result<String> {
    let argv: Vec<String> = ["ssh-keygen"].iter().chain(words).map(|&word| word.to_owned()).collect();
    let finished = Run::new(&argv, Deadline::after(KEYGEN)).succeed()?;
    Ok(String::from_utf8_lossy(&finished.raw).into_owned())
}
