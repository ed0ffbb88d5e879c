//! The namespaces everything in a lab lives in, and their end.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command as Program, Stdio};
use std::sync::mpsc::{Receiver, channel};

use nix::unistd::Pid;

use super::process::Command;
use super::wait::PATIENCE;

/// A pid namespace with its process 1 (`init.sh`), the bridge's network, and hosts as they are asked for.
///
/// The kernel removes all of it when process 1 dies, and process 1 dies with the thread that made this (its parent's
/// parent-death signal) or with its input (this process's end of a pipe): a test killed with SIGKILL leaves nothing.
pub struct Namespaces {
    outer: Child,
    orders: Option<ChildStdin>,
    answers: Receiver<String>,
    complaints: File,
    init: Pid,
}

impl Namespaces {
    pub fn new() -> Self {
        let complaints = tempfile::tempfile().unwrap();
        let script = repository().join("tests/it/lab/init.sh");
        let mut outer = Program::new("setpriv")
            .args([
                "--pdeathsig",
                "KILL",
                "unshare",
                "--fork",
                "--kill-child",
                "--pid",
                "--net",
                "--mount",
                "--uts",
                "--ipc",
            ])
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(complaints.try_clone().unwrap())
            .spawn()
            .expect("a lab needs util-linux; ./tests/run installs it");
        let orders = outer.stdin.take();
        let stdout = BufReader::new(outer.stdout.take().expect("piped"));
        let (tell, answers) = channel();
        // Ends with process 1, which holds the other end.
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        let mut namespaces = Namespaces { outer, orders, answers, complaints, init: Pid::from_raw(0) };
        let answer = namespaces.answer();
        namespaces.init = pid_at_end(&answer);
        namespaces
    }

    /// Orders hosts, all at once, of which so many from 1 on are web hosts, and returns what holds each, in the order asked.
    pub fn hosts(&mut self, wanted: &[(&str, u8)], web: usize) -> Vec<Pid> {
        let shown: Vec<OsString> = shown().into_iter().map(PathBuf::into_os_string).collect();
        assert!(shown.iter().all(|path| !path.to_string_lossy().contains(char::is_whitespace)), "a blank in {shown:?}");
        let shown = shown.join(OsStr::new(" ")).into_string().unwrap();
        let orders = self.orders.as_mut().expect("open until dropped");
        for (name, number) in wanted {
            writeln!(orders, "host {name} {number} {web} {shown}").unwrap();
        }
        let mut up: Vec<(usize, Pid)> = wanted
            .iter()
            .map(|_| self.answer())
            .map(|answer| {
                let name = answer.split(' ').nth(1).unwrap();
                (wanted.iter().position(|(known, _)| *known == name).unwrap(), pid_at_end(&answer))
            })
            .collect();
        up.sort_by_key(|(position, _)| *position);
        up.into_iter().map(|(_, holder)| holder).collect()
    }

    /// Process 1, as the test sees it.
    pub fn init(&self) -> Pid {
        self.init
    }

    pub fn visitor<A: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = A>) -> Command {
        Command::new(enter_network(self.init), argv)
    }

    fn answer(&mut self) -> String {
        self.answers.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            let mut complaints = String::new();
            self.complaints.rewind().unwrap();
            self.complaints.read_to_string(&mut complaints).unwrap();
            panic!("the lab does not rise (it needs root and what ./tests/run installs):\n{complaints}")
        })
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        self.orders = None;
        // Process 1 is gone only when everything in its namespace is.
        let _ = self.outer.wait();
    }
}

/// How to run something in the network of process 1, and in its pid namespace, so that it dies with the lab.
pub fn enter_network(init: Pid) -> Vec<OsString> {
    ["nsenter", "--target", &init.to_string(), "--net", "--pid", "--"].map(OsString::from).to_vec()
}

/// How to run something on a host.
pub fn enter_host(holder: Pid) -> Vec<OsString> {
    let target = holder.to_string();
    ["nsenter", "--target", &target, "--mount", "--net", "--uts", "--ipc", "--pid", "--root", "--wd", "--"]
        .map(OsString::from)
        .to_vec()
}

/// The repository, shown on each host at its own place: hooks, the certbot environment, usually the binary too.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The binary under test; for benches another build of it.
pub fn certcast() -> PathBuf {
    std::env::var_os("CERTCAST_TEST_PROGRAM").map_or_else(|| env!("CARGO_BIN_EXE_certcast").into(), PathBuf::from)
}

fn shown() -> Vec<PathBuf> {
    let mut shown = vec![repository().to_owned()];
    for other in [certcast().parent().unwrap(), &super::certbot::environment()] {
        if !other.starts_with(repository()) && other.exists() {
            shown.push(other.to_owned());
        }
    }
    shown
}

fn pid_at_end(answer: &str) -> Pid {
    Pid::from_raw(answer.rsplit(' ').next().unwrap().parse().unwrap())
}
