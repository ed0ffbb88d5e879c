//! Runs a program, and comes back.
//!
//! Whatever the program does, [`Run::run`] returns soon after its deadline: the program and its
//! process group are killed then, output beyond the cap is read and dropped, and a descendant
//! that keeps the output open is not waited for. Nothing goes through a shell. The program sees
//! /dev/null as its input unless it is given one, none of certbot's variables, and none that an ssh client may choose.
//! Other threads may run programs at the same time: only this child is waited for, and its group is
//! killed only while the unreaped child keeps the number from being used again.
//!
//! If *we* are killed, the program runs on: its callers are made for that.

use self::tail::Tail;
use super::ready::ready;
use crate::model::deadline::Deadline;
use crate::model::escape::escaped;
use crate::model::pasteable::pasteable;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use std::ffi::{OsStr, OsString};
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

mod tail;
#[cfg(test)]
mod tests;

/// How many bytes of output are kept where nobody asks for more: the last ones, since the error is at the end.
const OUTPUT_CAP: usize = 64 * 1024;

/// Where programs are looked for when our own environment does not say: hooks may have no PATH.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long output is read on after the program's end, for what its children hold open.
const OUTPUT_GRACE: Duration = Duration::from_millis(200);

/// How long a killed program may take to die; one stuck in the kernel is left behind.
const KILL_GRACE: Duration = Duration::from_secs(2);

/// A program to run.
#[derive(Clone, Debug)]
pub struct Run<'a> {
    /// The program and its arguments.
    pub argv: &'a [String],
    /// When it and its group are killed.
    pub deadline: Deadline,
    output_at_most: usize,
    stdout_only: bool,
    input: &'a [u8],
}

/// A program that ended by itself, well or not.
#[derive(Debug)]
pub struct Finished {
    /// Its exit status.
    pub status: ExitStatus,
    /// The end of what it wrote to stdout and stderr, harmless to show; lines are kept.
    pub output: String,
    /// The same as it was, for whoever parses it. Not to be shown.
    pub raw: Vec<u8>,
    /// How long it took.
    pub took: Duration,
}

/// Why a program did not end by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There is no such program, or its interpreter is missing.
    #[error("{program}: no such program; give its absolute path, or install it")]
    NotFound {
        /// What was looked for.
        program: String,
    },
    /// It was killed at the deadline.
    #[error("{program}: still running after {} ms, killed", took.as_millis())]
    Deadline {
        /// What was run.
        program: String,
        /// The end of what it had written.
        output: String,
        /// How long it was given.
        took: Duration,
    },
    /// It ended by itself, and not well: only where it was to succeed.
    #[error("`{command}` failed: {output}")]
    Failed {
        /// What was run, as a person can paste it.
        command: String,
        /// The end of what it had written.
        output: String,
    },
    /// It could not be started or watched.
    #[error("{program}: cannot be run")]
    Io {
        /// What was run.
        program: String,
        /// Why not.
        source: io::Error,
    },
}

impl<'a> Run<'a> {
    /// A program with the usual environment.
    pub fn new(argv: &'a [String], deadline: Deadline) -> Self {
        Run { argv, deadline, output_at_most: OUTPUT_CAP, stdout_only: false, input: &[] }
    }

    /// One whose standard output is to be parsed, up to so many bytes; what it says on standard error is nobody's.
    pub fn parsed(argv: &'a [String], deadline: Deadline, output_at_most: usize) -> Self {
        Run { argv, deadline, output_at_most, stdout_only: true, input: &[] }
    }

    /// The same with this on its standard input; at most what a pipe holds, 64 KiB, since nobody writes while it runs.
    #[must_use]
    pub fn with_input(self, input: &'a [u8]) -> Self {
        Run { input, ..self }
    }

    /// Runs it to its end or to the deadline.
    pub fn run(&self) -> Result<Finished, RunError> {
        let program = escaped(self.argv.first().map_or("", String::as_str));
        let begun = Instant::now();
        match self.start_and_watch() {
            Ok((Some(status), mut tail)) => {
                let output = tail.text();
                Ok(Finished { status, output, raw: tail.kept(), took: begun.elapsed() })
            }
            Ok((None, mut output)) => Err(RunError::Deadline { program, output: output.text(), took: begun.elapsed() }),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Err(RunError::NotFound { program }),
            Err(source) => Err(RunError::Io { program, source }),
        }
    }

    /// The same, where one that ends otherwise than well is an error.
    pub fn succeed(&self) -> Result<Finished, RunError> {
        let finished = self.run()?;
        if finished.status.success() {
            return Ok(finished);
        }
        Err(RunError::Failed { command: pasteable(self.argv), output: finished.output.trim().to_owned() })
    }

    fn start_and_watch(&self) -> io::Result<(Option<ExitStatus>, Tail)> {
        let (read, write) = io::pipe()?;
        let (program, arguments) =
            self.argv.split_first().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no program given"))?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(child_env(std::env::vars_os()));
        command.stdin(self.stdin()?).stdout(write.try_clone()?).process_group(0);
        command.stderr(if self.stdout_only { Stdio::null() } else { write.into() });
        let group = Group { child: command.spawn()?, reaped: false };
        // It holds our copies of the writing end, and with them the pipe would never end.
        drop(command);
        Watch { end: announce_end(group.pid())?, output: Some(read), tail: Tail::new(self.output_at_most) }
            .until_the_end(group, self.deadline)
    }
}

