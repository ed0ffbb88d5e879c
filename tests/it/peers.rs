//! `peer add`: a server becomes a peer over a person's own ssh access.

use crate::doctor::OTHER_RELEASE;
use crate::lab::{Entry, Finished, Grant, Host, Lab};

const NAME: &str = "www.site.test";
const FILES: [&str; 3] = ["/etc/certcast", "/root/.ssh", "/usr/local/bin"];

/// Three servers, a primary's configuration, and a person on it who may be root on the others.
fn strangers() -> Lab {
    let lab = Lab::raise().hosts(3).without_configuration().up();
    let primary = lab.primary();
    primary.configure("[node]\nname = \"web1\"\n\n[[service]]\nname = \"nginx\"\n\n[deploy]\nlineages = [\"*\"]");
    let own = primary.new_key("/root/.ssh/id_ed25519");
    // What a person has for himself is nothing to go by.
    let habits = "ForwardAgent yes\n ControlMaster auto\n ControlPath ~/.ssh/cm-%h\n RemoteCommand id\n StrictHostKeyChecking no\n \
                  IgnoreUnknown UseKeychain\n UseKeychain yes\n";
    primary.write("/root/.ssh/config", format!("Host *\n {habits}"));
    for peer in lab.peers() {
        peer.write("/root/.bashrc", "echo Welcome on board\n");
        peer.remove("/usr/local/bin/certcast");
        peer.authorize(&own, Grant::Shell);
    }
    lab
}

fn fingerprint(host: &Host) -> String {
    let said = host.run(["ssh-keygen", "-lf", "/etc/ssh/ssh_host_ed25519_key.pub"]).stdout();
    said.split_whitespace().nth(1).unwrap_or_default().to_owned()
}

fn add(lab: &Lab, name: &str, more: &[&str]) -> Finished {
    let to = format!("root@{}", lab[name].v4());
    lab.primary().command(["certcast", "peer", "add", &to]).args(more).run()
}

fn files(host: &Host) -> Vec<Vec<Entry>> {
    FILES.map(|directory| host.tree(directory)).into()
}

#[test]
fn a_server_becomes_a_peer_gets_what_is_there_and_the_second_time_nothing_changes() {
    let lab = strangers();
    let (primary, peer) = (lab.primary(), &lab["web2"]);
    let bundle = lab.issue(NAME, 1, &[NAME]);
    peer.write("/etc/nginx/conf.d/acme.conf", "server { listen 80; server_name other.test; root /srv/other; }\n");

    // Nothing is believed that nobody said.
    let before = files(peer);
    let said = add(&lab, "web2", &[]).exits(1).stderr();
    assert!(said.contains(&format!("--host-key {}", fingerprint(peer))), "{said}");
    add(&lab, "web2", &["--host-key", "SHA256:AAAA"]).exits(1).says("nothing was changed");
    let said = add(&lab, "web2", &["--dry-run"]).exits(0).says("not done, for --dry-run: pinned its host key");
    said.says("not done, for --dry-run: sent www.site.test, with its private key");
    assert!(files(peer) == before && !primary.exists("/etc/certcast/known_hosts"));

    let said = add(&lab, "web2", &["--host-key", &fingerprint(peer)]).exits(0);
    for words in [
        "192.0.2.2  pinned its host key SHA256:",
        "192.0.2.2  copied certcast ",
        "192.0.2.2  wrote /etc/certcast/config.toml: webroot /var/www/html, nginx",
        "192.0.2.2  let the primary's key call '/usr/local/bin/certcast receive --role deploy' and nothing else: ",
        "192.0.2.2  added [[peer]] web2 to /etc/certcast/config.toml, reached at 192.0.2.2, 2001:db8::2",
        "web2  answers through its restricted key: certcast ",
        "web2  www.site.test  applied",
    ] {
        assert!(said.stdout().contains(words), "{words}: {said}");
    }
    assert!(said.stderr().contains("port 80 has several webroots (/srv/other, /var/www/html)"), "{said}");
    peer.serve(NAME, &[NAME]);
    peer.await_served(&lab, NAME, &bundle);
    primary.run(["certcast", "status"]).says("web2");
    assert_eq!((peer.mode("/etc/certcast/config.toml"), peer.mode("/root/.ssh/authorized_keys")), (0o600, 0o600));

    let before = (files(peer), files(primary));
    add(&lab, "web2", &["--host-key", "SHA256:AAAA"])
        .exits(1)
        .says("192.0.2.2 is pinned with SHA256:")
        .says("nothing was changed");
    let again = add(&lab, "web2", &[]).exits(0).stdout();
    assert!(
        !again.contains("wrote") && !again.contains("copied") && again.contains("everything is in line"),
        "{again}"
    );
    assert!(before == (files(peer), files(primary)), "the second time changed something");

    // The key that was let in is no shell.
    let mut login = vec!["ssh", "-T", "-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"];
    login.extend(["-i", "/etc/certcast/id_ed25519", "-o", "UserKnownHostsFile=/etc/certcast/known_hosts"]);
    let said = primary.run([&login[..], &["root@192.0.2.2", "id"]].concat());
    assert!(!said.stdout().contains("uid=") && said.stdout().contains("certcast-wire"), "{said}");
}

