//! Services that fail, each in its own way: the peer ends all old or all new, and says why.

use std::net::IpAddr;
use std::time::Duration;

use certcast::model::outcome::Outcome;
use nix::sys::signal::Signal;

use crate::lab::{Bundle, Host, Lab, told, until};

const NAME: &str = "www.site.test";
const LIVE: &str = "/etc/letsencrypt/live";
const JOURNAL: &str = "/var/lib/certcast/transaction.journal";

/// A shell's word for "the links show this version".
fn shows(number: u32) -> String {
    format!("readlink {LIVE}/{NAME}/cert.pem | grep -q cert{number}.pem")
}

fn command(host: &Host, which: &str, script: &str) {
    host.set(&format!("service.0.{which}"), vec!["sh".to_owned(), "-c".to_owned(), script.to_owned()]);
}

#[test]
fn a_reload_that_fails_where_the_service_runs_is_rolled_back_although_nothing_was_served_yet() {
    let (lab, old) = Lab::serving(2, NAME);
    let peer = &lab["web2"];
    let tree = peer.certificates();
    command(peer, "reload", "echo no such unit; exit 5");
    lab.issue("other.test", 1, &["other.test"]);
    let said = lab.deploy("other.test").exits(3).stderr();
    assert!(said.contains("web2  other.test  rolled back after reload") && said.contains("no such unit"), "{said}");
    assert_eq!(peer.certificates(), tree);
    assert!(!peer.exists(JOURNAL));
    peer.serves(&lab, NAME, &old);
    // Where it serves the lineage it is no other: and what shows the old one still is as before, not stuck.
    lab.issue(NAME, 2, &[NAME]);
    lab.deploy(NAME).exits(3).says("web2  www.site.test  rolled back after reload");
    assert_eq!(peer.certificates(), tree);
    peer.serves(&lab, NAME, &old);
}

#[test]
fn a_command_that_hangs_or_floods_is_killed_with_its_group_and_the_peer_is_as_before() {
    let (lab, old) = Lab::serving(2, NAME);
    let peer = &lab["web2"];
    peer.set("service.0.timeout", "2s");
    let tree = peer.certificates();
    let is_as_before = |step: &str| {
        let said = lab.deploy(NAME).exits(3).stderr();
        let words = [step, "did not end within 2 s and was killed"];
        assert!(words.iter().all(|word| said.contains(word)), "{words:?} {said}");
        assert!(said.len() < 5000, "{} bytes", said.len());
        until("all of its group are dead", || {
            ["sleep 4321", "yes"].iter().all(|words| peer.processes(words).is_empty())
        });
        assert_eq!(peer.certificates(), tree);
        assert!(!peer.exists(JOURNAL));
        peer.serves(&lab, NAME, &old);
    };
    lab.issue(NAME, 2, &[NAME]);
    command(peer, "test", &format!("if {}; then yes | tr -d '\\n' & sleep 4321; fi; exec nginx -t", shows(2)));
    is_as_before("refused at pre-flight");
    peer.set("service.0.test", vec!["nginx", "-t"]);
    command(peer, "reload", &format!("if {}; then sleep 4321 & yes; fi; exec nginx -s reload", shows(2)));
    is_as_before("rolled back after reload");

    // What a reload leaves running, with its output open, is a daemon and not waited for.
    command(peer, "reload", "sleep 5432 & exec nginx -s reload");
    let new = lab.issue(NAME, 2, &[NAME]);
    lab.deploy(NAME).exits(0);
    peer.serves(&lab, NAME, &new);
    assert_eq!(peer.processes("sleep 5432").len(), 1);
}

#[test]
fn a_reload_that_takes_its_time_with_two_thousand_sites_is_waited_for() {
    let (lab, old) = Lab::serving(2, NAME);
    let peer = &lab["web2"];
    let site = |number| {
        format!(
            "server {{ listen 443 ssl; server_name v{number}.test; ssl_certificate {LIVE}/{NAME}/fullchain.pem; \
             ssl_certificate_key {LIVE}/{NAME}/privkey.pem; }}\n"
        )
    };
    let sites: String = (0..2000).map(site).collect();
    peer.write("/etc/nginx/conf.d/0.conf", format!("server_names_hash_max_size 16384;\n{sites}"));
    peer.reload_nginx();
    let new = lab.issue(NAME, 2, &[NAME]);
    let reloads = peer.nginx_reloads();
    // On a busy machine each of nginx's looks at so many sites takes its seconds.
    lab.primary().set("deploy.budget", "170s");
    // Its workers serve; the signal waits until it is let go on.
    let master = peer.nginx_master();
    peer.signal(master, Signal::SIGSTOP);
    let mut deploy = lab.deploying(NAME).deadline(Duration::from_secs(180)).spawn();
    until("the baseline is known", || peer.exists(JOURNAL));
    let link = format!("{LIVE}/{NAME}/cert.pem");
    until("it is tried and switched", || peer.target(&link).ends_with("cert2.pem"));
    until("nginx is told", || {
        let status = std::fs::read_to_string(format!("/proc/{master}/status")).unwrap();
        let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:")).unwrap().trim();
        u64::from_str_radix(pending, 16).unwrap() & (1 << (Signal::SIGHUP as u32 - 1)) != 0
    });
    // Still the old one, and the peer goes on looking.
    peer.serves(&lab, NAME, &old);
    assert!(deploy.is_running());
    peer.signal(master, Signal::SIGCONT);
    deploy.wait().exits(0).silent();
    peer.serves(&lab, NAME, &new);
    assert_eq!(peer.nginx_reloads(), reloads + 1, "nothing was rolled back on the way");
}

