//! Programs of a host: started through `nsenter`, under a deadline, their output kept.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Seek, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ExitStatus};
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::wait;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const DEADLINE: Duration = Duration::from_secs(60);

/// A program about to be run.
pub struct Command {
    enter: Vec<OsString>,
    argv: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    input: Vec<u8>,
    deadline: Duration,
}

impl Command {
    pub(super) fn new<A: AsRef<OsStr>>(enter: Vec<OsString>, argv: impl IntoIterator<Item = A>) -> Self {
        let argv: Vec<OsString> = argv.into_iter().map(|word| word.as_ref().to_owned()).collect();
        assert!(!argv.is_empty(), "a command needs a program");
        let env = [("PATH", PATH), ("HOME", "/root"), ("LANG", "C.UTF-8")];
        let env = env.map(|(key, value)| (key.into(), value.into())).to_vec();
        Command { enter, argv, env, input: Vec::new(), deadline: DEADLINE }
    }

    /// More words for the program.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = A>) -> Self {
        self.argv.extend(words.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }

    /// Sets a variable. The environment of the test itself is never inherited.
    #[must_use]
    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((key.into(), value.as_ref().to_owned()));
        self
    }

    /// Without PATH, HOME, LANG: as `env -i`. The program must then be an absolute path.
    #[must_use]
    pub fn bare_env(mut self) -> Self {
        self.env.clear();
        self
    }

    /// Run by another program, whose words come first: `strace`, `setpriv`.
    #[must_use]
    pub fn under<A: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = A>) -> Self {
        self.argv.splice(0..0, words.into_iter().map(|word| word.as_ref().to_owned()).collect::<Vec<_>>());
        self
    }

    /// With its standard output and error in one pipe, as under cron; both are then this program's standard output.
    #[must_use]
    pub fn piped(self) -> Self {
        self.under(["/bin/bash", "-c", "set -o pipefail; \"$@\" 2>&1 | cat", "--"])
    }

    /// What the program reads; nothing if not said.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = bytes.into();
        self
    }

    /// When the program and all of its process group are killed, and the test fails.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Runs it to its end.
    pub fn run(self) -> Finished {
        self.spawn().wait()
    }

    /// Starts it, and lets the test go on.
    pub fn spawn(self) -> Running {
        let mut input = tempfile::tempfile().unwrap();
        input.write_all(&self.input).unwrap();
        input.rewind().unwrap();
        // Files and not pipes: a daemon that keeps its output open must not keep the test waiting.
        let (stdout, stderr) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let child = std::process::Command::new(&self.enter[0])
            .args(&self.enter[1..])
            .args(&self.argv)
            .env_clear()
            .envs(self.env)
            .stdin(input)
            .stdout(stdout.try_clone().unwrap())
            .stderr(stderr.try_clone().unwrap())
            .process_group(0)
            .spawn()
            .unwrap();
        let line = self.argv.join(OsStr::new(" ")).to_string_lossy().into_owned();
        Running { line, child: Some(child), stdout, stderr, deadline: self.deadline }
    }
}

/// A program that runs. Dropped, it is killed with its process group.
pub struct Running {
    line: String,
    child: Option<Child>,
    stdout: File,
    stderr: File,
    deadline: Duration,
}

impl Running {
    /// The program's number as the test sees it, for [`Running::signal`], `/proc` and `strace -p`.
    pub fn pid(&self) -> Pid {
        let entering = self.entering();
        let path = format!("/proc/{entering}/task/{entering}/children");
        wait::some(&format!("{} starts", self.line), || {
            let children = std::fs::read_to_string(&path).ok()?;
            children.split_whitespace().next()?.parse().ok().map(Pid::from_raw)
        })
    }

    /// Sends the program a signal; it must still run.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Kills the program and all it started in its process group.
    pub fn kill(mut self) {
        self.end();
    }

    /// Whether it is still there.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// What it has written to its standard output by now.
    pub fn stdout_so_far(&self) -> String {
        String::from_utf8_lossy(&contents(&self.stdout)).into_owned()
    }

    /// Waits for its end; fails the test at the deadline.
    pub fn wait(mut self) -> Finished {
        let group = self.entering();
        let mut child = self.child.take().expect("only wait and kill take the child");
        let (tell, told) = mpsc::channel();
        let waiter = std::thread::spawn(move || tell.send(child.wait().unwrap()));
        let status = told.recv_timeout(self.deadline).ok();
        if status.is_none() {
            let _ = killpg(group, Signal::SIGKILL);
        }
        let _ = waiter.join();
        let (stdout, stderr) = (contents(&self.stdout), contents(&self.stderr));
        // Without a status it was killed just now; what it wrote is the only trace.
        let killed = ExitStatus::from_raw(Signal::SIGKILL as i32);
        let finished = Finished { line: self.line.clone(), status: status.unwrap_or(killed), stdout, stderr };
        assert!(status.is_some(), "not done after {:?}: {finished}", self.deadline);
        finished
    }

    fn entering(&self) -> Pid {
        let child = self.child.as_ref().expect("only wait and kill take the child");
        Pid::from_raw(i32::try_from(child.id()).unwrap())
    }

    fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            let group = Pid::from_raw(i32::try_from(child.id()).unwrap());
            let _ = killpg(group, Signal::SIGKILL);
            let _ = child.wait();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

fn contents(file: &File) -> Vec<u8> {
    // By offset: the program shares the file's position with us.
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// A program that has ended.
#[derive(Clone)]
pub struct Finished {
    line: String,
    /// How it ended.
    pub status: ExitStatus,
    /// All it wrote to standard output.
    pub stdout: Vec<u8>,
    /// All it wrote to standard error.
    pub stderr: Vec<u8>,
}

impl Finished {
    /// Fails the test unless the program succeeded.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert!(self.status.success(), "{self}");
        self
    }

    /// Fails the test unless the program ended with just this code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code(), Some(code), "{self}");
        self
    }

    /// Fails the test if the program succeeded.
    #[track_caller]
    pub fn fails(self) -> Self {
        assert!(!self.status.success(), "{self}");
        self
    }

    /// Fails the test unless this is somewhere in what the program wrote.
    #[track_caller]
    pub fn says(self, words: &str) -> Self {
        assert!(self.stdout().contains(words) || self.stderr().contains(words), "not said: {words:?}\n{self}");
        self
    }

    /// Fails the test if the program wrote anything at all.
    #[track_caller]
    pub fn silent(self) -> Self {
        assert!(self.stdout.is_empty() && self.stderr.is_empty(), "{self}");
        self
    }

    /// The exit code; none when a signal ended it.
    pub fn code(&self) -> Option<i32> {
        // nsenter ends itself by the signal that ended the program.
        debug_assert!(self.status.code().is_some() != self.status.signal().is_some());
        self.status.code()
    }

    /// Standard output as text.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\n{}\n--- stdout\n{}\n--- stderr\n{}", self.line, self.status, self.stdout(), self.stderr())
    }
}