/// Debian 12's own.
const SUDOERS: &str = "Defaults env_reset\nDefaults use_pty\n\
                       Defaults secure_path=\"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\"\n\
                       root ALL=(ALL:ALL) ALL\n@includedir /etc/sudoers.d\n";

#[test]
fn a_user_of_its_own_is_made_for_a_peer_that_is_not_to_be_entered_as_root_and_goes_with_it() {
    let lab = strangers();
    let (primary, peer) = (lab.primary(), &lab["web2"]);
    let bundle = lab.issue(NAME, 1, &[NAME]);
    peer.write("/etc/sudoers", SUDOERS);
    peer.chmod("/etc/sudoers", 0o440);
    peer.mkdir("/etc/sudoers.d");
    let (users, keys) = (peer.text("/etc/passwd"), peer.text("/root/.ssh/authorized_keys"));
    let key = fingerprint(peer);
    let add = |more: &[&str]| add(&lab, "web2", &[&["--host-key", &key], more].concat());

    add(&["--sudo-user", "no/name"]).exits(2).says("the user name");
    add(&["--sudo-user", "nobody"]).exits(1).says("nobody is a user there with the home /nonexistent");
    assert!(peer.text("/etc/passwd") == users && !peer.exists("/etc/certcast/config.toml"));
    let said = add(&["--sudo-user", "acme"]).exits(0);
    for words in [
        "192.0.2.2  made the user acme",
        "192.0.2.2  let acme run the receiver as root, by /etc/sudoers.d/certcast",
        "192.0.2.2  let the primary's key call 'sudo -n /usr/local/bin/certcast receive --role deploy' and nothing else: ",
        "web2  answers through its restricted key: certcast ",
        "web2  www.site.test  applied",
    ] {
        assert!(said.stdout().contains(words), "{words}: {said}");
    }
    peer.run(["visudo", "-c"]).ok();
    assert!(primary.configuration().contains("ssh = \"acme@192.0.2.2\""));
    assert!(peer.sshd_log().contains("Accepted publickey for acme"));
    assert_eq!(peer.text("/root/.ssh/authorized_keys"), keys, "root's own is as it was");
    peer.serve(NAME, &[NAME]);
    peer.await_served(&lab, NAME, &bundle);
    peer.run(["setpriv", "--reuid=acme", "--regid=acme", "--clear-groups", "sudo", "-n", "id"]).fails();

    // Without a word about the user, it stays as it is noted; nothing else that is asked for is passed over.
    let before = (files(peer), files(primary));
    add(&[]).exits(0).says("everything is in line");
    assert!(before == (files(peer), files(primary)), "the second time changed something");
    for other in [["--name", "web9"], ["--lineage", "a.test"], ["--sudo-user", "certcast"]] {
        add(&other).exits(1).says("it is the peer web2 already, with another ");
    }
    primary.run(["certcast", "peer", "upgrade"]).exits(0).says("web2  has this program already");

    primary.run(["certcast", "peer", "remove", "web2"]).exits(0).says("web2  removed the user acme");
    for gone in [
        "/etc/certcast",
        "/var/lib/certcast",
        "/usr/local/bin/certcast",
        "/var/lib/certcast-login",
        "/etc/sudoers.d/certcast",
    ] {
        assert!(!peer.exists(gone), "{gone}");
    }
    assert_eq!(peer.text("/etc/passwd"), users);
    peer.serves(&lab, NAME, &bundle);
}