/// What a pipe takes without a reader (pipe(7)).
const INPUT_AT_MOST: usize = 64 * 1024;

impl Run<'_> {
    fn stdin(&self) -> io::Result<Stdio> {
        if self.input.is_empty() {
            return Ok(Stdio::null());
        }
        if self.input.len() > INPUT_AT_MOST {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "more input than a pipe holds"));
        }
        let (read, mut write) = io::pipe()?;
        write.write_all(self.input)?;
        Ok(read.into())
    }
}

/// What certbot leaks from one hook to the next, and what sshd takes from its client: the words of a stolen key's
/// holder, and by Debian's `AcceptEnv` his locale.
const NOT_PASSED_ON: [&str; 5] = ["CERTBOT_", "RENEWED_", "SSH_", "LC_", "LANG"];

/// Our environment without those, and with a PATH that lacks no usual place: cron's has no sbin, where nginx is.
fn child_env(own: impl Iterator<Item = (OsString, OsString)>) -> Vec<(OsString, OsString)> {
    let leaks = |name: &OsStr| NOT_PASSED_ON.iter().any(|prefix| name.as_bytes().starts_with(prefix.as_bytes()));
    let says_nothing = |name: &OsStr, value: &OsStr| name == "PATH" && value.is_empty();
    let mut env: Vec<_> = own.filter(|(name, value)| !leaks(name) && !says_nothing(name, value)).collect();
    match env.iter_mut().find(|(name, _)| name == "PATH") {
        None => env.push(("PATH".into(), DEFAULT_PATH.into())),
        Some((_, path)) => {
            let has = |place: &&str| path.as_bytes().split(|byte| *byte == b':').any(|own| own == place.as_bytes());
            let lacking: Vec<_> = DEFAULT_PATH.split(':').filter(|place| !has(place)).collect();
            for place in lacking {
                path.push(":");
                path.push(place);
            }
        }
    }
    env
}

/// The child as leader of its group; killed unless it was reaped.
struct Group {
    child: Child,
    reaped: bool,
}

impl Group {
    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Only while the child is unreaped: afterwards its number may be somebody else's.
    fn kill(&self) {
        let _ = killpg(self.pid(), Signal::SIGKILL);
    }

    fn reap(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait()?;
        self.reaped = true;
        Ok(status)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.reaped {
            self.kill();
            let _ = self.child.try_wait();
        }
    }
}

/// A pipe that ends when the child does, so that one poll sees both its end and its output.
///
/// The thread is not joined: it lives as long as a child that even SIGKILL cannot end.
fn announce_end(pid: Pid) -> io::Result<PipeReader> {
    let (end, held) = io::pipe()?;
    thread::Builder::new().name("child".into()).spawn(move || {
        // WNOWAIT leaves the child unreaped, and so its number and group ours.
        while waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) == Err(Errno::EINTR) {}
        drop(held);
    })?;
    Ok(end)
}

struct Watch {
    end: PipeReader,
    output: Option<PipeReader>,
    tail: Tail,
}

impl Watch {
    fn until_the_end(mut self, mut group: Group, deadline: Deadline) -> io::Result<(Option<ExitStatus>, Tail)> {
        let ended = self.child_ended_before(deadline)?;
        if !ended {
            group.kill();
        }
        let dead = ended || self.child_ended_before(Deadline::after(KILL_GRACE))?;
        self.read_rest(Deadline::after(OUTPUT_GRACE))?;
        let status = if dead { Some(group.reap()?) } else { None };
        Ok((status.filter(|_| ended), self.tail))
    }

    /// Reads output until the child has ended; false when the deadline came first.
    fn child_ended_before(&mut self, deadline: Deadline) -> io::Result<bool> {
        loop {
            let mut fds = vec![PollFd::new(self.end.as_fd(), PollFlags::POLLIN)];
            fds.extend(self.output.iter().map(|output| PollFd::new(output.as_fd(), PollFlags::POLLIN)));
            if !ready(&mut fds, deadline)? {
                return Ok(false);
            }
            let ended = fds[0].any().unwrap_or(true);
            let readable = fds.get(1).is_some_and(|fd| fd.any().unwrap_or(true));
            if readable {
                self.read_once()?;
            }
            if ended {
                return Ok(true);
            }
        }
    }

    /// Reads what is left, no longer than a grace: a daemon it started may keep the pipe open.
    fn read_rest(&mut self, grace: Deadline) -> io::Result<()> {
        while let Some(output) = &self.output {
            if !ready(&mut [PollFd::new(output.as_fd(), PollFlags::POLLIN)], grace)? {
                break;
            }
            self.read_once()?;
        }
        Ok(())
    }

    fn read_once(&mut self) -> io::Result<()> {
        let Some(output) = &mut self.output else { return Ok(()) };
        let mut chunk = [0; 8192];
        match output.read(&mut chunk) {
            Ok(0) => self.output = None,
            Ok(read) => self.tail.push(&chunk[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
