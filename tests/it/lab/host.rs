//! One host: programs, processes, the cable. Its files are in [`super::files`], its daemons in their own modules.

use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::namespaces::{certcast, enter_host, enter_network};
use super::process::{Command, Finished, Running};
use super::wait;

/// A machine of its own: root directory, network address, host name, process view.
pub struct Host {
    name: String,
    number: u8,
    holder: Pid,
    init: Pid,
}

impl Host {
    pub(super) fn new(name: &str, number: u8, holder: Pid, init: Pid) -> Self {
        let host = Host { name: name.to_owned(), number, holder, init };
        // A link and not a mount, so that an upgrade can replace it.
        symlink(certcast(), host.root().join("usr/local/bin/certcast")).unwrap();
        host
    }

    /// What `hostname` says there.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// 192.0.2.N.
    pub fn v4(&self) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, self.number)
    }

    /// `2001:db8::N`.
    pub fn v6(&self) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(self.number))
    }

    /// Both addresses.
    pub fn addresses(&self) -> [IpAddr; 2] {
        [self.v4().into(), self.v6().into()]
    }

    /// The host's root directory as a path of the test. Absolute links below it point out of the host: read through
    /// [`Host::read`], which does not follow them there.
    pub fn root(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.holder))
    }

    /// This host's network, as the kernel names it.
    pub fn network(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.holder))
    }

    /// The words before a program that another host of this lab runs here: a peer that is reached without ssh.
    pub fn entrance(&self) -> Vec<String> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.holder)).unwrap();
        // NSpid: the numbers from the outermost namespace to the innermost.
        let numbers = status.lines().find(|line| line.starts_with("NSpid:")).unwrap();
        let holder = numbers.split_whitespace().last().unwrap();
        ["nsenter", "--target", holder, "--mount", "--net", "--uts", "--ipc", "--root", "--wd", "--"]
            .map(str::to_owned)
            .to_vec()
    }

    /// A program to be run here.
    pub fn command<A: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = A>) -> Command {
        Command::new(enter_host(self.holder), argv)
    }

    /// Runs a program to its end.
    pub fn run<A: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = A>) -> Finished {
        self.command(argv).run()
    }

    /// Starts a program.
    pub fn spawn<A: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = A>) -> Running {
        self.command(argv).spawn()
    }

    /// Pulls the cable: from now on there is silence in both directions.
    pub fn unplug(&self) {
        self.cable("down");
    }

    /// Puts the cable back.
    pub fn plug(&self) {
        self.cable("up");
    }

    fn cable(&self, state: &str) {
        Command::new(enter_network(self.init), ["ip", "link", "set", &self.name, state]).run().ok();
    }

    /// The processes here whose argv, joined by blanks, contains `words`.
    pub fn processes(&self, words: &str) -> Vec<Pid> {
        // By network: a process may have gone on to a mount namespace of its own. And by pid namespace, for the
        // `nsenter` through which a program was started has entered the one but not the other.
        let home = |pid: Pid| {
            let space = |kind: &str| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok();
            Some((space("net")?, space("pid")?))
        };
        let here = home(self.holder);
        let all =
            std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        all.map(Pid::from_raw)
            .filter(|pid| home(*pid) == here)
            .filter(|pid| argv(*pid).is_some_and(|line| line.contains(words)))
            .collect()
    }

    /// Sends a process a signal.
    pub fn signal(&self, pid: Pid, signal: Signal) {
        kill(pid, signal).unwrap_or_else(|error| panic!("{signal} to {pid} on {}: {error}", self.name));
    }

    /// Waits until something listens on a TCP port here.
    pub fn await_listener(&self, port: u16) {
        wait::until(&format!("{} listens on {port}", self.name), || self.listens(port));
    }

    /// Whether something listens on a TCP port here. Asks the kernel and not the daemon, which would log a visit.
    pub fn listens(&self, port: u16) -> bool {
        // The columns: number, local address:port in hex, remote, state (0A is LISTEN).
        let port = format!(":{port:04X}");
        ["tcp", "tcp6"].iter().any(|family| {
            let sockets = std::fs::read_to_string(format!("/proc/{}/net/{family}", self.holder)).unwrap();
            sockets.lines().any(|line| {
                let mut columns = line.split_whitespace().skip(1);
                columns.next().is_some_and(|local| local.ends_with(&port)) && columns.nth(1) == Some("0A")
            })
        })
    }

    /// The ends of this host's logs, for whoever has to find out why a test failed.
    #[expect(clippy::print_stderr, reason = "the test harness shows it for failed tests only")]
    pub(super) fn tell_last_words(&self) {
        for log in ["/var/log/sshd.log", "/var/log/nginx/error.log", "/var/log/pebble.log", "/var/log/certcast.log"] {
            let Ok(text) = std::fs::read(self.root().join(log.trim_start_matches('/'))) else { continue };
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<&str> = text.lines().collect();
            let last = &lines[lines.len().saturating_sub(15)..];
            eprintln!("--- {}:{log}\n{}", self.name, last.join("\n"));
        }
    }
}

fn argv(pid: Pid) -> Option<String> {
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words: Vec<_> = words.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    Some(words.join(" ").trim_end().to_owned())
}
