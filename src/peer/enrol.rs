//! What makes a server a peer: a configuration of what is found here, and one restricted line in `authorized_keys`. What is
//! there already stays; done twice, the second time changes nothing.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::unistd::{User, geteuid};

use crate::model::config::Config;
use crate::model::public_key::PublicKey;
use crate::peer::found;
use crate::sys::atomic::{self, Attributes};
use crate::sys::{addresses, bounded};
use crate::wire::enrolment::{Enrolled, Enrolment};

/// What the key may call.
const RECEIVE: &str = "/usr/local/bin/certcast receive --role deploy";
const KEYS_AT_MOST: u64 = 4 * 1024 * 1024;

/// Does it, for the user that this runs as.
pub fn enrol(config: &Path, request: &Enrolment) -> Result<Enrolled> {
    let home = User::from_uid(geteuid())?.context("this user is not in the user database: where is its .ssh?")?.dir;
    let mut enrolled = Enrolled { addresses: addresses::global()?, ..Enrolled::default() };
    configure(config, request, &mut enrolled)?;
    let_in(&home.join(".ssh/authorized_keys"), request, &mut enrolled)?;
    Ok(enrolled)
}

fn configure(path: &Path, request: &Enrolment, enrolled: &mut Enrolled) -> Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        known => {
            known.with_context(|| format!("cannot look at {}", path.display()))?;
            crate::model::config::load(path)?;
            return Ok(());
        }
    }
    let found = found::here(&request.name, "");
    Config::parse(&found.text, path).context("the configuration for what was found here is not right")?;
    enrolled.done.push(format!("wrote {}: {}", path.display(), found.summary));
    enrolled.notes.extend(found.notes);
    if !request.dry_run {
        make_directory(path.parent().unwrap_or(Path::new("/")))?;
        atomic::replace_path(path, found.text.as_bytes(), &Attributes { mode: 0o600, owner: None })?;
    }
    Ok(())
}

fn let_in(path: &PathBuf, request: &Enrolment, enrolled: &mut Enrolled) -> Result<()> {
    let old = match bounded::read_bounded(path, KEYS_AT_MOST) {
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        text => text?,
    };
    let line = line(&request.key);
    match standing(&String::from_utf8_lossy(&old), &request.key, &line) {
        Standing::There => return Ok(()),
        Standing::Otherwise(number) => bail!(
            "{} has this key already, in line {number}, and not as '{RECEIVE}': remove that line, or keep it and set the \
             peer up by hand",
            path.display()
        ),
        Standing::Absent => {}
    }
    enrolled.done.push(format!("let the primary's key call '{RECEIVE}' and nothing else: {}", path.display()));
    if request.dry_run {
        return Ok(());
    }
    let directory = path.parent().unwrap_or(Path::new("/"));
    make_directory(directory)?;
    let attributes = match fs::metadata(path) {
        Ok(metadata) => Attributes { mode: metadata.mode() & 0o7777, owner: Some((metadata.uid(), metadata.gid())) },
        Err(_) => Attributes { mode: 0o600, owner: None },
    };
    // A last line without its end would make one line of two.
    let end = if old.is_empty() || old.ends_with(b"\n") { "" } else { "\n" };
    let text = [&old[..], end.as_bytes(), line.as_bytes(), b"\n"].concat();
    // It may be a link, to a place that somebody keeps.
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
    Ok(atomic::replace_path(&real, &text, &attributes)?)
}

fn line(key: &PublicKey) -> String {
    format!("restrict,command=\"{RECEIVE}\" {key} certcast")
}

/// How `authorized_keys` has a key.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    Absent,
    There,
    Otherwise(usize),
}

fn standing(text: &str, key: &PublicKey, wanted: &str) -> Standing {
    let about =
        |line: &str| !line.trim_start().starts_with('#') && line.split_whitespace().any(|word| word == key.base64());
    let with_key: Vec<_> = text.lines().enumerate().filter(|(_, line)| about(line)).collect();
    // sshd takes the first line that has the key.
    match with_key.first() {
        None => Standing::Absent,
        Some((_, line)) if line.trim_end() == wanted => Standing::There,
        Some((at, _)) => Standing::Otherwise(at + 1),
    }
}

fn make_directory(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(io::Error::new(error.kind(), format!("cannot make {}: {error}", path.display())))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_let_in_once_and_one_that_may_do_more_is_not_passed_over() {
        let base64 = "AAAAC3NzaC1lZDI1NTE5AAAAIFNpfP8qPEN4ZU0lXyMpCk0l9y7nn0kOrJ0wXUVaYdBl";
        let key: PublicKey = format!("ssh-ed25519 {base64}").parse().unwrap();
        let wanted = line(&key);
        let of = |text: &str| standing(text, &key, &wanted);
        assert_eq!(of(""), Standing::Absent);
        assert_eq!(of("ssh-ed25519 AAAA root@web1\n"), Standing::Absent);
        assert_eq!(of(&format!("# {wanted}\n")), Standing::Absent);
        assert_eq!(of(&format!("ssh-rsa AAAA\n{wanted}\n")), Standing::There);
        assert_eq!(of(&format!("# all of it\nssh-ed25519 {base64} root@web1\n{wanted}\n")), Standing::Otherwise(2));
        assert_eq!(of(&wanted.replace("--role", "--only a --role")), Standing::Otherwise(1));
    }
}