#[test]
fn what_is_not_as_it_should_be_is_said_and_nothing_is_noted() {
    let lab = strangers();
    let (primary, other) = (lab.primary(), &lab["web3"]);
    let config = primary.configuration();
    let fingerprint = fingerprint(other);
    let add = |more: &[&str]| add(&lab, "web3", &[&["--host-key", &fingerprint], more].concat());

    add(&["--name", "web1"]).exits(1).says("another node is called web1: ");
    // A key that is in already and may do more.
    other.authorize(&primary.text("/etc/certcast/id_ed25519.pub"), Grant::Shell);
    add(&[]).exits(1).says("/root/.ssh/authorized_keys has this key already, in line 2, and not as");
    assert!(!other.exists("/etc/certcast/config.toml"), "nothing is written where something is wrong");
    // Let in, and yet not: sshd looks elsewhere.
    other.write("/root/.ssh/authorized_keys", primary.text("/root/.ssh/id_ed25519.pub"));
    other.run(["cp", "/root/.ssh/authorized_keys", "/etc/ssh/keys"]).ok();
    other.restart_sshd_with("AuthorizedKeysFile /etc/ssh/keys");
    add(&[]).exits(1).says("sshd does not let root in with /etc/certcast/id_ed25519");
    assert_eq!(primary.configuration(), config, "no hook waits for a peer that does not answer");
    other.change_host_key();
    add(&[]).exits(1).says("its host key is now");
    other.stop_sshd();
    add(&[]).exits(1).says("is sshd running there");
    assert_eq!(primary.configuration(), config);
}

#[test]
fn an_older_program_is_replaced_while_it_runs_and_answers() {
    let lab = Lab::raise().hosts(2).up();
    let (primary, peer) = (lab.primary(), &lab["web2"]);
    peer.authorize(&primary.new_key("/root/.ssh/id_ed25519"), Grant::Shell);
    primary.run(["certcast", "peer", "upgrade", "web9"]).exits(2).says("no such peer; the configuration has web2");
    // As good as another release: the same program with something behind it, and it runs.
    let program = std::fs::read(peer.target("/usr/local/bin/certcast")).unwrap();
    peer.remove("/usr/local/bin/certcast");
    peer.write("/usr/local/bin/certcast", [&program[..], b"older"].concat());
    peer.chmod("/usr/local/bin/certcast", 0o755);
    let gate = peer.spawn(["sh", "-c", "mkfifo /run/gate; certcast enrol </run/gate"]);
    crate::lab::until("it runs", || !peer.processes("certcast enrol").is_empty());
    let said = primary.run(["certcast", "peer", "upgrade"]).exits(0).stdout();
    assert!(
        said.contains("web2  copied certcast ") && said.contains("web2  answers through its restricted key"),
        "{said}"
    );
    assert!(peer.read("/usr/local/bin/certcast") == program);
    assert_eq!(peer.mode("/usr/local/bin/certcast"), 0o755);
    primary.run(["certcast", "peer", "upgrade", "web2"]).exits(0).says("web2  has this program already");
    peer.run(["sh", "-c", "echo >/run/gate"]);
    gate.wait();
}

#[test]
fn a_program_that_was_copied_and_is_not_the_one_that_answers_is_told() {
    let lab = Lab::raise().hosts(2).up();
    let (primary, peer) = (lab.primary(), &lab["web2"]);
    peer.write("/root/receiver", OTHER_RELEASE);
    peer.chmod("/root/receiver", 0o755);
    peer.authorize_only(&lab.identity(), Grant::Forced("/root/receiver"));
    peer.authorize(&primary.new_key("/root/.ssh/id_ed25519"), Grant::Shell);
    let told = format!("web2: it is certcast 0.0.9 that answers, not {}", env!("CARGO_PKG_VERSION"));
    peer.remove("/usr/local/bin/certcast");
    primary.run(["certcast", "peer", "upgrade"]).exits(1).says("web2  copied certcast ").says(&told);
    primary.run(["certcast", "peer", "upgrade"]).exits(1).says("web2  has this program already").says(&told);
}

