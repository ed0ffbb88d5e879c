//! One at a time, kept by the kernel.
//!
//! The lock belongs to the open file and ends with its holder: at drop, at exit, at SIGKILL, at a
//! power cut. The file itself stays and means nothing, so there is no stale lock and no guess by
//! age. The process id in it is for the message only.

use super::at_path::{at_path, shown};
use crate::model::deadline::Deadline;
use nix::libc;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// The kernel wakes nobody at a deadline; so we ask again this often.
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(20);

/// A held lock, released on drop.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of this file, which is made if it is missing, or waits for it.
    ///
    /// Tries once even when the deadline has passed. A lock still held then is an error of kind
    /// `TimedOut`. Two locks of one file exclude each other within one process too.
    pub fn acquire(path: &Path, deadline: Deadline) -> io::Result<Lock> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)
            .map_err(|error| at_path("open lock", path, error))?;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(TryLockError::Error(error)) => return Err(at_path("lock", path, error)),
                Err(TryLockError::WouldBlock) if deadline.has_passed() => return Err(held(path, &file)),
                Err(TryLockError::WouldBlock) => thread::sleep(deadline.left().min(BETWEEN_ATTEMPTS)),
            }
        }
        // A full disk costs the message a number, not us the lock.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Lock { _file: file })
    }
}

fn held(path: &Path, file: &File) -> io::Error {
    let mut text = String::new();
    let read = file.take(16).read_to_string(&mut text);
    let holder = match text.trim().parse::<u32>() {
        Ok(pid) if read.is_ok() => format!("process {pid}"),
        _ => "another process".to_owned(),
    };
    io::Error::new(io::ErrorKind::TimedOut, format!("{} is still locked by {holder}", shown(path)))
}

#[cfg(test)]
mod tests {
    use super::Lock;
    use crate::model::deadline::Deadline;
    use std::io::{BufRead, BufReader, ErrorKind};
    use std::path::Path;
    use std::process::{Child, Command, Stdio};
    use std::thread;
    use std::time::Duration;

    fn soon() -> Deadline {
        Deadline::after(Duration::from_millis(60))
    }

    /// Another process that holds the lock until it is killed, as soon as this returns.
    fn holder(path: &Path) -> Child {
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "flock", "--no-fork", path.to_str().unwrap()])
            .args(["sh", "-c", "echo held; exec sleep 600"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "held\n");
        child
    }

    #[test]
    fn a_lock_of_another_process_times_out_and_ends_when_its_holder_is_killed() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("lock");
        let mut child = holder(&path);
        let refused = Lock::acquire(&path, soon());
        child.kill().unwrap();
        child.wait().unwrap();
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        Lock::acquire(&path, soon()).unwrap();
    }

    #[test]
    fn the_holder_is_named_and_drop_lets_a_waiting_one_in() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("lock");
        std::fs::write(&path, "an older and longer text").unwrap();
        let first = Lock::acquire(&path, soon()).unwrap();
        let error = Lock::acquire(&path, soon()).unwrap_err();
        assert!(error.to_string().ends_with(&format!("process {}", std::process::id())), "{error}");
        thread::scope(|scope| {
            let second = scope.spawn(|| Lock::acquire(&path, Deadline::after(Duration::from_secs(20))));
            drop(first);
            second.join().unwrap().unwrap();
        });
        assert!(path.exists(), "the file stays");
    }

    #[test]
    fn an_absent_directory_and_a_link_are_errors_with_the_path() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("absent/lock");
        assert!(Lock::acquire(&path, soon()).unwrap_err().to_string().contains("absent/lock"));
        let link = temp.path().join("link");
        std::os::unix::fs::symlink(temp.path().join("planted"), &link).unwrap();
        Lock::acquire(&link, soon()).unwrap_err();
        assert!(!temp.path().join("planted").exists());
    }
}
