//! Words on another process's standard error, for what must be heard although that process ends.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};

use nix::fcntl::OFlag;

use crate::sys::ancestry::{self, ProcessId};

/// Writes to the terminal, pipe or appended file that a process has as its standard error.
///
/// Never waits: what a full pipe does not take is lost. Fails for a socket (the journal's, where the log is too), and
/// for a file that is not appended to, whose owner would write over it.
pub fn say_for(process: &ProcessId, words: &[u8]) -> io::Result<()> {
    let unfit = |why| io::Error::new(io::ErrorKind::Unsupported, why);
    let place = format!("/proc/{}/fd/2", process.pid);
    let kind = fs::metadata(&place)?.file_type();
    if kind.is_file() && !is_appended_to(process)? {
        return Err(unfit("a file that is not appended to"));
    }
    if !(kind.is_file() || kind.is_fifo() || kind.is_char_device()) {
        return Err(unfit("neither a terminal nor a pipe nor a file"));
    }
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let mut end = OpenOptions::new().append(true).custom_flags(flags.bits()).open(place)?;
    // Opened, it cannot change hands; before that the number may have.
    if !ancestry::is_alive(process) {
        return Err(unfit("gone"));
    }
    end.write_all(words)
}

fn is_appended_to(process: &ProcessId) -> io::Result<bool> {
    let info = fs::read_to_string(format!("/proc/{}/fdinfo/2", process.pid))?;
    let flags = info.lines().find_map(|line| i32::from_str_radix(line.strip_prefix("flags:")?.trim(), 8).ok());
    Ok(flags.is_some_and(|flags| flags & OFlag::O_APPEND.bits() != 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::process::{Child, Command, Stdio};

    /// A process that waits, with this standard error, while something is done.
    fn with_waiting(stderr: Stdio, act: impl FnOnce(&mut Child, ProcessId)) -> ProcessId {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stderr(stderr).spawn().unwrap();
        let id = ancestry::process(i32::try_from(child.id()).unwrap()).unwrap();
        act(&mut child, id);
        drop(child.stdin.take());
        child.wait().unwrap();
        id
    }

    #[test]
    fn a_pipe_and_an_appended_file_take_words_and_a_plain_file_does_not() {
        with_waiting(Stdio::piped(), |child, id| {
            say_for(&id, b"why").unwrap();
            let mut heard = [0; 3];
            child.stderr.take().unwrap().read_exact(&mut heard).unwrap();
            assert_eq!(&heard, b"why");
        });
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("log");
        fs::write(&path, "before ").unwrap();
        let appended = OpenOptions::new().append(true).open(&path).unwrap();
        with_waiting(appended.into(), |_, id| say_for(&id, b"why").unwrap());
        let plain = OpenOptions::new().write(true).open(&path).unwrap();
        with_waiting(plain.into(), |_, id| assert!(say_for(&id, b"lost").is_err()));
        assert_eq!(fs::read_to_string(&path).unwrap(), "before why");
    }

    #[test]
    fn a_process_that_is_not_there_hears_nothing() {
        let gone = with_waiting(Stdio::null(), |_, id| {
            let other = ProcessId { started: id.started + 1, ..id };
            assert!(say_for(&other, b"why").is_err());
        });
        assert!(say_for(&gone, b"why").is_err());
    }
}
