//! A real sshd on a loopback port, with its own keys and configuration, for the tests of this module.

use std::collections::HashMap;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::{Destination, LinkError, Route, Stream, open};
use crate::model::deadline::Deadline;

pub const LONG: Duration = Duration::from_secs(30);

/// The error of an open that must not succeed.
pub fn refused(result: Result<Box<dyn Stream>, LinkError>) -> LinkError {
    result.err().expect("the stream was opened")
}

pub fn echoes(stream: &mut dyn Stream, length: usize) {
    let sent: Vec<u8> = (0..u32::MAX).flat_map(u32::to_le_bytes).take(length).collect();
    stream.write_all(&sent).unwrap();
    let mut back = vec![0; length];
    stream.read_exact(&mut back).unwrap();
    assert!(back == sent);
}

pub fn within(took: Duration, millis: std::ops::Range<u128>) {
    assert!(millis.contains(&took.as_millis()), "took {took:?}");
}

/// What an sshd is to be like; the default echoes what it is sent.
pub struct Wish<'a> {
    pub receiver: &'a str,
    pub options: &'a [&'a str],
    pub host_key: &'a str,
}

impl Default for Wish<'_> {
    fn default() -> Self {
        Wish { receiver: "/bin/cat", options: &[], host_key: "ed25519" }
    }
}

type Log = Arc<(Mutex<Vec<String>>, Condvar)>;

/// A running sshd; ended with all its sessions when dropped.
pub struct Sshd {
    pub dir: TempDir,
    pub to: Destination,
    child: Child,
    log: Log,
}

impl Sshd {
    pub fn start(wish: &Wish<'_>) -> Sshd {
        assert!(nix::unistd::geteuid().is_root(), "sshd needs root");
        fs::create_dir_all("/run/sshd").unwrap();
        let dir = tempfile::tempdir().unwrap();
        keygen(&dir.path().join("host"), wish.host_key, "");
        keygen(&dir.path().join("user"), "ed25519", "");
        let at = dir.path().display();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {at}/host\nAuthorizedKeysFile {at}/authorized_keys\nStrictModes no\n\
             UsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPidFile none\nLogLevel VERBOSE\n{}\n",
            wish.options.join("\n")
        );
        fs::write(dir.path().join("sshd_config"), config).unwrap();
        // Whatever ends the test ends it too; its sessions end with the connections.
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "/usr/sbin/sshd", "-D", "-e", "-f"])
            .arg(dir.path().join("sshd_config"))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Log::default();
        let (lines, into) = (BufReader::new(child.stderr.take().unwrap()).lines(), Arc::clone(&log));
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                into.0.lock().unwrap().push(line);
                into.1.notify_all();
            }
        });
        let to = Destination { user: Some("root".to_owned()), host: "127.0.0.1".to_owned(), port: Some(port) };
        let sshd = Sshd { dir, to, child, log };
        sshd.accept(&sshd.path("user"), wish.receiver);
        sshd.trust(&format!("{} {}", sshd.name(), sshd.host_key()));
        sshd.wait_for("it listens", |log| log.iter().any(|line| line.contains("Server listening")));
        sshd
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn name(&self) -> String {
        format!("[127.0.0.1]:{}", self.to.port.unwrap())
    }

    pub fn host_key(&self) -> String {
        fs::read_to_string(self.path("host.pub")).unwrap()
    }

    /// Lets this key in, and runs the receiver for it.
    pub fn accept(&self, key: &Path, receiver: &str) {
        let public = fs::read_to_string(key.with_extension("pub")).unwrap();
        fs::write(self.path("authorized_keys"), format!("restrict,command=\"{receiver}\" {public}")).unwrap();
    }

    /// Makes this the whole of `known_hosts`.
    pub fn trust(&self, lines: &str) {
        fs::write(self.path("known_hosts"), format!("{lines}\n")).unwrap();
        fs::set_permissions(self.path("known_hosts"), Permissions::from_mode(0o644)).unwrap();
    }

    pub fn open(&self, within: Duration) -> Result<Box<dyn Stream>, LinkError> {
        self.open_with(&self.path("user"), within)
    }

    pub fn open_with(&self, identity: &Path, within: Duration) -> Result<Box<dyn Stream>, LinkError> {
        let route = Route::Ssh2 {
            to: &self.to,
            identity,
            known_hosts: &self.path("known_hosts"),
            connect_timeout: Duration::from_secs(20),
        };
        open(&route, Deadline::after(within))
    }

    /// How many lines of the log hold this.
    pub fn logged(&self, text: &str) -> usize {
        self.log.0.lock().unwrap().iter().filter(|line| line.contains(text)).count()
    }

    /// Waits until the log is as wished.
    pub fn wait_for(&self, what: &str, is_so: impl Fn(&[String]) -> bool) {
        let begin = Instant::now();
        let mut log = self.log.0.lock().unwrap();
        while !is_so(&log) {
            assert!(begin.elapsed() < Duration::from_secs(20), "waited for: {what}; the log: {log:#?}");
            log = self.log.1.wait_timeout(log, Duration::from_secs(1)).unwrap().0;
        }
    }

    /// Sends a signal to all processes of this sshd's sessions; says to how many.
    pub fn signal_sessions(&self, signal: Signal, named: &str) -> usize {
        let hit: Vec<Pid> =
            descendants(self.child.id()).into_iter().filter(|(_, name)| name == named).map(|(pid, _)| pid).collect();
        for pid in &hit {
            kill(*pid, signal).unwrap();
        }
        hit.len()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let sessions = descendants(self.child.id());
        let _ = self.child.kill();
        let _ = self.child.wait();
        for (pid, _) in sessions {
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}

pub fn keygen(path: &Path, kind: &str, passphrase: &str) {
    let made = Command::new("ssh-keygen").args(["-q", "-t", kind, "-N", passphrase, "-f"]).arg(path).status().unwrap();
    assert!(made.success());
}

/// The processes below this one, with their names.
fn descendants(root: u32) -> Vec<(Pid, String)> {
    let mut children: HashMap<i32, Vec<(i32, String)>> = HashMap::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some(((pid, name), rest)) = stat.rsplit_once(')').and_then(|(a, b)| Some((a.split_once(" (")?, b))) else {
            continue;
        };
        let parent = rest.split_whitespace().nth(1).unwrap().parse().unwrap();
        children.entry(parent).or_default().push((pid.parse().unwrap(), name.to_owned()));
    }
    let (mut found, mut next) = (Vec::new(), vec![i32::try_from(root).unwrap()]);
    while let Some(parent) = next.pop() {
        for (pid, name) in children.remove(&parent).unwrap_or_default() {
            next.push(pid);
            found.push((Pid::from_raw(pid), name));
        }
    }
    found
}
