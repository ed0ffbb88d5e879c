//! The key with which the primary comes to its peers: made, and its public half.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::model::deadline::Deadline;
use crate::model::pasteable::pasteable;
use crate::model::public_key::PublicKey;
use crate::sys::process::Run;

const KEYGEN: Duration = Duration::from_secs(30);

/// Makes one without a passphrase, for hooks run unattended. One that is there is never written over.
pub fn make(identity: &Path) -> Result<()> {
    keygen(&["-q", "-t", "ed25519", "-N", "", "-C", "certcast", "-f", &identity.to_string_lossy()]).map(drop)
}

/// The public half.
pub fn public(identity: &Path) -> Result<PublicKey> {
    let said = keygen(&["-y", "-P", "", "-f", &identity.to_string_lossy()])?;
    said.parse().with_context(|| format!("{} cannot be read by ssh-keygen", identity.display()))
}

/// Asked whether to write over a file that is there, it reads the end of its input, and leaves it.
fn keygen(words: &[&str]) -> Result<String> {
    let argv: Vec<String> = ["ssh-keygen"].iter().chain(words).map(|&word| word.to_owned()).collect();
    let finished = Run::new(&argv, Deadline::after(KEYGEN)).run()?;
    if !finished.status.success() {
        bail!("`{}` failed: {}", pasteable(&argv), finished.output.trim());
    }
    Ok(finished.output)
}
