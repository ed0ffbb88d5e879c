//! No more rights than the work needs: a peer's user with one sudo rule, and units that may do little.

use crate::lab::{CHALLENGES, Host, Lab, token, until};

const NAME: &str = "www.site.test";
const HOME: &str = "/var/lib/certcast-login";
/// Debian 12's own.
const SUDOERS: &str = "Defaults env_reset\nDefaults mail_badpass\nDefaults use_pty\n\
                       Defaults secure_path=\"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\"\n\
                       root ALL=(ALL:ALL) ALL\n@includedir /etc/sudoers.d\n";

fn example(path: &str) -> String {
    std::fs::read_to_string(format!("{}/examples/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The peer as docs/security.md says, with the files that are shipped.
fn make_user(lab: &Lab, peer: &Host) {
    peer.append("/etc/passwd", format!("certcast:x:970:970::{HOME}:/bin/sh\n"));
    peer.append("/etc/group", "certcast:x:970:\n");
    peer.append("/etc/shadow", "certcast:*:19000:0:99999:7:::\n");
    peer.write("/etc/sudoers", SUDOERS);
    peer.write("/etc/sudoers.d/certcast", example("least-privilege/sudoers"));
    for path in ["/etc/sudoers", "/etc/sudoers.d/certcast"] {
        peer.chmod(path, 0o440);
    }
    peer.run(["visudo", "-c"]).ok();
    let keys = example("least-privilege/authorized_keys").replace("ssh-ed25519 AAAA… certcast@web1", &lab.identity());
    peer.write(&format!("{HOME}/.ssh/authorized_keys"), keys);
    peer.remove("/root/.ssh/authorized_keys");
    lab.primary().set("peer.0.ssh", "certcast@192.0.2.2:22");
}

fn as_user(peer: &Host, line: &str) -> crate::lab::Finished {
    let user = ["setpriv", "--reuid=970", "--regid=970", "--clear-groups", "env", "HOME=/", "sh", "-c", line];
    peer.run(user)
}

#[test]
fn a_user_with_one_sudo_rule_is_enough_for_everything_and_may_do_nothing_else() {
    let (lab, old) = Lab::serving(2, NAME);
    let (primary, peer) = (lab.primary(), &lab["web2"]);
    make_user(&lab, peer);

    primary.set("challenge.check_dns", false);
    let count = format!("ls {CHALLENGES} >/root/own");
    primary.hooks().auth(&[NAME]).then(&count).run().ok().silent();
    assert_eq!(peer.tokens(), [token(NAME)]);
    primary.hooks().auth(&[NAME]).cleanup(&[NAME]).run().ok().silent();
    assert_eq!(peer.tokens(), Vec::<String>::new());
    let new = lab.issue(NAME, 2, &[NAME]);
    lab.deploy(NAME).ok().silent();
    peer.serves(&lab, NAME, &new);
    peer.remove(&format!("/etc/letsencrypt/live/{NAME}/cert.pem"));
    lab.resync(&["--adopt"]).ok();
    peer.certbot_certificates(NAME).ok().says("VALID");
    // The end of the line reaches the receiver through sudo: what was only staged is undone.
    peer.run(["mkfifo", "/run/gate"]).ok();
    let hold = "if ls -A /etc/letsencrypt/live | grep -q stage; then read x </run/gate; fi; exec nginx -t";
    peer.set("service.0.test", vec!["sh", "-c", hold]);
    let next = lab.issue(NAME, 3, &[NAME]);
    let deploy = lab.deploying(NAME).spawn();
    let staged = || peer.list("/etc/letsencrypt/live").iter().any(|name| name.contains(".stage-"));
    until("it is staged", staged);
    deploy.kill();
    peer.run(["sh", "-c", "echo go >/run/gate"]).ok();
    until("it is undone", || peer.processes("certcast receive").is_empty() && !staged());
    peer.serves(&lab, NAME, &new);
    peer.set("service.0.test", vec!["nginx", "-t"]);
    lab.resync(&[]).ok();
    peer.serves(&lab, NAME, &next);
    assert!(peer.sshd_log().contains("Accepted publickey for certcast") && old != next);

    // The user himself, without the key and with a shell.
    peer.run(["install", "-o", "certcast", "-m", "600", "/dev/null", "/tmp/evil.toml"]).ok();
    let receive = "/usr/local/bin/certcast receive --role deploy";
    let evil = "[node]\\nstate = \\\"/tmp/evil\\\"\\n";
    as_user(peer, &format!("printf \"{evil}\" >/tmp/evil.toml")).ok();
    for line in [
        format!("cat /etc/letsencrypt/live/{NAME}/privkey.pem"),
        format!("cat /etc/letsencrypt/archive/{NAME}/privkey3.pem"),
        "cat /etc/certcast/config.toml".to_owned(),
        "ls /var/lib/certcast".to_owned(),
        "touch /etc/letsencrypt/live/x".to_owned(),
        format!("touch {HOME}/x || echo x >>{HOME}/.ssh/authorized_keys"),
        "/usr/local/bin/certcast receive --role deploy </dev/null".to_owned(),
        "sudo -n id".to_owned(),
        format!("sudo -n {receive} --allow-force </dev/null"),
        format!("sudo -n {receive} --config /tmp/evil.toml </dev/null"),
        "sudo -n /usr/local/bin/certcast --config /tmp/evil.toml receive --role deploy </dev/null".to_owned(),
        "sudo -n /usr/local/bin/certcast receive --role own </dev/null".to_owned(),
        format!("sudo -n CERTCAST_CONFIG=/tmp/evil.toml {receive} </dev/null"),
        format!("CERTCAST_CONFIG=/tmp/evil.toml sudo -nE {receive} </dev/null"),
    ] {
        let said = as_user(peer, &line).fails();
        assert!(!said.stdout().contains("PRIVATE KEY") && !said.stdout().contains("certcast-wire"), "{said}");
    }
    // With its variable it may be called, and does not hear of it.
    as_user(peer, &format!("CERTCAST_CONFIG=/tmp/evil.toml LD_PRELOAD=/tmp/x.so sudo -n {receive} </dev/null"))
        .says("certcast-wire");
    assert!(!peer.exists("/tmp/evil"));
}

/// One setting of a shipped unit; several lines of it are one list.
fn setting(unit: &str, name: &str) -> Vec<String> {
    let text = example(&format!("systemd/{unit}"));
    let lines = text.lines().filter_map(|line| line.strip_prefix(&format!("{name}=")));
    lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

/// The words that give a program of a host what systemd would give the unit's: its capabilities, its view of the files.
fn confined(unit: &str) -> Vec<String> {
    let writable = setting(unit, "ReadWritePaths").join(" ").replace('-', "");
    let capabilities = setting(unit, "CapabilityBoundingSet").join(",").to_lowercase().replace("cap_", "+");
    assert_eq!(setting(unit, "ProtectSystem"), ["strict"]);
    // The program is in the repository, which may stand below /tmp: there it is shown again.
    let repository = env!("CARGO_MANIFEST_DIR");
    let script = format!(
        "set -e; mount --make-rprivate /; cd {repository}; for p in {writable}; do [ ! -e $p ] || mount --rbind $p $p; done; \
         mount -o remount,bind,ro /; mount -o remount,bind,ro /usr/local/bin; mount -t tmpfs private /tmp; \
         [ -e {repository} ] || {{ mkdir -p {repository}; mount -c --rbind . {repository}; }}; cd /; exec setpriv --bounding-set=-all,{capabilities} --inh-caps=-all --no-new-privs -- \"$@\""
    );
    ["unshare", "--mount", "sh", "-c", &script, "--"].map(str::to_owned).to_vec()
}

/// The system calls that a unit's filter lets through, as systemd knows them.
fn allowed_calls(unit: &str) -> Vec<String> {
    let mut sets = setting(unit, "SystemCallFilter");
    let mut calls = Vec::new();
    while let Some(set) = sets.pop() {
        if !set.starts_with('@') {
            calls.push(set);
            continue;
        }
        let said = std::process::Command::new("systemd-analyze").args(["syscall-filter", "--no-pager", &set]).output();
        let text = String::from_utf8(said.expect("systemd-analyze; ./tests/run installs it").stdout).unwrap();
        let members = text.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        sets.extend(members.map(str::to_owned));
    }
    calls
}

/// Runs a unit's command so confined, and looks at every system call.
fn run_confined(host: &Host, unit: &str, words: &[&str]) -> crate::lab::Finished {
    let strace = ["strace", "-f", "-qq", "-o", "/run/calls", "-e", "signal=none"].map(str::to_owned);
    let argv = confined(unit).into_iter().chain(strace).chain(words.iter().map(|&word| word.to_owned()));
    let finished = host.run(argv);
    let allowed = allowed_calls(unit);
    assert!(allowed.len() > 200, "{allowed:?}");
    let calls = host.text("/run/calls");
    let names = calls.lines().filter_map(|line| line.split_once(' ')?.1.trim_start().split_once('('));
    for (name, rest) in
        names.filter(|(name, _)| name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'))
    {
        assert!(allowed.iter().any(|call| call == name), "{unit} does not allow {name}({rest}");
        let flags =
            ["CLONE_NEWUSER", "CLONE_NEWNET", "CLONE_NEWPID", "CLONE_NEWIPC", "CLONE_NEWUTS", "CLONE_NEWCGROUP"];
        assert!(!flags.iter().any(|flag| rest.contains(flag)), "{name}({rest}");
        let may_mount = setting(unit, "RestrictNamespaces") == ["mnt"];
        assert!(may_mount || !rest.contains("CLONE_NEWNS"), "{name}({rest}");
    }
    finished
}

#[test]
fn the_resync_unit_leaves_room_for_all_that_resync_does() {
    const JOINED: &str = "/etc/haproxy/certs/www.site.test.pem";
    let unit = "certcast-resync.service";
    let (lab, _) = Lab::serving(2, NAME);
    let primary = lab.primary();
    primary.mkdir("/etc/haproxy/certs");
    primary.set("service.0.joined", "/etc/haproxy/certs/{lineage}.pem");
    lab.deploy(NAME).ok();
    // A pre-flight and a switch of a joined file, tests, reloads, probes, ssh.
    let new = lab.issue(NAME, 2, &[NAME]);
    let said = run_confined(primary, unit, &["/usr/local/bin/certcast", "resync", "--json"]).ok();
    assert!(said.stdout().matches(r#""outcome": "applied""#).count() == 2, "{said}");
    assert!(!said.stdout().contains("no pre-flight"), "{said}");
    lab.hosts().iter().for_each(|host| host.serves(&lab, NAME, &new));
    assert!(primary.text(JOINED).contains(std::str::from_utf8(&new.cert).unwrap().trim()));
    assert!(primary.text("/run/calls").contains("CLONE_NEWNS"));
    // It is a confinement.
    run_confined(primary, unit, &["touch", "/etc/certcast/x"]).fails().says("Read-only file system");
    run_confined(primary, unit, &["touch", "/usr/local/bin/x"]).fails().says("Read-only file system");
    run_confined(primary, unit, &["mknod", "/run/x", "c", "1", "3"]).fails().says("Operation not permitted");
}

#[test]
fn the_recover_unit_leaves_room_for_all_that_recover_does() {
    let (lab, old) = Lab::serving(2, NAME);
    let peer = &lab["web2"];
    peer.run(["mkfifo", "/run/gate"]).ok();
    let hold = "touch /run/waiting; read x </run/gate; exec nginx -s reload";
    peer.set("service.0.reload", vec!["sh", "-c", hold]);
    lab.issue(NAME, 2, &[NAME]);
    let deploy = lab.deploying(NAME).spawn();
    until("it has switched", || peer.exists("/run/waiting"));
    for receiver in peer.processes("/usr/local/bin/certcast receive") {
        peer.signal(receiver, nix::sys::signal::Signal::SIGKILL);
    }
    deploy.kill();
    peer.run(["sh", "-c", "echo go >/run/gate"]).ok();
    peer.set("service.0.reload", vec!["nginx", "-s", "reload"]);
    assert!(peer.exists("/var/lib/certcast/transaction.journal"));
    run_confined(peer, "certcast-recover.service", &["/usr/local/bin/certcast", "recover"]).ok().says("recovered");
    assert!(!peer.exists("/var/lib/certcast/transaction.journal"));
    assert_eq!(peer.installed_leaf(NAME), Some(old.fingerprint()));
    peer.serves(&lab, NAME, &old);
}