#[test]
fn each_name_is_compared_with_what_was_served_for_it_before() {
    let other = "other.test";
    let lab = Lab::raise().hosts(2).up();
    let (peer, site) = (&lab["web2"], format!("/etc/nginx/conf.d/{NAME}.conf"));
    peer.set("service.0.probe", vec!["192.0.2.2:443"]);
    lab.issue(NAME, 1, &[NAME, other]);
    lab.deploy(NAME).exits(0);
    // Whatever no site claims is answered with somebody else's certificate.
    let default = lab.bundle(&["default.test"]);
    peer.write("/etc/nginx/default.pem", [default.fullchain.clone(), default.privkey.clone()].concat());
    let pem = "ssl_certificate /etc/nginx/default.pem; ssl_certificate_key /etc/nginx/default.pem;";
    peer.write("/etc/nginx/conf.d/0.conf", format!("server {{ listen 443 ssl default_server; {pem} }}\n"));
    peer.serve(NAME, &[NAME]);
    assert_eq!(lab.served_leaf(peer.v4(), other), Some(default.fingerprint()));
    // Never served for that name, so nobody waits for it.
    let second = lab.issue(NAME, 2, &[NAME, other]);
    lab.deploy(NAME).exits(0).silent();
    assert_eq!(lab.served_leaf(peer.v4(), NAME), Some(second.fingerprint()));

    // Served for both, and after the reload for one of them only.
    let one = peer.read(&site);
    peer.serve(NAME, &[NAME, other]);
    peer.write("/etc/nginx/both", peer.read(&site));
    peer.write("/etc/nginx/one", one);
    let swap = format!("if {}; then cp /etc/nginx/one {site}; else cp /etc/nginx/both {site}; fi", shows(3));
    command(peer, "reload", &format!("{swap}; exec nginx -s reload"));
    lab.issue(NAME, 3, &[NAME, other]);
    let said = lab.deploy(NAME).exits(3).stderr();
    assert!(
        said.contains("web2  www.site.test  rolled back after probe, as before: other.test at 192.0.2.2:443: still"),
        "{said}"
    );
    assert!(!said.contains("www.site.test at"), "{said}");
    for name in [NAME, other] {
        assert_eq!(lab.served_leaf(peer.v4(), name), Some(second.fingerprint()), "{name}");
    }
}

/// A second nginx on web2, which reads chain and key from one file and listens on 8443.
fn second_service(peer: &Host) {
    let joined = format!("/etc/joined/{NAME}.pem");
    peer.mkdir("/etc/joined");
    peer.write(
        "/etc/nginx/second.conf",
        format!(
            "user www-data; pid /run/second.pid; error_log /var/log/nginx/second.log notice;\nevents {{}}\n\
             http {{ access_log off; server {{ listen 8443 ssl; ssl_certificate {joined}; ssl_certificate_key {joined}; }} }}\n"
        ),
    );
    let nginx = ["nginx", "-c", "/etc/nginx/second.conf"];
    peer.set("service.1.name", "second");
    peer.set("service.1.test", [&nginx[..], &["-t"]].concat());
    peer.set("service.1.reload", [&nginx[..], &["-s", "reload"]].concat());
    peer.set("service.1.probe", vec!["8443"]);
    peer.set("service.1.joined", "/etc/joined/{lineage}.pem");
}

fn both_serve(lab: &Lab, bundle: &Bundle) {
    let peer = &lab["web2"];
    peer.serves(lab, NAME, bundle);
    let second = lab.served_leaf_at((IpAddr::from(peer.v4()), 8443), NAME);
    assert_eq!(second, Some(bundle.fingerprint()), "the second service");
    let joined = [bundle.fullchain.as_slice(), &bundle.privkey].concat();
    assert_eq!(peer.read(&format!("/etc/joined/{NAME}.pem")), joined);
}

