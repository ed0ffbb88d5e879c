//! `authorized_keys` of the user that this runs as: the one line with which the primary is let in.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::unistd::{User, geteuid};

use crate::model::call::calls;
use crate::model::public_key::PublicKey;
use crate::sys::atomic::{self, Attributes};
use crate::sys::bounded;
use crate::sys::dir::make_private;

/// What the key may call.
pub const RECEIVE: &str = "/usr/local/bin/certcast receive --role deploy";
const COMMENT: &[u8] = b" certcast\n";
const FILE_AT_MOST: u64 = 4 * 1024 * 1024;

/// The file and what it holds.
pub struct AuthorizedKeys {
    path: PathBuf,
    text: Vec<u8>,
    /// What a key is let in for.
    call: String,
    /// The mode of a new one.
    mode: u32,
}

impl AuthorizedKeys {
    /// Reads the one of the user that this runs as; empty where there is none.
    pub fn read() -> Result<AuthorizedKeys> {
        let user = User::from_uid(geteuid())?.context("this user is not in the user database: where is its .ssh?")?;
        AuthorizedKeys::at(user.dir.join(".ssh/authorized_keys"), RECEIVE.to_owned(), 0o600)
    }

    /// Reads another user's, which is root's file: he may read it, and sshd does so as him.
    pub fn of_login(path: PathBuf, call: String) -> Result<AuthorizedKeys> {
        AuthorizedKeys::at(path, call, 0o644)
    }

    fn at(path: PathBuf, call: String, mode: u32) -> Result<AuthorizedKeys> {
        let text = match bounded::read_bounded(&path, FILE_AT_MOST) {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            text => text?,
        };
        Ok(AuthorizedKeys { path, text, call, mode })
    }

    /// What a key is let in for.
    pub fn call(&self) -> &str {
        &self.call
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The text with which a key is let in for `receive` alone; none where it is already.
    pub fn letting_in(&self, key: &PublicKey) -> Result<Option<Vec<u8>>> {
        let line = line(&self.call, key);
        match standing(&String::from_utf8_lossy(&self.text), key, &line) {
            Standing::There => Ok(None),
            Standing::Otherwise(number) => bail!(
                "{} has this key already, in line {number}, and not as 'restrict,command=\"{}\"': if it may do more, \
                 remove that line; if it is meant so, set the peer up by hand",
                self.path.display(),
                self.call
            ),
            // A last line without its end would make one line of two.
            Standing::Absent if self.text.is_empty() || self.text.ends_with(b"\n") => {
                Ok(Some([&self.text[..], line.as_bytes(), COMMENT].concat()))
            }
            Standing::Absent => Ok(Some([&self.text[..], b"\n", line.as_bytes(), COMMENT].concat())),
        }
    }

    /// The text without the lines that let a key in for a role of certcast's; none where there is no such line.
    pub fn shutting_out(&self, key: &PublicKey) -> Option<Vec<u8>> {
        let is_ours = |line: &&[u8]| {
            let line = String::from_utf8_lossy(line);
            has(&line, key) && calls(&line, "receive")
        };
        let lines: Vec<&[u8]> = self.text.split_inclusive(|byte| *byte == b'\n').collect();
        let kept: Vec<&[u8]> = lines.iter().copied().filter(|line| !is_ours(line)).collect();
        (kept.len() < lines.len()).then(|| kept.concat())
    }

    /// Whether another key is let in for a role of certcast's.
    pub fn has_others(&self, than: &PublicKey) -> bool {
        let text = String::from_utf8_lossy(&self.text);
        text.lines().any(|line| lets_in(line) && !has(line, than))
    }

    /// Puts another text in its place, with its owner and mode.
    pub fn write(&self, text: &[u8]) -> Result<()> {
        make_private(self.path.parent().unwrap_or(Path::new("/")))?;
        let attributes = match self.path.try_exists() {
            Ok(false) => Attributes { mode: self.mode, owner: None },
            _ => return Ok(atomic::rewrite(&self.path, text)?),
        };
        Ok(atomic::replace_path(&self.path, text, &attributes)?)
    }

    /// Whether other users' keys, or a sudo rule, are for a role of certcast's: another primary comes by them.
    pub fn others_come(&self) -> Result<bool> {
        let users = bounded::read_bounded(Path::new("/etc/passwd"), FILE_AT_MOST).context("cannot read the users")?;
        let home = |line: &str| Some(Path::new(line.split(':').nth(5)?).join(".ssh/authorized_keys"));
        let mut files: Vec<PathBuf> = String::from_utf8_lossy(&users).lines().filter_map(home).collect();
        files.retain(|path| *path != self.path);
        files.extend(fs::read_dir("/etc/sudoers.d").into_iter().flatten().flatten().map(|entry| entry.path()));
        let has_any = |path: &PathBuf| {
            let text = bounded::read_bounded(path, FILE_AT_MOST).unwrap_or_default();
            String::from_utf8_lossy(&text).lines().any(lets_in)
        };
        Ok(files.iter().any(has_any))
    }
}

fn line(call: &str, key: &PublicKey) -> String {
    format!("restrict,command=\"{call}\" {key}")
}

/// Whether a line is for a role of certcast's.
fn lets_in(line: &str) -> bool {
    !line.trim_start().starts_with('#') && calls(line, "receive")
}

fn has(line: &str, key: &PublicKey) -> bool {
    !line.trim_start().starts_with('#') && line.split_whitespace().any(|word| word == key.base64())
}

/// How the file has a key.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    Absent,
    There,
    Otherwise(usize),
}

