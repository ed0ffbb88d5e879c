//! The system's own `ssh`: what it is told.

use std::time::Duration;

use super::{COMMAND, Destination};

/// The whole command. Never asks anything, never trusts a new key, and leaves the rest to `ssh_config`.
pub fn argv(to: &Destination, connect_timeout: Duration) -> Vec<String> {
    let seconds = connect_timeout.as_secs().max(1);
    let mut argv: Vec<String> = ["ssh", "-T", "-a", "-x"].map(str::to_owned).into();
    for option in [
        "BatchMode=yes",
        "StrictHostKeyChecking=yes",
        "ClearAllForwardings=yes",
        // It would stay behind as a master for others and outlive its group.
        "ControlMaster=no",
        &format!("ConnectTimeout={seconds}"),
    ] {
        argv.extend(["-o".to_owned(), option.to_owned()]);
    }
    argv.extend(whereto(to));
    argv
}

/// The same for a person who looks why it fails: without the options that change nothing then.
pub fn trial(to: &Destination) -> Vec<String> {
    ["ssh", "-o", "BatchMode=yes"].into_iter().map(str::to_owned).chain(whereto(to)).collect()
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
}