#[test]
fn a_peer_that_is_removed_has_nothing_of_ours_but_its_certificates() {
    let (lab, bundle) = Lab::serving(3, NAME);
    let (primary, peer) = (lab.primary(), &lab["web2"]);
    let own = primary.new_key("/root/.ssh/id_ed25519");
    peer.authorize(&own, Grant::Shell);
    let config = primary.configuration();
    let keys = peer.text("/root/.ssh/authorized_keys");
    let tree = peer.certificates();

    // What is open there would be left so for ever.
    peer.write("/var/lib/certcast/transaction.journal", "");
    primary.run(["certcast", "peer", "remove", "web2"]).exits(1).says("run 'certcast recover' there first");
    assert!(primary.configuration() == config && peer.text("/root/.ssh/authorized_keys") == keys);
    peer.remove("/var/lib/certcast/transaction.journal");

    primary.run(["certcast", "peer", "remove", "web2"]).exits(0).says("web2  removed its [[peer]]");
    for gone in ["/etc/certcast", "/var/lib/certcast", "/usr/local/bin/certcast"] {
        assert!(!peer.exists(gone), "{gone}");
    }
    assert_eq!(peer.text("/root/.ssh/authorized_keys"), own);
    assert!(peer.certificates() == tree);
    peer.serves(&lab, NAME, &bundle);
    let left = primary.configuration();
    assert!(
        !left.contains("web2") && left.contains("web3") && config.starts_with(left.split("\n[[peer]]").next().unwrap())
    );
    primary.run(["certcast", "status"]).exits(0);

    // Another primary goes on as before.
    lab["web3"].authorize(&own, Grant::Shell);
    lab["web3"].authorize("ssh-ed25519 AAAA another", Grant::Receive { role: "deploy", only: &[] });
    primary.run(["certcast", "peer", "remove", "web3"]).exits(0).says("web3: another primary comes here");
    assert!(lab["web3"].exists("/etc/certcast/config.toml") && lab["web3"].exists("/usr/local/bin/certcast"));
    assert!(!lab["web3"].text("/root/.ssh/authorized_keys").contains(lab.identity().split(' ').nth(1).unwrap()));

    // So does one that comes by a user of its own.
    primary.configure(&config);
    lab["web3"].authorize_only(&lab.identity(), Grant::Receive { role: "deploy", only: &[] });
    lab["web3"].authorize(&own, Grant::Shell);
    lab["web3"]
        .write("/etc/sudoers.d/other", "b ALL = (root) NOPASSWD: /usr/local/bin/certcast receive --role deploy\n");
    primary.run(["certcast", "peer", "remove", "web3"]).exits(0).says("web3: another primary comes here");
    assert!(lab["web3"].exists("/etc/certcast/config.toml") && lab["web3"].exists("/usr/local/bin/certcast"));

    // One that is gone for good is forgotten without a visit.
    primary.configure(&config);
    lab["web2"].unplug();
    lab["web3"].unplug();
    primary.run(["certcast", "peer", "remove", "--gone", "web2"]).exits(0);
    primary.run(["certcast", "peer", "remove", "--gone", "web3"]).exits(0);
    assert!(!primary.configuration().contains("[[peer]]"));
    primary.run(["certcast", "resync"]).exits(0);
}

#[test]
fn a_server_whose_sshd_listens_on_another_port_is_added_and_reached_there() {
    let lab = strangers();
    let (primary, peer) = (lab.primary(), &lab["web2"]);
    let bundle = lab.issue(NAME, 1, &[NAME]);
    peer.restart_sshd_with("Port 2222");
    peer.await_listener(2222);
    let key = fingerprint(peer);
    let add = || primary.run(["certcast", "peer", "add", "root@192.0.2.2:2222", "--host-key", &key]);
    let said = add().exits(0);
    for words in
        ["pinned its host key SHA256:", "web2  answers through its restricted key", "web2  www.site.test  applied"]
    {
        assert!(said.stdout().contains(words), "{words}: {said}");
    }
    assert!(primary.configuration().contains("ssh = \"root@192.0.2.2:2222\""), "{}", primary.configuration());
    assert!(primary.text("/etc/certcast/known_hosts").starts_with("[192.0.2.2]:2222 "));
    peer.serve(NAME, &[NAME]);
    peer.await_served(&lab, NAME, &bundle);
    let before = (files(peer), files(primary));
    add().exits(0).says("everything is in line");
    assert!(before == (files(peer), files(primary)), "the second time changed something");
    assert_eq!(lab.resync(&[]).exits(0).stdout(), "everything is in line\n");
    primary.run(["certcast", "peer", "upgrade"]).exits(0).says("web2  has this program already");
    let log = peer.sshd_log();
    assert!(log.contains(" on 192.0.2.2 port 2222") && !log.contains(" on 192.0.2.2 port 22 "), "{log}");
}
