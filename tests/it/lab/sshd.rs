//! sshd on each host, and who may come in.

use nix::sys::signal::Signal;

use super::host::Host;
use super::process::Command;
use super::wait;

const LOG: &str = "/var/log/sshd.log";
const KEYS: &str = "/root/.ssh/authorized_keys";
/// Where the primary keeps the key it reaches its peers with.
pub const IDENTITY: &str = "/etc/certcast/id_ed25519";

/// What a key may do on a host.
#[derive(Clone, Copy, Debug)]
pub enum Grant<'a> {
    /// All that root may: a person's key.
    Shell,
    /// certcast's forced command in a role, for these lineages (none said: for all).
    Receive {
        /// `deploy` or `challenge`.
        role: &'a str,
        /// Names for `--only`.
        only: &'a [&'a str],
    },
    /// Another forced command, restricted as ours: a stand-in for the receiver.
    Forced(&'a str),
}

impl Host {
    /// Starts sshd, with these lines added to its configuration; the caller awaits port 22.
    pub(super) fn sshd(&self, extra: &str) -> Command {
        let config = format!(
            "Port 22\nHostKey /etc/ssh/ssh_host_ed25519_key\nUsePAM no\nUseDNS no\nPermitRootLogin prohibit-password\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nLogLevel VERBOSE\nPidFile /run/sshd.pid\n\
             Subsystem sftp /usr/lib/openssh/sftp-server\n{extra}\n"
        );
        self.write("/etc/ssh/sshd_config", config);
        self.command(["/usr/sbin/sshd", "-f", "/etc/ssh/sshd_config", "-E", LOG])
    }

    /// Starts sshd.
    pub fn start_sshd(&self) {
        self.start_sshd_with("");
    }

    /// Starts sshd with more lines of configuration, such as `MaxStartups 2`.
    pub fn start_sshd_with(&self, extra: &str) {
        self.sshd(extra).run().ok();
        self.await_listener(22);
    }

    /// Stops sshd, not the conversations it has begun: from now on the port is closed.
    pub fn stop_sshd(&self) {
        self.signal(self.pid_in("/run/sshd.pid"), Signal::SIGTERM);
        wait::until("sshd has ended", || !self.listens(22));
    }

    /// Stops sshd and starts it with more lines of configuration.
    pub fn restart_sshd_with(&self, extra: &str) {
        self.stop_sshd();
        self.start_sshd_with(extra);
    }

    /// Adds a line to root's `authorized_keys`.
    pub fn authorize(&self, public_key: &str, grant: Grant<'_>) {
        let options = match grant {
            Grant::Shell => String::new(),
            Grant::Forced(command) => format!("restrict,command=\"{command}\" "),
            Grant::Receive { role, only } => {
                let only = only.iter().flat_map(|name| [" --only ", name]).collect::<String>();
                format!("restrict,command=\"/usr/local/bin/certcast receive --role {role}{only}\" ")
            }
        };
        self.append(KEYS, format!("{options}{}\n", public_key.trim()));
        self.chmod(KEYS, 0o600);
    }

    /// Takes every key's permission away and gives this one that.
    pub fn authorize_only(&self, public_key: &str, grant: Grant<'_>) {
        self.write(KEYS, "");
        self.authorize(public_key, grant);
    }

    /// Makes a key pair here and returns the public half.
    pub fn new_key(&self, path: &str) -> String {
        self.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.name(), "-f", path]).ok();
        self.text(&format!("{path}.pub"))
    }

    /// Gives sshd another host key; it shows from the next connection on.
    pub fn change_host_key(&self) {
        let key = "/etc/ssh/ssh_host_ed25519_key";
        self.remove(key);
        self.remove(&format!("{key}.pub"));
        self.new_key(key);
        self.stop_sshd();
        self.start_sshd();
    }

    /// The host key as `known_hosts` wants it after the names: algorithm and key.
    pub fn host_key(&self) -> String {
        let line = self.text("/etc/ssh/ssh_host_ed25519_key.pub");
        line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    }

    /// Lines of `known_hosts` for this host: by both addresses and by name.
    pub fn known_hosts_lines(&self) -> String {
        format!("{},{},{} {}\n", self.v4(), self.v6(), self.name(), self.host_key())
    }

    /// How many connections have passed authentication.
    pub fn logins(&self) -> usize {
        self.sshd_log().matches("Accepted publickey").count()
    }

    /// All sshd said.
    pub fn sshd_log(&self) -> String {
        if self.exists(LOG) { self.text(LOG) } else { String::new() }
    }
}
