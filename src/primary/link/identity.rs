//! The private key, or the agent that stands in for it.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use zeroize::Zeroizing;

use super::error::LinkError;
use super::known_hosts::{self, KnownHosts};
use crate::model::exposure::Exposure;

const KEY_AT_MOST: u64 = 64 * 1024;

/// With what to authenticate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// This unencrypted private key.
    File(PathBuf),
    /// Whatever the agent at this socket holds.
    Agent(PathBuf),
}

/// The configured key if it can be used; the agent, if there is one, for a key that is not here or is encrypted.
pub fn choose(identity: &Path, agent: Option<&Path>) -> Result<Credential, LinkError> {
    let path = || identity.to_owned();
    let unreadable = |source| LinkError::IdentityUnreadable { path: path(), source };
    let from_agent = |otherwise: LinkError| agent.map(|a| Credential::Agent(a.to_owned())).ok_or(otherwise);
    let mut file = match open(identity) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return from_agent(LinkError::IdentityMissing { path: path() });
        }
        Err(error) => return Err(unreadable(error)),
    };
    let metadata = checked(&file).map_err(unreadable)?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(LinkError::IdentityOpenToOthers { path: path(), mode });
    }
    refuse_exposed(identity, &metadata)?;
    // Reserved at once: a growing vector would leave unwiped copies of a key behind.
    let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(KEY_AT_MOST).unwrap_or_default() + 1));
    Read::by_ref(&mut file).take(KEY_AT_MOST).read_to_end(&mut content).map_err(unreadable)?;
    if is_encrypted(&content) {
        return from_agent(LinkError::IdentityEncrypted { path: path() });
    }
    Ok(Credential::File(path()))
}

/// The known hosts; none if the file does not exist, which then is what the refusal names.
pub fn read_known_hosts(path: &Path) -> Result<KnownHosts, LinkError> {
    let unreadable = |source| LinkError::KnownHosts { path: path.to_owned(), source };
    let file = match open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(KnownHosts::default()),
        Err(error) => return Err(unreadable(error)),
    };
    refuse_exposed(path, &checked(&file).map_err(unreadable)?)?;
    let mut text = Vec::new();
    let length = file.take(known_hosts::FILE_AT_MOST + 1).read_to_end(&mut text).map_err(unreadable)?;
    if length as u64 > known_hosts::FILE_AT_MOST {
        // Not cut: the missing end might hold a @revoked line.
        return Err(unreadable(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 4 MiB")));
    }
    Ok(KnownHosts::parse(&text))
}

/// Never waits, not even for a FIFO's writer.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)
}

/// What is known of what is open, which must be a file: a FIFO or a device would never end.
fn checked(file: &File) -> io::Result<Metadata> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Ok(metadata)
}

fn refuse_exposed(path: &Path, metadata: &Metadata) -> Result<(), LinkError> {
    let refused = |exposure| Err(LinkError::Exposed { path: path.to_owned(), exposure });
    Exposure::of(metadata).map_or(Ok(()), refused)
}

/// Whether a passphrase protects the key: OpenSSH's own format names its cipher, the PEM formats say so in words.
fn is_encrypted(content: &[u8]) -> bool {
    const MAGIC: &[u8] = b"openssh-key-v1\0";
    let text = String::from_utf8_lossy(content);
    let Some((_, body)) = text.split_once("-----BEGIN OPENSSH PRIVATE KEY-----") else {
        return text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED");
    };
    // Twenty-four characters hold the magic and the length, the next the cipher's name: "none" or not.
    let start: String = body.chars().filter(|c| !c.is_whitespace()).take(64).collect();
    let header = known_hosts::decoded(&start).unwrap_or_default();
    header.strip_prefix(MAGIC).is_some_and(|rest| known_hosts::kind_of(rest) != Some("none"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::process::Command;

    fn keygen(path: &Path, arguments: &[&str]) {
        let made = Command::new("ssh-keygen").args(["-q", "-f"]).arg(path).args(arguments).status().unwrap();
        assert!(made.success());
    }

    #[test]
    fn a_plain_key_is_taken_and_an_encrypted_or_missing_one_needs_an_agent() {
        let dir = tempfile::tempdir().unwrap();
        let agent = Path::new("/agent");
        for (name, format, kind) in [("new", "RFC4716", "ed25519"), ("pem", "PEM", "rsa"), ("pkcs8", "PKCS8", "rsa")] {
            let plain = dir.path().join(name);
            keygen(&plain, &["-N", "", "-m", format, "-t", kind]);
            assert_eq!(choose(&plain, Some(agent)).unwrap(), Credential::File(plain), "{name}");
            let locked = dir.path().join(format!("{name}-locked"));
            keygen(&locked, &["-N", "a passphrase", "-m", format, "-t", kind]);
            assert!(matches!(choose(&locked, None), Err(LinkError::IdentityEncrypted { .. })), "{name}");
            assert_eq!(choose(&locked, Some(agent)).unwrap(), Credential::Agent(agent.to_owned()), "{name}");
        }
        let missing = dir.path().join("missing");
        assert!(matches!(choose(&missing, None), Err(LinkError::IdentityMissing { .. })));
        assert_eq!(choose(&missing, Some(agent)).unwrap(), Credential::Agent(agent.to_owned()));
    }

    #[test]
    fn a_key_that_others_may_read_is_refused_even_with_an_agent() {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("key");
        keygen(&key, &["-N", "", "-t", "ed25519"]);
        for mode in [0o644, 0o640, 0o601] {
            fs::set_permissions(&key, Permissions::from_mode(mode)).unwrap();
            let error = choose(&key, Some(Path::new("/agent"))).unwrap_err();
            assert!(error.to_string().contains(&format!("{mode:04o}")), "{error}");
            assert!(error.hint().unwrap().starts_with("chmod 600 "));
        }
    }

    #[test]
    fn known_hosts_that_others_may_write_or_that_are_too_large_are_refused_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("known_hosts");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        let open = read_known_hosts(&path).err().filter(|error| matches!(error, LinkError::Exposed { .. }));
        assert!(open.unwrap().hint().unwrap().starts_with("chmod go-w "));
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert!(read_known_hosts(&path).is_ok());
        File::options().write(true).open(&path).unwrap().set_len(known_hosts::FILE_AT_MOST + 1).unwrap();
        assert!(matches!(read_known_hosts(&path), Err(LinkError::KnownHosts { .. })));
        assert!(matches!(read_known_hosts(dir.path()), Err(LinkError::KnownHosts { .. })));
    }
}
