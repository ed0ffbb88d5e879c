//! What programs do, as the kernel tells: strace on a process and on all that it starts.

use nix::sys::signal::Signal;

use super::host::Host;
use super::process::Running;
use super::wait;

/// A process that is watched, with all that it starts from now on.
pub struct Watch<'h> {
    host: &'h Host,
    strace: Running,
    path: String,
}

impl Host {
    /// Watches sshd here, and so every conversation: these system calls, with their strings whole and the paths behind
    /// descriptors.
    pub fn watch_sshd(&self, calls: &str) -> Watch<'_> {
        let path = format!("/run/watch-{}", self.list("/run").len());
        let pid = self.text("/run/sshd.pid").trim().to_owned();
        let traced = format!("trace={calls}");
        let words = ["strace", "-f", "-q", "-v", "-yy", "-s", "2000000", "-o", &path, "-e", &traced, "-p", &pid];
        let strace = self.spawn(words);
        let sshd = self.pid_in("/run/sshd.pid");
        wait::until("strace has attached", || {
            let status = std::fs::read_to_string(format!("/proc/{sshd}/status")).unwrap();
            status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
        });
        Watch { host: self, strace, path }
    }
}

/// The words that put a program under the same watch.
pub fn watching<'w>(calls: &'w str, path: &'w str) -> [&'w str; 11] {
    ["strace", "-f", "-q", "-v", "-yy", "-s", "2000000", "-o", path, "-e", calls]
}

impl Watch<'_> {
    /// Ends it; what was seen, one system call a line.
    pub fn end(self) -> String {
        self.strace.signal(Signal::SIGINT);
        self.strace.wait();
        self.host.text(&self.path)
    }
}

/// The command lines of the programs that were run, in their order.
pub fn programs(seen: &str) -> Vec<String> {
    let started = seen.lines().filter(|line| line.contains("execve(") && line.ends_with("= 0"));
    let argv = started.filter_map(|line| line.split_once(", [").and_then(|(_, rest)| rest.split_once("], ")));
    argv.map(|(words, _)| words.replace("\", \"", " ").trim_matches('"').to_owned()).collect()
}