#[test]
fn a_joined_file_of_somebody_else_is_refused_until_adopted_and_then_kept() {
    let lab = Lab::raise().hosts(2).up();
    let peer = &lab["web2"];
    let bought = lab.bundle(&[NAME]);
    second_service(peer);
    let path = format!("/etc/joined/{NAME}.pem");
    let theirs = [bought.fullchain.as_slice(), &bought.privkey].concat();
    peer.write(&path, &theirs);
    peer.run(["nginx", "-c", "/etc/nginx/second.conf"]).ok();
    peer.await_listener(8443);
    lab.issue(NAME, 1, &[NAME]);
    lab.deploy(NAME).exits(3).says("web2  www.site.test  refused at tree").says(&path).says("--adopt");
    assert_eq!(peer.read(&path), theirs);
    let said = lab.resync(&["--adopt"]).exits(0).stdout();
    let kept = peer.list("/etc/joined").into_iter().find(|name| name.contains("replaced")).unwrap();
    assert!(said.contains(&kept), "{said}");
    assert_eq!(peer.read(&format!("/etc/joined/{kept}")), theirs);

    // Where the tree is gone the file is known for what it is.
    peer.run(["rm", "-r", "/etc/letsencrypt/live/www.site.test", "/etc/letsencrypt/archive/www.site.test"]).ok();
    lab.issue(NAME, 2, &[NAME]);
    lab.deploy(NAME).exits(0).silent();
}

#[test]
fn of_a_lineage_that_did_not_stay_nothing_is_remembered() {
    let (lab, _) = Lab::serving(2, NAME);
    let peer = &lab["web2"];
    lab.issue("new.test", 1, &["new.test"]);
    let refuses = "test ! -e /etc/letsencrypt/live/new.test && exec nginx -t";
    peer.set("service.0.test", vec!["sh", "-c", refuses]);
    let remembered = || peer.list("/var/lib/certcast/brought");
    let before = remembered();
    lab.deploy("new.test").exits(3).says("web2  new.test  rolled back");
    assert_eq!(remembered(), before);
}

#[test]
fn a_second_service_with_a_joined_file_goes_along_and_back_together_with_the_first() {
    let (lab, first) = Lab::serving(2, NAME);
    let peer = &lab["web2"];
    second_service(peer);
    // It cannot start before it has the file, and its own test fails for want of it.
    peer.run(["nginx", "-t", "-c", "/etc/nginx/second.conf"]).fails();
    lab.resync(&[]).exits(0).says("web2  www.site.test  applied");
    assert_eq!(peer.mode(&format!("/etc/joined/{NAME}.pem")), 0o600);
    peer.run(["nginx", "-c", "/etc/nginx/second.conf"]).ok();
    peer.await_listener(8443);
    both_serve(&lab, &first);

    let second = lab.issue(NAME, 2, &[NAME]);
    lab.deploy(NAME).exits(0).silent();
    both_serve(&lab, &second);

    // The second refuses when the first has gone along already.
    let tree = (peer.certificates(), peer.tree("/etc/joined"));
    let reload = "exec nginx -c /etc/nginx/second.conf -s reload";
    let refuses = format!("if {}; then echo not this one; exit 1; fi; {reload}", shows(3));
    peer.set("service.1.reload", vec!["sh", "-c", &refuses]);
    let third = lab.issue(NAME, 3, &[NAME]);
    lab.deploy(NAME).exits(3).says("web2  www.site.test  rolled back after reload").says("not this one");
    assert!((peer.certificates(), peer.tree("/etc/joined")) == tree, "something stayed");
    both_serve(&lab, &second);

    peer.set("service.1.reload", vec!["sh", "-c", reload]);
    lab.resync(&[]).exits(0);
    both_serve(&lab, &third);
}

#[test]
fn of_two_transactions_at_once_the_later_waits_and_then_finds_it_done() {
    let (lab, _) = Lab::serving(1, NAME);
    let peer = &lab["web1"];
    // Two primaries with the same bundle: web1 is a peer here, and certbot's renewal is nobody's.
    peer.remove("/etc/letsencrypt/renewal");
    peer.run(["mkfifo", "/run/gate"]).ok();
    command(peer, "reload", "echo waiting >>/run/waiting; read x </run/gate; exec nginx -s reload");
    let new = lab.bundle(&[NAME]);
    let reloads = peer.nginx_reloads();
    let first = peer.receiving(NAME, 2, &new, '1').spawn();
    until("the first is in its reload", || peer.exists("/run/waiting"));
    let second = peer.receiving(NAME, 2, &new, '2').spawn();
    let asks_for_the_lock = || {
        let files = format!("/proc/{}/fd", second.pid());
        let files = std::fs::read_dir(files).into_iter().flatten().flatten();
        files.filter_map(|file| std::fs::read_link(file.path()).ok()).any(|file| file.ends_with("transaction.lock"))
    };
    until("the second asks for the lock", asks_for_the_lock);
    // Without the lock it would reload too, and the gate is opened for one.
    peer.spawn(["sh", "-c", "echo go >/run/gate"]).wait().ok();
    assert!(matches!(told(&first.wait().ok()), Some(Outcome::Applied { .. })));
    // Its commit is for a transaction that was never prepared: there was nothing to do.
    assert_eq!(told(&second.wait()), Some(Outcome::Unchanged));
    assert_eq!(peer.nginx_reloads(), reloads + 1);
    peer.serves(&lab, NAME, &new);
    assert!(!peer.exists(JOURNAL));
}

