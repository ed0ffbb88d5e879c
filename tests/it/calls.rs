//! How certbot calls its hooks when things are odd: orphans, what other hooks left behind, no `/tmp`, nothing open.

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::challenges::everything_is_gone;
use crate::crash::{await_gate, hold, open_gate};
use crate::lab::{Command, Grant, Lab, token, until};

const NAME: &str = "www.site.test";
const LINEAGE: (&str, &str) = ("RENEWED_LINEAGE", "/etc/letsencrypt/live/www.site.test");

/// Kills certbot where its hook waits for web2, and leaves the hook.
fn orphaned(lab: &Lab, certbot: Command) {
    let certbot = certbot.spawn();
    await_gate(&lab["web2"]);
    certbot.signal(Signal::SIGKILL);
    assert_eq!(certbot.wait().code(), None);
    assert!(!lab.primary().processes("certcast ").is_empty());
}

fn has_open(pid: Pid, file: &str) -> bool {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    open.filter_map(|entry| entry.path().read_link().ok()).any(|path| path.ends_with(file))
}

fn no_hook_is_left(lab: &Lab) {
    until("the orphan ends too", || lab.primary().processes("certcast ").is_empty());
}

#[test]
fn an_orphaned_deploy_beside_a_new_one_keeps_the_newest() {
    let (lab, _) = Lab::serving(2, NAME);
    let peer = &lab["web2"];
    hold(peer, "reload", "[ ! -e /run/waiting ]", "nginx -s reload");
    lab.issue(NAME, 2, &[NAME]);
    orphaned(&lab, lab.primary().hooks().call("deploy", &[LINEAGE]).command());
    let newest = lab.issue(NAME, 3, &[NAME]);
    let second = lab.deploying(NAME).spawn();
    until("the second waits for the first", || {
        let deploys = lab.primary().processes("certcast deploy");
        deploys.iter().filter(|pid| has_open(**pid, "delivery.lock")).count() == 2
    });
    open_gate(peer);
    second.wait().ok().silent();
    no_hook_is_left(&lab);
    for host in lab.hosts() {
        host.serves(&lab, NAME, &newest);
    }
    assert_eq!(lab.resync(&[]).exits(0).stdout(), "everything is in line\n");
}

#[test]
fn an_orphaned_auth_beside_a_new_run_of_certbot_is_cleaned_up_after() {
    let other = "other.test";
    let lab = Lab::raise().hosts(2).up();
    for name in [NAME, other] {
        lab.point_both(name, &["web1", "web2"]);
    }
    let peer = &lab["web2"];
    let receive = "exec /usr/local/bin/certcast receive --role deploy";
    let first = "if [ ! -e /run/waiting ]; then echo >/run/waiting; read x </run/gate; fi";
    peer.write("/root/receiver", format!("#!/bin/sh\n{first}\n{receive}\n"));
    peer.chmod("/root/receiver", 0o755);
    peer.run(["mkfifo", "/run/gate"]).ok();
    peer.authorize_only(&lab.identity(), Grant::Forced("/root/receiver"));

    orphaned(&lab, lab.primary().hooks().auth(&[NAME]).command());
    let second = lab.primary().hooks().auth(&[other]).command().spawn();
    until("the second is under way beside the first", || lab.primary().tokens().contains(&token(other)));
    assert!(!peer.processes("/root/receiver").is_empty(), "the first is waited for no more");
    open_gate(peer);
    second.wait().ok().silent();
    no_hook_is_left(&lab);
    for host in lab.hosts() {
        assert_eq!(host.tokens(), [token(other)], "{}", host.name());
    }
}

#[test]
fn what_other_hooks_left_in_the_environment_means_nothing_and_a_second_deploy_does_nothing() {
    let (lab, _) = Lab::serving(2, NAME);
    lab.point_both(NAME, &["web1", "web2"]);
    let stale = [
        ("CERTBOT_DOMAIN", "*.stale.test"),
        ("CERTBOT_TOKEN", "../stale"),
        ("CERTBOT_VALIDATION", "stale"),
        ("CERTBOT_REMAINING_CHALLENGES", "-1"),
        ("CERTBOT_AUTH_OUTPUT", "stale"),
    ];
    let new = lab.issue(NAME, 2, &[NAME]);
    let deploy = || lab.primary().hooks().call("deploy", &[&stale[..], &[LINEAGE]].concat()).run();
    deploy().ok().silent();
    lab["web2"].serves(&lab, NAME, &new);
    let now = || lab.hosts().iter().map(|host| (host.nginx_reloads(), host.stamps())).collect::<Vec<_>>();
    let before = now();
    deploy().ok().silent();
    assert!(now() == before, "a second deploy touched something");

    let token = token(NAME);
    let validation = format!("{token}.9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI");
    let stale = [("RENEWED_LINEAGE", "/nowhere/live/.."), ("RENEWED_DOMAINS", "*"), ("CERTBOT_AUTH_OUTPUT", "stale")];
    let own = [("CERTBOT_DOMAIN", NAME), ("CERTBOT_TOKEN", &token), ("CERTBOT_VALIDATION", &validation)];
    let auth = [&stale[..], &own].concat();
    let cleanup = [&stale[..], &own, &[("CERTBOT_REMAINING_CHALLENGES", "7")]].concat();
    lab.primary()
        .hooks()
        .call("auth", &auth)
        .then("ls /var/www/html/.well-known/* >/seen")
        .call("cleanup", &cleanup)
        .run()
        .ok()
        .silent();
    assert_eq!(lab.primary().text("/seen").trim(), token);
    everything_is_gone(&lab);
}

#[test]
fn hooks_need_no_tmp_and_no_open_descriptor() {
    let (lab, _) = Lab::serving(2, NAME);
    lab.point_both(NAME, &["web1", "web2"]);
    // The program itself may be below one of them.
    lab.primary().run(["cp", "/usr/local/bin/certcast", "/root/certcast"]).ok();
    let hook = |name: &str| {
        let mounts = "mount -t tmpfs -o ro none /tmp && mount -t tmpfs -o ro none /var/tmp && mount -t tmpfs -o ro none /dev/shm";
        format!("exec unshare --mount /bin/sh -c \"{mounts} && exec /root/certcast {name} <&- >&- 2>&-\"")
    };
    let run = lab.primary().hooks().auth_by(&hook("auth"), &[NAME]).then("ls /var/www/html/.well-known/* >/seen");
    run.cleanup(&[NAME]).run().ok().silent();
    assert_eq!(lab.primary().text("/seen").trim(), token(NAME));
    let new = lab.issue(NAME, 2, &[NAME]);
    lab.primary().hooks().call_by(&hook("deploy"), &[LINEAGE]).run().ok().silent();
    for host in lab.hosts() {
        host.serves(&lab, NAME, &new);
    }
}
