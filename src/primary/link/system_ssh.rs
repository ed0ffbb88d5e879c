//! The system's own `ssh`: what it is told, and what it means when it fails.

use std::time::Duration;

use super::{COMMAND, Destination};

/// What ssh exits with when it did not get as far as the command; else it has the command's own status, as 127 where there is
/// no such command.
pub const ITS_OWN_FAILURE: i32 = 255;
/// Somebody is there, and does not let us in or is not who he should be. One such word outweighs all of the others: through a
/// jump host, the way beyond it is closed as well.
const REFUSALS: [&str; 6] = [
    "Permission denied",
    "Host key verification failed",
    "HOST IDENTIFICATION HAS CHANGED",
    "Too many authentication failures",
    "Unable to negotiate",
    "No supported authentication methods",
];
/// Nobody is there, or he hung up. OpenSSH's own words and those of the C library, which it does not translate.
const ABSENCES: [&str; 12] = [
    "Could not resolve hostname",
    "Connection refused",
    "Connection timed out",
    "Operation timed out",
    "No route to host",
    "Network is unreachable",
    "Host is down",
    "Connection reset",
    "Connection closed",
    "closed by remote host",
    "Broken pipe",
    "not responding",
];

/// Whether ssh's last words, after a failure of its own, say that the peer is away. What is not known to mean that is a
/// refusal: a peer that wants mending must not be passed over as one that is merely off.
pub fn tells_of_absence(said: &str) -> bool {
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    !has(&REFUSALS) && has(&ABSENCES)
}

/// What is said in every call, whatever `ssh_config` has for a person's own logins.
const ALWAYS: [&str; 10] = [
    // Some of what follows is unknown before OpenSSH 7.6 and 8.7. Said here, it outweighs the one in ssh_config, so it has
    // that one's as well.
    "IgnoreUnknown=*",
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    "ClearAllForwardings=yes",
    // It would stay behind as a master for others and outlive its group.
    "ControlMaster=no",
    // The master of another login has another key, and went by another's word for the host key.
    "ControlPath=none",
    "RemoteCommand=none",
    "StdinNull=no",
    "SessionType=default",
    "ForkAfterAuthentication=no",
];
/// Those that may decide whether a call goes well.
const DECISIVE: [&str; 5] =
    ["IgnoreUnknown=*", "BatchMode=yes", "StrictHostKeyChecking=yes", "ControlPath=none", "RemoteCommand=none"];

/// An `ssh` that asks nothing, runs the command and goes with it; the rest is left to `ssh_config`.
pub fn client(more: &[&str]) -> Vec<String> {
    ["ssh", "-T", "-a", "-x"].into_iter().chain(options(&[&ALWAYS, more])).map(str::to_owned).collect()
}

/// The whole command.
pub fn argv(to: &Destination, connect_timeout: Duration) -> Vec<String> {
    let seconds = connect_timeout.as_secs().max(1);
    let mut argv = client(&[&format!("ConnectTimeout={seconds}")]);
    argv.extend(whereto(to));
    argv
}

/// The same for a person who looks why it fails: without the options that change nothing then.
pub fn trial(to: &Destination) -> Vec<String> {
    let ssh = ["ssh"].into_iter().chain(options(&[&DECISIVE]));
    ssh.map(str::to_owned).chain(whereto(to)).collect()
}

fn options<'o>(lists: &[&[&'o str]]) -> impl Iterator<Item = &'o str> {
    lists.concat().into_iter().flat_map(|option| ["-o", option])
}

fn whereto(to: &Destination) -> Vec<String> {
    let mut argv = Vec::new();
    if let Some(port) = to.port {
        argv.extend(["-p".to_owned(), port.to_string()]);
    }
    if let Some(user) = &to.user {
        argv.extend(["-l".to_owned(), user.clone()]);
    }
    argv.extend(["--".to_owned(), to.host.clone()]);
    argv.extend(COMMAND.split(' ').map(str::to_owned));
    argv
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_is_left_to_ssh_config_and_the_rest_is_said() {
        let alias = Destination { user: None, host: "web2".to_owned(), port: None };
        let line = argv(&alias, Duration::from_millis(1)).join(" ");
        assert!(line.ends_with(" -o ConnectTimeout=1 -- web2 certcast receive"), "{line}");
        let full = Destination { user: Some("deploy".to_owned()), host: "fe80::1%eth0".to_owned(), port: Some(2222) };
        let line = argv(&full, Duration::from_secs(9)).join(" ");
        assert!(line.ends_with(" -p 2222 -l deploy -- fe80::1%eth0 certcast receive"), "{line}");
        assert!(line.contains("-o BatchMode=yes -o StrictHostKeyChecking=yes"), "{line}");
    }

    #[test]
    fn only_who_is_not_there_is_away() {
        for away in [
            "ssh: connect to host 192.0.2.2 port 22: Connection refused\r\n",
            "ssh: connect to host 192.0.2.2 port 22: No route to host\r\n",
            "ssh: connect to host 192.0.2.2 port 22: Connection timed out\r\n",
            "Connection timed out during banner exchange\r\nConnection to 192.0.2.2 port 22 timed out\r\n",
            "ssh: Could not resolve hostname web2: Name or service not known\r\n",
            "kex_exchange_identification: read: Connection reset by peer\r\nConnection reset by 192.0.2.2 port 22\r\n",
            "channel 0: open failed: connect failed: Connection refused\r\nstdio forwarding failed\r\n\
             Connection closed by UNKNOWN port 65535\r\n",
        ] {
            assert!(tells_of_absence(away), "{away}");
        }
        for there in [
            "root@192.0.2.2: Permission denied (publickey).\r\n",
            "root@hop: Permission denied (publickey).\r\nConnection closed by UNKNOWN port 65535\r\n",
            "No ED25519 host key is known for web2 and you have requested strict checking.\r\n\
             Host key verification failed.\r\n",
            "Received disconnect from 192.0.2.2 port 22:2: Too many authentication failures\r\n\
             Connection closed by 192.0.2.2 port 22\r\n",
            "/root/.ssh/config: line 1: Bad configuration option: hosst\r\n",
            "bash: line 1: certcast: command not found\n",
            "",
        ] {
            assert!(!tells_of_absence(there), "{there}");
        }
    }
}
