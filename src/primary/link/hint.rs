//! What a person can do about each error.

use crate::model::pasteable::pasteable;

use super::error::{LinkError, OfferedKey};

impl LinkError {
    /// What a person can do, with a command to paste where there is one.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            LinkError::HostKeyUnknown(offered) | LinkError::HostKeyNoUsableAlgorithm { offered, .. } => trust(offered),
            LinkError::HostKeyChanged { offered, .. } => format!(
                "if the server was reinstalled, forget the old key with `{}`; then '{}' asks for the new one and sets it up; or by hand, {}",
                pasteable(&["ssh-keygen", "-R", &offered.host, "-f", &offered.known_hosts.to_string_lossy()]),
                pasteable(&["certcast", "peer", "add", &format!("root@{}", plain(&offered.host))]),
                trust(offered)
            ),
            LinkError::HostKeyRevoked { offered, .. } => format!(
                "somebody may hold that key: make a new one on {} with `rm {1} && ssh-keygen -A`, restart sshd there, and pin it",
                offered.host,
                host_key_file(&offered.kind).trim_end_matches(".pub")
            ),
            LinkError::HostKeyAuthorityOnly(_) => {
                "set transport = \"system-ssh\" for this peer, or pin its plain host key".to_owned()
            }
            LinkError::Exposed { path, exposure } => exposure.remedy(path),
            LinkError::IdentityOpenToOthers { path, .. } => pasteable(&["chmod", "600", &path.to_string_lossy()]),
            LinkError::IdentityMissing { path } => {
                let make = ["ssh-keygen", "-t", "ed25519", "-N", "", "-f", &path.to_string_lossy()];
                format!("make one with `{}`, or set [ssh] identity", pasteable(&make))
            }
            LinkError::IdentityEncrypted { path } => format!(
                "a hook has nobody to ask for a passphrase: remove it with `{}`, or run an agent with `{}`",
                pasteable(&["ssh-keygen", "-p", "-N", "", "-f", &path.to_string_lossy()]),
                pasteable(&["ssh-add", &path.to_string_lossy()])
            ),
            LinkError::Authentication { user, .. } => format!(
                "compare `ssh-keygen -yf IDENTITY` here with ~{user}/.ssh/authorized_keys there; sshd's log there says why; one that was reinstalled 'certcast peer add' sets up again"
            ),
            LinkError::Negotiation { .. } => {
                "set transport = \"system-ssh\" for this peer, or bring its sshd up to date".to_owned()
            }
            LinkError::Refused { address, .. } => {
                format!("is sshd running there, on this port? `ss -ltn 'sport = :{}'`", address.port())
            }
            LinkError::BannerDropped { .. } => "sshd's log there says why; see MaxStartups in sshd_config".to_owned(),
            _ => return None,
        })
    }
}

/// A host as `known_hosts` has it, as `ssh =` has it: of `[name]:port` the brackets are needed for IPv6 only.
fn plain(host: &str) -> String {
    match host.strip_prefix('[').and_then(|rest| rest.split_once("]:")) {
        Some((name, port)) if !name.contains(':') => format!("{name}:{port}"),
        _ => host.to_owned(),
    }
}

/// The key is shown whole: what a person compares is then what is pinned, with no second, unproven scan.
fn trust(offered: &OfferedKey) -> String {
    let OfferedKey { host, kind, fingerprint, base64, known_hosts } = offered;
    format!(
        "on the server itself run `ssh-keygen -lf {}`; only if it shows {fingerprint}, run here `{} >> {}` (ssh-keyscan alone proves nothing)",
        host_key_file(kind),
        pasteable(&["echo", &format!("{host} {kind} {base64}")]),
        pasteable(&[known_hosts.to_string_lossy()])
    )
}

/// Where a server usually has the public half of a host key of this type.
pub fn host_key_file(kind: &str) -> &'static str {
    if kind.starts_with("ecdsa") {
        "/etc/ssh/ssh_host_ecdsa_key.pub"
    } else if kind == "ssh-rsa" {
        "/etc/ssh/ssh_host_rsa_key.pub"
    } else {
        "/etc/ssh/ssh_host_ed25519_key.pub"
    }
}
