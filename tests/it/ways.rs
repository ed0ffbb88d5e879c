//! The ways to a peer: whom ssh trusts, crowded or chatty sshds, other transports, IPv6 alone.

use std::net::IpAddr;

use crate::challenges::everything_is_gone;
use crate::lab::{Finished, Grant, Host, Lab, until};

const NAME: &str = "www.site.test";
const KNOWN_HOSTS: &str = "/etc/certcast/known_hosts";

/// The commands that a message gives to paste, in their order.
fn remedies(said: &Finished) -> Vec<String> {
    said.stderr().split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn has_newest(lab: &Lab, host: &Host) {
    assert_eq!(host.installed_leaf(NAME), lab.primary().installed_leaf(NAME), "{}", host.name());
}

/// A deploy that must not let web2 see a key of ours, and says why.
fn is_not_trusted(lab: &Lab, words: &[&str]) -> Finished {
    let keys_seen = || lab["web2"].sshd_log().matches("publickey").count();
    let before = keys_seen();
    let said = lab.deploy(NAME).exits(3);
    assert_eq!(said.stderr().matches("web2  www.site.test  pending: ").count(), 1, "{said}");
    words.iter().fold(said.clone(), |said, word| said.says(word));
    assert_eq!(keys_seen(), before, "it was authenticated to");
    said
}

/// What a person does with the message about a key that is not the pinned one: compares on the server, then pastes.
fn trust_as_told(lab: &Lab, said: &Finished) {
    let commands = remedies(said);
    let [forget @ .., compare, pin] = commands.as_slice() else { panic!("{said}") };
    for command in forget {
        lab.primary().run(["sh", "-c", command]).ok();
    }
    let shown = lab["web2"].run(["sh", "-c", compare]).ok().stdout();
    let fingerprint = shown.split_whitespace().nth(1).unwrap();
    assert!(said.stderr().contains(&format!("only if it shows {fingerprint},")), "{said}\n{shown}");
    lab.primary().run(["sh", "-c", pin]).ok();
}

#[test]
fn a_host_key_that_is_not_pinned_is_refused_and_what_the_message_says_mends_it() {
    let lab = Lab::raise().hosts(2).up();
    let peer = &lab["web2"];
    lab.issue(NAME, 1, &[NAME]);
    lab.primary().write(KNOWN_HOSTS, "");
    let said = is_not_trusted(&lab, &["192.0.2.2: its host key SHA256:", "is not in /etc/certcast/known_hosts"]);
    trust_as_told(&lab, &said);
    lab.deploy(NAME).ok().silent();

    lab.issue(NAME, 2, &[NAME]);
    peer.change_host_key();
    let said =
        is_not_trusted(&lab, &["its host key is now SHA256:", "not the one in /etc/certcast/known_hosts line 1"]);
    trust_as_told(&lab, &said);
    lab.deploy(NAME).ok().silent();

    lab.issue(NAME, 3, &[NAME]);
    let revoked = format!("@revoked * {}\n", peer.host_key());
    lab.primary().append(KNOWN_HOSTS, &revoked);
    let said = is_not_trusted(&lab, &["is marked @revoked in /etc/certcast/known_hosts line 2", "restart sshd"]);
    let [anew] = &remedies(&said)[..] else { panic!("{said}") };
    peer.run(["sh", "-c", anew]).ok();
    peer.restart_sshd_with("");
    let said = is_not_trusted(&lab, &["its host key is now SHA256:"]);
    trust_as_told(&lab, &said);
    lab.deploy(NAME).ok().silent();
    has_newest(&lab, peer);
    assert!(lab.primary().text(KNOWN_HOSTS).contains(&revoked), "a revoked key must stay so");
}

#[test]
fn connections_that_a_crowded_sshd_drops_all_get_through_in_the_end() {
    const PEERS: u16 = 12;
    let lab = Lab::raise().hosts(2).up();
    let (primary, peer) = (lab.primary(), &lab["web2"]);
    let ports: Vec<u16> = (2201..=2200 + PEERS).collect();
    let listening: Vec<String> = ports.iter().map(|port| format!("Port {port}")).collect();
    peer.restart_sshd_with(&format!("MaxStartups 2\nAddressFamily inet\n{}", listening.join("\n")));
    for (index, port) in ports.iter().enumerate() {
        primary.set(&format!("peer.{index}.name"), format!("web2-{port}"));
        primary.set(&format!("peer.{index}.ssh"), format!("root@192.0.2.2:{port}"));
        primary.append(KNOWN_HOSTS, format!("[192.0.2.2]:{port} {}\n", peer.host_key()));
    }
    let hold = "import socket, time\nheld = [socket.create_connection(('192.0.2.2', 22)) for _ in range(2)]\n\
                held[0].recv(1), held[1].recv(1), print('held', flush=True)\ntime.sleep(100)\n";
    let crowd = lab.visitor(["python3", "-c", hold]).spawn();
    until("the crowd is there", || crowd.stdout_so_far().contains("held"));
    lab.issue(NAME, 1, &[NAME]);
    let deploy = lab.deploying(NAME).spawn();
    let dropped = || peer.sshd_log().matches("drop connection").count();
    until("each was dropped", || dropped() >= usize::from(PEERS));
    assert_eq!(peer.logins(), 0);
    crowd.kill();
    deploy.wait().ok().silent();
    assert_eq!(peer.logins(), usize::from(PEERS));
    has_newest(&lab, peer);
}

/// Every other look at the socket finds nothing, as if what is there came a moment later: between libssh2's look for one of
/// stdout and stderr and its look for the other, each of which takes in what has come for both.
#[test]
fn an_answer_that_comes_between_two_looks_at_the_socket_is_not_overlooked() {
    let lab = Lab::raise().hosts(2).up();
    lab.primary().set("deploy.budget", "20s");
    // Whatever is traced here but the primary itself starts no program, which would look at a socket too.
    lab.primary().set("service", toml::Value::Array(Vec::new()));
    for (number, when) in [(1, "1+2"), (2, "2+2"), (3, "1+3")] {
        lab.issue(NAME, number, &[NAME]);
        let late = format!("inject=recvfrom:error=EAGAIN:when={when}");
        let traced = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=recvfrom", "-e", &late];
        let deploy = lab.primary().command(traced).args(["/usr/local/bin/certcast", "deploy"]);
        deploy.env("RENEWED_LINEAGE", format!("/etc/letsencrypt/live/{NAME}")).run().ok().silent();
        has_newest(&lab, &lab["web2"]);
    }
}

#[test]
fn what_a_server_tells_everybody_who_logs_in_is_passed_over_in_any_language() {
    let lab = Lab::raise().hosts(2).up();
    let peer = &lab["web2"];
    peer.write("/etc/banner", format!("{}\n", "Yetkisiz giriş yasaktır. ".repeat(200)));
    peer.restart_sshd_with("Banner /etc/banner\nPrintMotd yes");
    let noise = |bytes: usize| {
        format!(
            "printf '\\033[31m\\377\\0certcast\\n'; head -c {bytes} /dev/zero | tr '\\0' i\necho uyarı >&2\n\
             export LANG=tr_TR.ISO-8859-9 LC_ALL=tr_TR.ISO-8859-9 LANGUAGE=tr\n"
        )
    };
    peer.write("/root/.bashrc", noise(8000));
    lab.issue(NAME, 1, &[NAME]);
    let deploy = || lab.deploying(NAME).env("LANG", "tr_TR.ISO-8859-9").env("LC_ALL", "nonsense").run();
    deploy().ok().silent();
    has_newest(&lab, peer);

    // More than a start-up file should say, and it is shown harmless.
    peer.write("/root/.bashrc", noise(9000));
    lab.issue(NAME, 2, &[NAME]);
    let said =
        deploy().exits(3).says("web2  www.site.test  pending: the other side does not speak certcast's protocol");
    let text = said.stderr();
    assert!(
        text.contains("it said: \"\\u{1b}[31m\u{fffd}\\u{0}certcast") && !text.contains('\u{1b}') && text.len() < 2000,
        "{said}"
    );
}

#[test]
fn the_systems_ssh_reaches_a_peer_through_another_and_a_local_peer_needs_none() {
    let lab = Lab::raise().hosts(3).up();
    let primary = lab.primary();
    let hop_key = primary.new_key("/root/.ssh/hop");
    lab["web2"].authorize(&hop_key, Grant::Shell);
    let common = format!("  User root\n  IdentitiesOnly yes\n  UserKnownHostsFile {KNOWN_HOSTS}\n");
    let host = |alias: &str, at: &str, more: &str| format!("Host {alias}\n  HostName {at}\n{common}  {more}\n");
    let ours = "IdentityFile /etc/certcast/id_ed25519";
    primary.write(
        "/root/.ssh/config",
        host("second", "192.0.2.2", ours)
            + &host("behind", "192.0.2.3", &format!("{ours}\n  ProxyJump hop"))
            + &host("hop", "192.0.2.2", "IdentityFile /root/.ssh/hop"),
    );
    for (index, alias) in ["second", "behind"].iter().enumerate() {
        primary.set(&format!("peer.{index}.transport"), "system-ssh");
        primary.set(&format!("peer.{index}.ssh"), *alias);
    }
    primary.write(
        "/srv/twin/config.toml",
        "[node]\nname = \"twin\"\nletsencrypt = \"/srv/twin/letsencrypt\"\nstate = \"/srv/twin/state\"\n",
    );
    primary.mkdir("/srv/twin/letsencrypt");
    primary.set("peer.2.name", "twin");
    primary.set("peer.2.transport", "local");
    primary.set("peer.2.config", "/srv/twin/config.toml");

    let new = lab.issue(NAME, 1, &[NAME]);
    lab.deploy(NAME).ok().silent();
    lab.peers().iter().for_each(|peer| has_newest(&lab, peer));
    assert!(lab["web3"].sshd_log().contains("Accepted publickey for root from 192.0.2.2 "));
    assert_eq!(primary.read("/srv/twin/letsencrypt/live/www.site.test/fullchain.pem"), new.fullchain);
    assert_eq!(lab.resync(&[]).exits(0).stdout(), "everything is in line\n");

    // Why ssh did not connect is ssh's to say.
    primary.write(KNOWN_HOSTS, lab["web2"].known_hosts_lines());
    lab.issue(NAME, 2, &[NAME]);
    let said = lab.deploy(NAME).exits(3).says("web3  www.site.test  pending: ").says("Host key verification failed");
    let trial = "ssh -o 'IgnoreUnknown=*' -o BatchMode=yes -o StrictHostKeyChecking=yes -o ControlPath=none -o RemoteCommand=none \
                 -- behind certcast receive";
    let said = said.says(&format!("run here `{trial}`: it should answer certcast-wire"));
    primary.run(["sh", "-c", &format!("{trial} </dev/null")]).exits(255).says("Host key verification failed");
    assert!(!said.stderr().contains("web2"), "{said}");
    has_newest(&lab, &lab["web2"]);
}

#[test]
fn what_ssh_config_has_for_a_persons_own_logins_neither_leads_a_call_astray_nor_stops_it() {
    let lab = Lab::raise().hosts(2).up();
    let (primary, peer) = (lab.primary(), &lab["web2"]);
    primary.set("peer.0.transport", "system-ssh");
    peer.authorize(&primary.new_key("/root/.ssh/id_ed25519"), Grant::Shell);
    let shared = "Host *\n  ControlMaster auto\n  ControlPath /run/master-%C\n  ControlPersist yes\n";
    let ours = format!("  IdentityFile /etc/certcast/id_ed25519\n  UserKnownHostsFile {KNOWN_HOSTS}\n");
    let configure = |text: &str| primary.write("/root/.ssh/config", text);
    configure(&format!("{shared}  UserKnownHostsFile {KNOWN_HOSTS}\n"));
    primary.run(["ssh", "-n", "-o", "BatchMode=yes", "root@192.0.2.2", "true"]).ok();
    primary.run(["ssh", "-O", "check", "root@192.0.2.2"]).ok();
    assert_eq!(peer.logins(), 1, "a person is logged in");

    for (number, more) in [
        (1, "IdentitiesOnly yes"),
        (2, "RemoteCommand true"),
        (3, "StdinNull yes\n  SessionType none"),
        (4, "IgnoreUnknown UseKeychain\n  UseKeychain yes"),
    ] {
        configure(&format!("{shared}{ours}  {more}\n"));
        lab.issue(NAME, number, &[NAME]);
        lab.deploy(NAME).ok().silent();
        has_newest(&lab, peer);
        assert_eq!(peer.logins(), 1 + usize::try_from(number).unwrap(), "{more}");
    }

    // No master vouches for a host key.
    configure(&format!("{shared}{ours}"));
    primary.write(KNOWN_HOSTS, "");
    lab.issue(NAME, 5, &[NAME]);
    lab.deploy(NAME).exits(3).says("Host key verification failed");
    primary.run(["ssh", "-O", "exit", "root@192.0.2.2"]).ok();
}

#[test]
fn only_a_peer_that_is_away_is_forgiven_whichever_ssh_is_used() {
    let lab = Lab::raise().hosts(2).up();
    let (primary, peer, key) = (lab.primary(), &lab["web2"], lab.identity());
    let addresses: Vec<_> = lab.hosts().iter().flat_map(Host::addresses).collect();
    lab.dns().set(NAME, &addresses);
    primary.set("challenge.require", "reachable");
    primary.set("challenge.budget", "15s");
    let config =
        format!("IdentityFile /etc/certcast/id_ed25519\nIdentitiesOnly yes\nUserKnownHostsFile {KNOWN_HOSTS}\n");
    primary.write("/root/.ssh/config", config);
    let known = primary.text(KNOWN_HOSTS);
    for transport in ["system-ssh", "ssh2"] {
        primary.set("peer.0.transport", transport);
        let auth = || primary.hooks().auth(&[NAME]).run();
        let is_refused = |words: &str| {
            let said = auth().exits(1).stderr();
            assert!(said.contains("certcast: web2: ") && said.contains(words), "{transport}: {said}");
        };
        auth().ok().silent();
        peer.stop_sshd();
        auth().ok().silent();
        peer.start_sshd();
        peer.unplug();
        auth().ok().silent();
        peer.plug();

        peer.authorize_only(&key, Grant::Forced("/usr/local/bin/certcasst receive"));
        is_refused("the other side ended without saying hello");
        peer.authorize_only(&key, Grant::Forced("exit 255"));
        is_refused("the other side ended without saying hello");
        peer.authorize_only(&primary.new_key(&format!("/root/not-known-{transport}")), Grant::Forced("true"));
        is_refused(if transport == "ssh2" { "sshd does not let root in" } else { "Permission denied" });
        peer.authorize_only(&key, Grant::Receive { role: "deploy", only: &[] });
        primary.write(KNOWN_HOSTS, "");
        is_refused(if transport == "ssh2" { "its host key" } else { "Host key verification failed" });
        primary.write(KNOWN_HOSTS, &known);
    }
}

#[test]
fn a_peer_with_ipv6_alone_and_one_known_by_its_link_get_challenges_and_certificates() {
    let lab = Lab::raise().hosts(3).up();
    let primary = lab.primary();
    let (only_six, by_link) = (&lab["web2"], &lab["web3"]);
    only_six.run(["ip", "-4", "addr", "flush", "dev", "eth0"]).ok();
    only_six.set("node.addresses", vec!["2001:db8::2"]);
    primary.set("peer.0.ssh", "root@[2001:db8::2]:22");
    primary.set("peer.0.addresses", vec!["2001:db8::2"]);
    let shown = by_link.run(["ip", "-6", "-brief", "addr", "show", "dev", "eth0", "scope", "link"]).ok().stdout();
    let link = shown.split_whitespace().find_map(|word| word.strip_suffix("/64")).unwrap();
    primary.set("peer.1.ssh", format!("root@{link}%eth0"));
    primary.append(KNOWN_HOSTS, format!("{link}%eth0 {}\n", by_link.host_key()));
    let records: Vec<IpAddr> = [primary, by_link].iter().flat_map(|host| host.addresses()).collect();
    lab.dns().set(NAME, &[records, vec![only_six.v6().into()]].concat());

    primary.hooks().auth(&[NAME]).cleanup(&[NAME]).run().ok().silent();
    everything_is_gone(&lab);
    let new = lab.issue(NAME, 1, &[NAME]);
    lab.deploy(NAME).ok().silent();
    only_six.serve(NAME, &[NAME]);
    until("it is served", || lab.served_leaf(only_six.v6(), NAME) == Some(new.fingerprint()));
    has_newest(&lab, by_link);
    for (peer, from) in [(only_six, "2001:db8::1"), (by_link, "fe80::")] {
        assert_eq!(peer.logins(), 3, "auth, cleanup, deploy");
        assert_eq!(peer.sshd_log().matches(&format!("Accepted publickey for root from {from}")).count(), 3);
    }
    // The proof asks where DNS points, by that one family.
    only_six.stop_nginx();
    let said = primary.hooks().auth(&[NAME]).run().exits(1);
    said.says("web2 (2001:db8::2) refuses the connection");
}