#[test]
fn what_is_stuck_keeps_both_trees_refuses_more_and_is_mended_by_the_commands_of_its_message() {
    let (lab, old) = Lab::serving(2, NAME);
    // A name that a shell would read otherwise.
    let strange = "it's mine";
    lab.issue(strange, 1, &["mine.test"]);
    lab.deploy(strange).exits(0);
    let peer = &lab["web2"];
    let reload = peer.configuration();
    let breaks = "echo 'no_such_directive on;' >/etc/nginx/conf.d/broken.conf; exit 1";
    command(
        peer,
        "reload",
        &format!("if ls -l {LIVE}/it*mine | grep -q cert2; then {breaks}; fi; exec nginx -s reload"),
    );
    let new = lab.issue(strange, 2, &["mine.test"]);
    let said = lab.deploy(strange).exits(5).stderr();
    assert!(said.contains("web2  it's mine  stuck: ") && said.contains("no_such_directive"), "{said}");
    let line = said.lines().find(|line| line.contains("stuck: ")).unwrap();
    let commands: Vec<_> = line.split("; run there: ").nth(1).unwrap().split(" ; ").collect();
    let run = |command: &str| peer.run(["sh", "-c", command]);

    // Old and new are there, and so it stays whatever is asked.
    let shown = |directory: &str| peer.target(&format!("{LIVE}/{directory}/cert.pem")).display().to_string();
    let staged = peer.list(LIVE).into_iter().find(|name| name.starts_with(".it's mine.stage-")).unwrap();
    assert_eq!(shown(strange), "../../archive/it's mine/cert1.pem");
    assert_eq!(shown(&staged), "../../archive/it's mine/cert2.pem");
    let kept = (peer.certificates(), peer.text(JOURNAL));
    lab.issue(NAME, 2, &[NAME]);
    for refused in [lab.resync(&[]), lab.deploy(NAME)] {
        refused.exits(5).says("needs a person").says(line.split("; run there: ").nth(1).unwrap());
        assert!((peer.certificates(), peer.text(JOURNAL)) == kept, "something was touched");
    }
    peer.serves(&lab, NAME, &old);

    // The first command says what is wrong; the last one does not pretend.
    run(commands[0]).fails().says("no_such_directive");
    run(commands.last().unwrap()).exits(5).says("stuck");
    peer.mend_nginx();
    for command in &commands {
        run(command).exits(0);
    }
    assert!(run(commands[1]).fails().stderr().contains("No such file"), "what was staged is gone");
    assert!(!peer.exists(JOURNAL) && !peer.exists("/etc/letsencrypt/archive/it's mine/cert2.pem"));
    peer.configure(&reload);
    lab.resync(&[]).exits(0);
    assert_eq!(peer.installed_leaf(strange), Some(new.fingerprint()));
}

#[test]
fn the_primarys_own_services_are_proven_like_a_peers_and_left_alone_where_nothing_changed() {
    let (lab, old) = Lab::serving(2, NAME);
    let primary = lab.primary();
    let reloads = primary.nginx_reloads();
    lab.resync(&[]).exits(0);
    assert_eq!(primary.nginx_reloads(), reloads, "nothing was new");

    let squatter = primary.make_reload_lie();
    let new = lab.issue(NAME, 2, &[NAME]);
    let said = lab.deploy(NAME).stderr();
    assert!(said.contains("web1") && said.contains("still another certificate is served"), "{said}");
    primary.serves(&lab, NAME, &old);
    squatter.kill();
    lab.resync(&[]).exits(0);
    primary.serves(&lab, NAME, &new);

    // Told of it once, and showing an older one all the same.
    let site = format!("/etc/nginx/conf.d/{NAME}.conf");
    let text = primary.text(&site);
    let pinned = text.replace(&format!("/live/{NAME}/fullchain.pem"), &format!("/archive/{NAME}/fullchain1.pem"));
    primary
        .write(&site, pinned.replace(&format!("/live/{NAME}/privkey.pem"), &format!("/archive/{NAME}/privkey1.pem")));
    primary.reload_nginx();
    primary.await_served(&lab, NAME, &old);
    let said = lab.resync(&[]).fails();
    assert!(said.stderr().contains("web1  www.site.test  "), "{said}");
}
