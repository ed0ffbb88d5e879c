//! A stream over the pipes of a program: the system's `ssh`, or a receiver on this node.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use crate::model::deadline::Deadline;
use crate::sys::ready::ready;

use super::Stream;
use super::error::LinkError;
use super::said::Said;
use super::system_ssh;

/// What is taken in while we write; as much as libssh2's window.
const INBOX_AT_MOST: usize = 2 * 1024 * 1024;
/// For a program to end by itself after its pipes are closed, so that it can undo what it had begun.
const GRACE: Duration = Duration::from_millis(500);
/// The pauses in waiting for its exit status, which comes right after its pipes end.
const STATUS_ASKED: Duration = Duration::from_millis(5);

/// What becomes of a program that still runs a moment after its pipes are closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Killed with its group: a client that nobody needs any more.
    Kill,
    /// Left to itself: a receiver past `Commit` finishes alone, and ends by EOF or its own deadline.
    Leave,
}

/// Starts a program in a process group of its own.
pub fn spawn(argv: &[String], end: End, deadline: Deadline) -> Result<ChildStream, LinkError> {
    let (program, arguments) =
        argv.split_first().ok_or_else(|| LinkError::Unfit { what: "command", text: String::new() })?;
    let failed = |source| LinkError::Spawn { program: program.clone(), source };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    // Owns the child from here on: whatever fails below, it is ended and reaped.
    let stream = ChildStream {
        child: Some(child),
        end,
        input,
        output,
        errors,
        inbox: VecDeque::new(),
        said: Said::default(),
        deadline,
    };
    for pipe in stream.pipes().into_iter().flatten() {
        fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(|errno| failed(errno.into()))?;
    }
    Ok(stream)
}

/// A running program and its pipes; a pipe that has ended is none.
pub struct ChildStream {
    child: Option<Child>,
    end: End,
    input: Option<ChildStdin>,
    output: Option<ChildStdout>,
    errors: Option<ChildStderr>,
    inbox: VecDeque<u8>,
    said: Said,
    deadline: Deadline,
}

impl ChildStream {
    fn pipes(&self) -> [Option<BorrowedFd<'_>>; 3] {
        [
            self.input.as_ref().map(AsFd::as_fd),
            self.output.as_ref().map(AsFd::as_fd),
            self.errors.as_ref().map(AsFd::as_fd),
        ]
    }

