//! Which certbot run we belong to.
//!
//! A process is named by its number *and* its start, so that a number used again is never taken
//! for the one before. Read from /proc, bounded in size and depth. A process that is hidden from
//! us, or gone, is as if it were not there.

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::str::FromStr;

#[cfg(test)]
mod tests;

/// How far up we look.
const ANCESTORS_AT_MOST: usize = 64;

/// How much of a file in /proc is read; the first words of a command line are enough.
const READ_AT_MOST: u64 = 8192;

/// One process, and never another of the same number, until the next boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId {
    /// Its number.
    pub pid: i32,
    /// When it began, in clock ticks since boot.
    pub started: u64,
}

/// Text that names no process.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a process: expected its number and start, like 4711-123456")]
pub struct NotAProcessId;

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.pid, self.started)
    }
}

impl FromStr for ProcessId {
    type Err = NotAProcessId;

    fn from_str(text: &str) -> Result<Self, NotAProcessId> {
        let (pid, started) = text.split_once('-').ok_or(NotAProcessId)?;
        let id = ProcessId {
            pid: pid.parse().ok().filter(|&pid| pid > 0).ok_or(NotAProcessId)?,
            started: started.parse().map_err(|_| NotAProcessId)?,
        };
        // One process has one text: no signs, no leading zeros.
        if id.to_string() == text { Ok(id) } else { Err(NotAProcessId) }
    }
}

/// The nearest ancestor that is certbot, however it was started.
///
/// A system that does not say is an error: a run taken for another one would lose its challenges.
pub fn certbot_run() -> io::Result<Option<ProcessId>> {
    nearest(is_certbot)
}

/// The first ancestor that is no shell: what to take for a run when certbot is not found.
///
/// Only to tell runs apart. It may be anything, so it must never be signalled.
pub fn parent_of_shells() -> io::Result<Option<ProcessId>> {
    nearest(|argv| !is_shell(argv))
}

fn nearest(is_it: impl Fn(&[Vec<u8>]) -> bool) -> io::Result<Option<ProcessId>> {
    let mut pid = nix::unistd::getppid().as_raw();
    for _ in 0..ANCESTORS_AT_MOST {
        let Some(process) = Process::read(pid)? else { break };
        if is_it(&command_line(pid)?) {
            return Ok(Some(process.id()));
        }
        pid = process.parent;
    }
    Ok(None)
}

/// The process that has this number now.
pub fn process(pid: i32) -> Option<ProcessId> {
    Process::read(pid).ok().flatten().map(Process::id)
}

/// Whether it still runs; one that has ended and waits to be collected does not. One of which the system does not say
/// counts as alive: what it has under way must not be taken from it.
pub fn is_alive(process: &ProcessId) -> bool {
    Process::read(process.pid).map_or(true, |now| now.is_some_and(|now| now.is(process)))
}

/// Asks it to end (SIGTERM), unless it has; says whether it was still there to be asked.
///
/// Between the look and the signal the number could change hands only if the process ended *and*
/// all other numbers were used up in those microseconds.
pub fn terminate(process: &ProcessId) -> io::Result<bool> {
    if process.pid <= 1 || !Process::read(process.pid)?.is_some_and(|now| now.is(process)) {
        return Ok(false);
    }
    match kill(Pid::from_raw(process.pid), Signal::SIGTERM) {
        Ok(()) => Ok(true),
        Err(Errno::ESRCH) => Ok(false),
        Err(errno) => Err(io::Error::new(
            io::Error::from(errno).kind(),
            format!("cannot send SIGTERM to process {}: {errno}", process.pid),
        )),
    }
}

/// What /proc/PID/stat says of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Process {
    pid: i32,
    parent: i32,
    started: u64,
    ended: bool,
}

impl Process {
    fn read(pid: i32) -> io::Result<Option<Process>> {
        let stat = read_start(&format!("/proc/{pid}/stat"))?;
        Ok(stat.and_then(|stat| Process::parse(pid, &String::from_utf8_lossy(&stat))))
    }

    fn is(self, process: &ProcessId) -> bool {
        self.id() == *process && !self.ended
    }

    /// The second field is the program's name in parentheses and may hold spaces, parentheses and
    /// newlines of its own; so fields are counted from the last closing one.
    fn parse(pid: i32, stat: &str) -> Option<Process> {
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?;
        let parent = fields.next()?.parse().ok()?;
        // The start is field 22, and two after the name are taken: 3 and 4.
        let started = fields.nth(22 - 5)?.parse().ok()?;
        Some(Process { pid, parent, started, ended: matches!(state, "Z" | "X" | "x") })
    }

    fn id(self) -> ProcessId {
        ProcessId { pid: self.pid, started: self.started }
    }
}

/// The first words of a command line; none for a kernel thread.
fn command_line(pid: i32) -> io::Result<Vec<Vec<u8>>> {
    let text = read_start(&format!("/proc/{pid}/cmdline"))?.unwrap_or_default();
    Ok(text.split(|&byte| byte == 0).map(<[u8]>::to_vec).take(8).collect())
}

/// None of a process that is gone or hidden.
fn read_start(path: &str) -> io::Result<Option<Vec<u8>>> {
    let mut start = Vec::new();
    match File::open(path).and_then(|file| file.take(READ_AT_MOST).read_to_end(&mut start)) {
        Ok(_) => Ok(Some(start)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => Ok(None),
        Err(error) if error.raw_os_error() == Some(Errno::ESRCH as i32) => Ok(None),
        Err(error) => Err(io::Error::new(error.kind(), format!("cannot read {path}: {error}"))),
    }
}

/// certbot by its name; or a script of that name; or a Python that runs one after its options,
/// as in the snap (`python3 -s …/bin/certbot`) and in `python3 -m certbot`.
fn is_certbot(argv: &[Vec<u8>]) -> bool {
    let is_named = |word: &Vec<u8>| file_name(word) == b"certbot";
    let by_python = argv.first().is_some_and(|word| file_name(word).starts_with(b"python"))
        && argv.iter().skip(1).find(|word| !word.starts_with(b"-")).is_some_and(is_named);
    by_python || argv.iter().take(2).any(is_named)
}

/// A shell, or a program that only runs another one.
fn is_shell(argv: &[Vec<u8>]) -> bool {
    let Some(program) = argv.first() else { return false };
    // A login shell's name begins with a dash.
    let name = file_name(program.strip_prefix(b"-").unwrap_or(program));
    let shells = [&b"sh"[..], b"dash", b"bash", b"busybox"];
    let wrappers = [&b"env"[..], b"timeout", b"nice", b"flock", b"setsid", b"sudo"];
    shells.contains(&name) || wrappers.contains(&name)
}

fn file_name(word: &[u8]) -> &[u8] {
    let path = Path::new(std::ffi::OsStr::from_bytes(word));
    path.file_name().map_or(&[], OsStrExt::as_bytes)
}
