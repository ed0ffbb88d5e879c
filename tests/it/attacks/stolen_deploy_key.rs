//! The primary's key in other hands: challenges, and certificates that are whole, current and newer. Nothing else.

use serde_json::{Value, json};

use super::frames::{
    BANNER, NAME, changes, commit, compare, everything, frame, frames, hello, id, is_unchanged, prepare, publish, send,
    ssh, tell, with,
};
use crate::lab::{Bundle, Fault, Finished, Grant, Lab, Running, Validity, programs, token, until};

#[test]
fn a_command_sftp_scp_and_a_terminal_are_refused_and_nothing_is_run() {
    let lab = Lab::raise().hosts(2).up();
    let peer = &lab["web2"];
    peer.restart_sshd_with("AcceptEnv LANG LC_*\nPermitTTY yes");
    let before = everything(peer);
    let watch = peer.watch_sshd("execve");
    for words in
        [&["id"][..], &["touch /root/owned"], &["sh", "-c", "id"], &["certcast", "recover"], &["scp", "-t", "/"]]
    {
        let said = ssh(&lab, &[], words).run().fails();
        assert!(!said.stdout().contains("uid=") && said.stdout().starts_with("\0certcast-wire "), "{said}");
    }
    let known = ["-F", "none", "-i", "/etc/certcast/id_ed25519", "-o", "UserKnownHostsFile=/etc/certcast/known_hosts"];
    lab.primary().write("/tmp/batch", "put /etc/hostname /root/owned\n");
    lab.primary().command(["sftp", "-b", "/tmp/batch"]).args(known).args(["root@192.0.2.2"]).run().fails();
    for protocol in ["-O", "-s"] {
        let copies = [["root@192.0.2.2:/etc/shadow", "/tmp/stolen"], ["/etc/hostname", "root@192.0.2.2:/root/owned"]];
        for copy in copies {
            lab.primary().command(["scp", protocol]).args(known).args(copy).run().fails();
        }
    }
    ssh(&lab, &["-s"], &["sftp"]).run().fails();
    ssh(&lab, &["-tt"], &["id"]).run().fails().says("PTY allocation request failed");
    // What sshd lets a client choose of the environment, and what it does not.
    let variables =
        ["LC_ALL=\"() { :; }; touch /root/owned\"", "LD_PRELOAD=/var/www/html/x.so", "CERTCAST_CONFIG=/dev/null"];
    let variables = variables.map(|variable| format!("SetEnv={variable}"));
    let good = [BANNER, &frames([&hello(20_000), &prepare(&lab.bundle(&[NAME]), NAME, 1), &commit(1)])].concat();
    for variable in &variables {
        ssh(&lab, &["-o", variable], &["touch /root/owned"]).input(good.clone()).run().says(r#""outcome":"#);
    }
    let seen = watch.end();

    assert!(!lab.primary().exists("/tmp/stolen"));
    let mut changed = changes(&before, &everything(peer));
    changed.retain(|entry| !entry.path.starts_with("/etc/letsencrypt"));
    assert_eq!(changed, Vec::new());
    let forced = "/usr/local/bin/certcast receive --role deploy";
    let allowed = [forced, &format!("bash -c {forced}"), "nginx -t", "nginx -s reload"];
    let run = programs(&seen);
    for program in &run {
        assert!(
            allowed.contains(&program.as_str()) || program.starts_with("/usr/sbin/sshd "),
            "{program:?} was run: {run:#?}"
        );
    }
    assert!(allowed.iter().all(|program| run.iter().any(|other| other == program)), "{run:#?}");
    // The words of the thief reach the receiver, and end there.
    let chosen = |line: &&str| line.contains("touch /root/owned");
    let told: Vec<_> = seen.lines().filter(chosen).collect();
    assert!(told.iter().any(|line| line.contains("execve(\"/usr/local/bin/certcast\"")), "{told:#?}");
    assert!(!told.iter().any(|line| line.contains("nginx")), "{told:#?}");
    let log = peer.sshd_log();
    let mut sessions = log.lines().filter(|line| line.starts_with("Starting session")).peekable();
    assert!(sessions.peek().is_some());
    assert!(sessions.all(|line| line.contains(&format!("forced-command (key-option) '{forced}'"))), "{log}");
}

#[test]
fn no_forwarding_of_any_kind_is_granted() {
    let lab = Lab::raise().hosts(2).up();
    let peer = &lab["web2"];
    let all = "X11Forwarding yes\nAllowAgentForwarding yes\nAllowTcpForwarding yes\nPermitTunnel yes\nPermitUserRC yes";
    peer.restart_sshd_with(all);
    let temporary = peer.list("/tmp");
    peer.write("/var/www/html/secret", "secret");
    peer.write("/root/.ssh/rc", "touch /root/owned\n");
    ssh(&lab, &["-W", "127.0.0.1:80"], &[]).input("GET /secret HTTP/1.0\r\n\r\n").run().fails().says("prohibited");
    ssh(&lab, &["-N", "-R", "8082:127.0.0.1:80"], &[]).run().fails().says("remote port forwarding failed");
    ssh(&lab, &["-Y"], &["id"]).env("DISPLAY", "127.0.0.1:0").run().fails().says("X11 forwarding request failed");
    ssh(&lab, &["-N", "-R", "/run/owned.sock:127.0.0.1:80"], &[]).run().fails().says("remote port forwarding failed");
    ssh(&lab, &["-N", "-w", "0:0"], &[]).run().fails();
    let agent: Running = lab.primary().spawn(["ssh-agent", "-D", "-a", "/tmp/agent"]);
    until("the agent answers", || lab.primary().exists("/tmp/agent"));
    let with_agent = ssh(&lab, &["-A"], &["ls -l $SSH_AUTH_SOCK"]).env("SSH_AUTH_SOCK", "/tmp/agent").run().fails();
    assert!(!with_agent.stdout().contains("/tmp/ssh-"), "{with_agent}");
    drop(agent);
    assert!(!peer.sshd_log().contains("auth_agent") && peer.list("/tmp") == temporary, "{:?}", peer.list("/tmp"));
    assert!(!peer.exists("/root/owned") && !peer.exists("/run/owned.sock"));
    let visits: [(&[&str], &[&str]); 2] = [
        (&["-N", "-L", "8083:127.0.0.1:80"], &["curl", "-s", "--max-time", "5", "http://127.0.0.1:8083/secret"]),
        (
            &["-N", "-D", "8083"],
            &["curl", "-s", "--max-time", "5", "-x", "socks5://127.0.0.1:8083", "http://127.0.0.1/secret"],
        ),
    ];
    for (options, visit) in visits {
        let tunnel: Running = ssh(&lab, options, &[]).spawn();
        lab.primary().await_listener(8083);
        let said = lab.primary().run(visit).fails();
        assert!(!said.stdout().contains("secret"), "{said}");
        tunnel.kill();
        until("the tunnel is gone", || !lab.primary().listens(8083));
    }
    // The same ways work with a key that is not restricted: it is the restriction that refuses.
    peer.authorize_only(&lab.identity(), Grant::Shell);
    ssh(&lab, &["-W", "127.0.0.1:80"], &[]).input("GET /secret HTTP/1.0\r\n\r\n").run().says("secret");
}

#[test]
fn hand_made_frames_are_rejected_with_an_answer_and_change_nothing() {
    let (lab, old) = Lab::serving(2, NAME);
    let peer = &lab["web2"];
    let good = prepare(&lab.bundle(&[NAME]), NAME, 2);
    // By hand, and yet good: what is refused below is refused for what it says. Not committed, it is undone.
    let said = send(&lab, &frame(&good));
    assert!(said.stdout().contains(r#""apart":[]"#), "{said}");
    until("it is undone", || peer.processes("certcast receive").is_empty());
    let before = everything(peer);

    let mut all = Vec::new();
    for name in ["../../../root", "a/../../b", "/etc/cron.d", "..", ".hidden", "-rf", "a\0b", "a\nb", "", "README"] {
        all.push((frame(&with(good.clone(), "/offers/0/lineage", name)), "lineage name"));
        all.push((frame(&compare(name)), "lineage name"));
    }
    for (place, mode) in [("directory", 0o777), ("key", 0o644), ("key", 0o4600), ("public", 0o666), ("public", 0o755)] {
        all.push((frame(&with(good.clone(), &format!("/offers/0/attributes/{place}/mode"), mode)), "mode "));
    }
    all.push((frame(&with(good.clone(), "/offers/0/attributes/key/uid", 33)), "user 33"));
    all.push((frame(&with(good.clone(), "/transaction", "../../../../../../../../../../../etc/x")), "32 hexadecimal"));
    all.push((frame(&with(good.clone(), "/offers/0/number", 0)), "nonzero"));
    all.push((frame(&with(good.clone(), "/offers/0/number", 1)), "another certificate under the same number"));
    all.push((frame(&with(good.clone(), "/verb", "shell")), "unknown variant"));
    all.push((frame(&with(good.clone(), "/offers/0/files/privkey", "-----BEGIN GARBAGE-----")), "privkey.pem"));
    all.push((frame(&hello(1)), "second hello"));
    all.push((frame(&commit(2)), "not prepared"));
    all.push((frames([&good, &commit(3)]), "not prepared"));
    all.push((frames([&good, &with(good.clone(), "/transaction", id(3))]), "another transaction"));
    all.push((frame(&json!({"verb": "abort", "transaction": id(2)})), "not prepared"));
    all.push((frame(&json!({"verb": "recall", "transaction": id(2), "lineages": [NAME]})), "never committed"));
    all.push((frame(&json!({"verb": "compare", "lineages": vec!["a"; 2001]})), "too many"));
    all.push((u32::MAX.to_be_bytes().to_vec(), "4294967295 bytes"));
    all.push((b"\0\0\0\x10garbage garbage!".to_vec(), "not understood"));
    // Bundles that are none, or are no step forward; `force` is only a word here.
    let wishes = json!({"force": true, "adopt": true, "dry_run": false});
    let forced = |bundle: &Bundle| with(prepare(bundle, NAME, 2), "/offers/0/wishes", wishes.clone());
    for (fault, why) in [
        (Fault::OtherKey, "privkey.pem"),
        (Fault::NoChain, "chain"),
        (Fault::WrongOrder, "fullchain.pem"),
        (Fault::Truncated, "fullchain.pem"),
    ] {
        all.push((frames([&forced(&lab.bundle(&[NAME]).broken(fault)), &commit(2)]), why));
    }
    for (validity, why) in [
        (Validity::Expired, "expired"),
        (Validity::NotYet, "not valid before"),
        (Validity::Days(-30, 60), "older than the installed one, and this node takes no such step"),
    ] {
        all.push((frames([&forced(&lab.bundle_valid(&[NAME], validity)), &commit(2)]), why));
    }
    for (bytes, why) in all {
        let said = tell(peer, "deploy", &bytes);
        let answers = said.stdout();
        let no = [r#""answer":"rejected""#, r#""outcome":"refused""#, r#""outcome":"pending""#];
        assert!(no.iter().any(|no| answers.contains(no)) && answers.contains(why), "not refused for {why:?}: {said}");
        assert!(!answers.contains(r#""outcome":"applied""#), "{said}");
    }
    let torn = &frame(&good)[..400];
    assert!(!send(&lab, torn).stdout().contains("prepared"));
    let noise = ssh(&lab, &[], &[]).input(vec![b'x'; 100_000]).run();
    noise.fails().says("does not speak certcast's protocol");
    is_unchanged(&before, &everything(peer), "by frames");
    assert!(!peer.exists("/var/lib/certcast/transaction.journal"));
    peer.serves(&lab, NAME, &old);
}

#[test]
fn a_deploy_key_is_for_its_lineages_only_and_hears_nothing_of_others() {
    let lab = Lab::raise().hosts(2).up();
    let peer = &lab["web2"];
    peer.install(NAME, 1, &lab.bundle(&[NAME]));
    peer.authorize_only(&lab.identity(), Grant::Receive { role: "deploy", only: &["other.test", "third.test"] });
    let before = peer.certificates();
    // Another's lineage is passed over, and the conversation goes on to the key's own.
    let bundle = lab.bundle(&[NAME]);
    let asked = [compare(NAME), prepare(&bundle, NAME, 2), compare("third.test")];
    let said = send(&lab, &frames(&asked));
    let answers = said.stdout();
    // Whether it is there is not to be heard; of its own it is.
    let unsaid =
        format!(r#"{{"lineage":"{NAME}","presence":{{"is":"unknown","cause":"this key is not for the lineage"#);
    let gone = r#"{"lineage":"third.test","presence":{"is":"gone"}}"#;
    assert!(answers.contains(&unsaid) && answers.contains(gone), "{said}");
    assert!(answers.contains(r#""outcome":"refused","step":"policy""#) && answers.contains("--only"), "{said}");
    assert!(!answers.contains(r#""answer":"rejected""#), "{said}");
    assert_eq!(peer.certificates(), before);
    lab.issue(NAME, 2, &[NAME]);
    lab.deploy(NAME).exits(3).says("web2").says("refused at policy").says("--only");
    lab.issue("other.test", 1, &[NAME]);
    lab.deploy("other.test").exits(0);
    assert!(peer.exists("/etc/letsencrypt/live/other.test"));
}

/// A peer without services, so that a transaction costs nothing but its files.
fn without_services() -> Lab {
    let lab = Lab::raise().hosts(2).up();
    lab["web2"].set("service", toml::Value::Array(Vec::new()));
    lab
}

fn applied(said: &Finished) -> usize {
    said.stdout().matches(r#""outcome":"applied""#).count()
}

#[test]
fn what_a_thief_installed_is_replaced_by_the_next_renewal() {
    let lab = without_services();
    let peer = &lab["web2"];
    lab.issue(NAME, 1, &[NAME]);
    lab.deploy(NAME).ok();
    // His own certificates, under the numbers of renewals to come, and the last of them far away.
    let numbers = [2, 3, 4, u32::MAX];
    let plant = |number: &u32| {
        let bundle = lab.bundle(&[NAME]);
        [with(prepare(&bundle, NAME, *number), "/offers/0/keep", numbers.to_vec()), commit(*number)]
    };
    let planted: Vec<Value> = numbers.iter().flat_map(plant).collect();
    assert_eq!(applied(&send(&lab, &frames(&planted))), 4);
    until("he has gone", || peer.processes("certcast receive").is_empty());
    assert!(peer.target(&format!("/etc/letsencrypt/live/{NAME}/cert.pem")).ends_with("cert4294967295.pem"));

    let renewed = lab.bundle_valid(&[NAME], Validity::Days(0, 90));
    lab.primary().install(NAME, 2, &renewed);
    lab.deploy(NAME).ok().silent();
    assert_eq!(peer.installed_leaf(NAME), Some(renewed.fingerprint()));
    // Of what he wrote nothing is left; version 1 he had removed.
    let left = ["cert2.pem", "chain2.pem", "fullchain2.pem", "privkey2.pem"];
    assert_eq!(peer.list(&format!("/etc/letsencrypt/archive/{NAME}")), left);
}

#[test]
fn a_thief_cannot_fill_the_disk_with_versions_lineages_or_challenges() {
    let lab = without_services();
    let peer = &lab["web2"];
    let bundle = lab.bundle(&[NAME]);
    let keep: Vec<u32> = (1..=60).collect();
    let again = |number: u32| [with(prepare(&bundle, NAME, number), "/offers/0/keep", keep.clone()), commit(number)];
    let versions: Vec<Value> = (1..=60).flat_map(again).collect();
    assert_eq!(applied(&send(&lab, &frames(&versions))), 60);
    assert_eq!(peer.list(&format!("/etc/letsencrypt/archive/{NAME}")).len(), 4 * 50);
    until("he has gone", || peer.processes("certcast receive").is_empty());

    for number in 0..1998 {
        peer.mkdir(&format!("/etc/letsencrypt/archive/{number}.test"));
    }
    let more = [prepare(&bundle, "a.test", 1), commit(1), prepare(&bundle, "b.test", 2)];
    let said = send(&lab, &frames(&more));
    assert!(applied(&said) == 1 && said.stdout().contains("2000 lineages are kept"), "{said}");
    assert!(!peer.exists("/etc/letsencrypt/archive/b.test"));

    let tokens = |from: u32| (from..from + 600).map(|number| format!("{number:043}")).collect::<Vec<_>>();
    let said =
        send(&lab, &frames([&publish(&tokens(0)), &publish(&tokens(600)), &publish(&vec!["a".repeat(43); 1001])]));
    assert!(said.stdout().contains("1000 challenges are noted"), "{said}");
    assert!(said.stdout().contains("too many at once"), "{said}");
    assert_eq!(peer.tokens().len(), 1000);
    // Never heard of until now, the receivers leave nothing else behind either.
    let outcomes: Value = serde_json::from_slice(&peer.read("/var/lib/certcast/outcomes/last.json")).unwrap();
    assert_eq!(outcomes.as_array().unwrap().len(), 60);
}

#[test]
fn conversations_that_never_end_hold_others_up_only_until_their_time_is_over() {
    let lab = Lab::raise().hosts(2).up();
    let peer = &lab["web2"];
    let staged = || peer.list("/etc/letsencrypt/live").iter().any(|name| name.contains(".stage-"));
    // Prepared and no word said: the node's lock is his for the time he asked for. His frames come byte by byte after
    // that; many others of his wait for the lock.
    let held = [BANNER, &frames([&hello(30_000), &prepare(&lab.bundle(&[NAME]), NAME, 1)]), b"\0\x0f\xff\xff"].concat();
    lab.primary().write("/tmp/held", held);
    let drip = |file: &str| {
        let script = format!("cat {file}; while sleep 0.2; do printf '\\0' || exit; done");
        let ssh =
            "ssh -F none -i /etc/certcast/id_ed25519 -o UserKnownHostsFile=/etc/certcast/known_hosts root@192.0.2.2";
        lab.primary().spawn(["bash", "-c", &format!("({script}) | {ssh}")])
    };
    let first = drip("/tmp/held");
    until("he has staged", staged);
    let others: Vec<Running> = (0..8).map(|_| drip("/tmp/held")).collect();

    // A deployment says what is in its way, in its own time; challenges go through all the same.
    lab.primary().set("deploy.budget", "3s");
    lab.primary().set("challenge.check_dns", false);
    let new = lab.issue(NAME, 1, &[NAME]);
    lab.deploy(NAME).exits(3).says("another run holds the lock here");
    assert!(staged(), "he was there all the time");
    lab.primary().hooks().auth(&[NAME]).run();
    assert_eq!(peer.tokens(), [token(NAME)]);
    assert!(staged(), "he was there all the time");
    for thief in others.into_iter().chain([first]) {
        thief.wait();
    }
    until("all receivers have ended", || peer.processes("certcast receive").is_empty());
    assert!(!staged() && !peer.exists("/var/lib/certcast/transaction.journal"));
    lab.primary().set("deploy.budget", "60s");
    lab.resync(&[]).ok();
    assert_eq!(peer.installed_leaf(NAME), Some(new.fingerprint()));
}