    /// Waits until one of these pipes, or stderr, can go on; takes what is on stderr.
    fn wait(&mut self, to_write: bool, to_read: bool, deadline: Deadline) -> io::Result<()> {
        let [input, output, errors] = self.pipes();
        let mut fds: Vec<PollFd<'_>> = Vec::with_capacity(3);
        fds.extend(input.filter(|_| to_write).map(|fd| PollFd::new(fd, PollFlags::POLLOUT)));
        fds.extend(output.filter(|_| to_read).map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        fds.extend(errors.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        if !ready(&mut fds, deadline)? {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.hear();
        Ok(())
    }

    /// Takes what is on stderr, 64 kB at most, so that a flood leaves time for the rest.
    fn hear(&mut self) {
        let mut buffer = [0; 4096];
        for _ in 0..16 {
            let Some(errors) = &mut self.errors else { return };
            match errors.read(&mut buffer) {
                Ok(length @ 1..) => self.said.hear(&buffer[..length]),
                Err(error) if is_not_yet(&error) => return,
                // Ended: polled any further, it would only say so again and again.
                Ok(0) | Err(_) => self.errors = None,
            }
        }
    }

    /// Takes what has come on stdout while we want to write.
    fn take_in(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        while self.inbox.len() < INBOX_AT_MOST {
            let Some(output) = &mut self.output else { break };
            match output.read(&mut buffer) {
                Ok(0) => self.output = None,
                Ok(length) => self.inbox.extend(&buffer[..length]),
                Err(error) if is_not_yet(&error) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The exit status, a moment after the pipes have ended; none where it was killed or still runs.
    fn status(&self) -> Option<i32> {
        let id = Pid::from_raw(self.child.as_ref()?.id().try_into().ok()?);
        let until = Deadline::after(GRACE);
        // Without reaping, as when it is dropped.
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
        loop {
            match waitid(Id::Pid(id), flags) {
                Ok(WaitStatus::Exited(_, status)) => return Some(status),
                Ok(WaitStatus::StillAlive) if !until.has_passed() => thread::sleep(STATUS_ASKED),
                _ => return None,
            }
        }
    }

    fn in_time(&self) -> io::Result<()> {
        if self.deadline.has_passed() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}

fn is_not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

impl Stream for ChildStream {
    fn until(&mut self, deadline: Deadline) {
        self.deadline = deadline;
    }

    fn said(&mut self) -> String {
        self.hear();
        // After its last word on stdout a program may still be explaining itself on stderr.
        let until = self.deadline.at_most(GRACE);
        while self.output.is_none() && self.errors.is_some() && !until.has_passed() {
            if self.wait(false, false, until).is_err() {
                break;
            }
        }
        self.said.shown()
    }

    fn is_away(&mut self) -> bool {
        self.said();
        self.status() == Some(system_ssh::ITS_OWN_FAILURE) && system_ssh::tells_of_absence(&self.said.text())
    }
}

impl Read for ChildStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.in_time()?;
            if !self.inbox.is_empty() || buffer.is_empty() {
                return self.inbox.read(buffer);
            }
            let Some(output) = &mut self.output else { return Ok(0) };
            match output.read(buffer) {
                Ok(0) => self.output = None,
                Err(error) if is_not_yet(&error) => self.wait(false, true, self.deadline)?,
                done => return done,
            }
        }
    }
}

impl Write for ChildStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            self.in_time()?;
            self.take_in()?;
            let Some(input) = &mut self.input else { return Err(io::ErrorKind::BrokenPipe.into()) };
            match input.write(bytes) {
                Err(error) if is_not_yet(&error) => {
                    self.wait(true, self.inbox.len() < INBOX_AT_MOST, self.deadline)?;
                }
                done => return done,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        // Nothing is kept back on this side.
        Ok(())
    }
}

impl Drop for ChildStream {
    /// Closes the pipes, leaves the program a moment to end by itself, kills its whole group unless it is to be left,
    /// and reaps it.
    fn drop(&mut self) {
        (self.input, self.output, self.errors) = (None, None, None);
        let Some(mut child) = self.child.take() else { return };
        if self.end == End::Leave {
            let (ended, end) = mpsc::channel();
            // Reaps it whenever it ends; when we end before, init does.
            let reap = move || {
                let _ = child.wait();
                let _ = ended.send(());
            };
            if thread::Builder::new().name("child end".to_owned()).spawn(reap).is_ok() {
                let _ = end.recv_timeout(GRACE);
            }
            return;
        }
        let Ok(id) = i32::try_from(child.id()).map(Pid::from_raw) else { return };
        let (ended, end) = mpsc::channel();
        let watch = move || {
            // Without reaping: as long as its number is taken, the group that is killed below is its own.
            let _ = waitid(Id::Pid(id), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
            let _ = ended.send(());
        };
        let watched = thread::Builder::new().name("child end".to_owned()).spawn(watch).is_ok();
        if watched {
            let _ = end.recv_timeout(GRACE.min(self.deadline.left()));
        }
        // The members, if any are left; a group of none is an error that does not matter.
        let _ = killpg(id, Signal::SIGKILL);
        // A killed process ends at once, unless the kernel itself is stuck: then init reaps it one day.
        if watched {
            let _ = end.recv_timeout(GRACE);
        }
        let _ = child.try_wait();
    }
}

#[cfg(test)]
#[path = "child_tests.rs"]
mod tests;