fn standing(text: &str, key: &PublicKey, wanted: &str) -> Standing {
    // sshd takes the first line that has the key.
    match text.lines().enumerate().find(|(_, line)| has(line, key)) {
        None => Standing::Absent,
        // Whatever the comment behind it is.
        Some((_, line)) if line.trim_start().starts_with(wanted) => Standing::There,
        Some((at, _)) => Standing::Otherwise(at + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE64: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIFNpfP8qPEN4ZU0lXyMpCk0l9y7nn0kOrJ0wXUVaYdBl";

    fn key() -> PublicKey {
        format!("ssh-ed25519 {BASE64}").parse().unwrap()
    }

    fn keys_of(text: Vec<u8>) -> AuthorizedKeys {
        AuthorizedKeys { path: "/nowhere".into(), text, call: RECEIVE.into(), mode: 0o600 }
    }

    #[test]
    fn a_key_is_let_in_once_and_one_that_may_do_more_is_not_passed_over() {
        let wanted = line(RECEIVE, &key());
        let of = |text: &str| standing(text, &key(), &wanted);
        assert_eq!(of(""), Standing::Absent);
        assert_eq!(of("ssh-ed25519 AAAA root@web1\n"), Standing::Absent);
        assert_eq!(of(&format!("# {wanted}\n")), Standing::Absent);
        assert_eq!(of(&format!("ssh-rsa AAAA\n{wanted} root@web1\n")), Standing::There);
        assert_eq!(of(&format!("# all of it\nssh-ed25519 {BASE64} root@web1\n{wanted}\n")), Standing::Otherwise(2));
        assert_eq!(of(&wanted.replace("--role", "--only a --role")), Standing::Otherwise(1));
    }

    #[test]
    fn other_lines_stay_as_they_are() {
        let keys = |text: &str| keys_of(text.as_bytes().to_vec());
        let own = "ssh-rsa AAAA me\nssh-ed25519 BBBB you";
        let with = keys(own).letting_in(&key()).unwrap().unwrap();
        assert_eq!(with, format!("{own}\n{} certcast\n", line(RECEIVE, &key())).into_bytes());
        let whole = keys("ssh-rsa AAAA me\n").letting_in(&key()).unwrap().unwrap();
        assert_eq!(
            whole,
            format!("ssh-rsa AAAA me\n{} certcast\n", line(RECEIVE, &key())).into_bytes(),
            "no line between"
        );
        assert_eq!(
            keys("").letting_in(&key()).unwrap().unwrap(),
            format!("{} certcast\n", line(RECEIVE, &key())).into_bytes()
        );
        let with = keys_of(with);
        assert_eq!(with.letting_in(&key()).unwrap(), None);
        assert_eq!(with.shutting_out(&key()).unwrap(), format!("{own}\n").into_bytes());
        assert_eq!(keys(&format!("ssh-ed25519 {BASE64} my own\n")).shutting_out(&key()), None);
    }

    #[test]
    fn a_file_that_is_not_there_holds_nothing_and_one_that_cannot_be_read_is_an_error() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(AuthorizedKeys::of_login(home.path().join("authorized_keys"), RECEIVE.into()).unwrap().text, b"");
        assert!(
            AuthorizedKeys::of_login(home.path().to_owned(), RECEIVE.into()).is_err(),
            "its keys would be written over"
        );
    }
}
