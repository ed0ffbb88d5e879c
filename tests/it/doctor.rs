//! `doctor`: what is wrong anywhere is found, with its remedy, and nothing where all is well.

use serde_json::Value;

use crate::lab::{Finished, Grant, Host, Lab, Validity};

const NAME: &str = "www.site.test";
const TABLE: &str = "/etc/cron.d/both";
const RENEWAL: &str = "/etc/letsencrypt/renewal/www.site.test.conf";

/// Three servers in DNS that serve a certificate which certbot renews, by itself.
fn well() -> Lab {
    let (lab, _) = Lab::serving(3, NAME);
    lab.point_both(NAME, &["web1", "web2", "web3"]);
    lab.primary().write_renewal_conf(NAME);
    lab.primary().write(
        TABLE,
        "17 3,15 * * * root certbot -q renew\n*/10 * * * * root /usr/local/bin/certcast resync >/dev/null\n",
    );
    lab
}

fn doctor(lab: &Lab) -> Finished {
    lab.primary().run(["certcast", "doctor"])
}

/// The lines of all findings; the last line has their number.
#[track_caller]
fn found(lab: &Lab) -> Vec<String> {
    let said = doctor(lab).exits(1);
    assert_eq!(said.stderr(), "");
    said.stdout().lines().filter(|line| !line.starts_with(' ')).map(str::to_owned).collect()
}

#[track_caller]
fn nothing_is_found(lab: &Lab) {
    let said = doctor(lab).exits(0);
    assert_eq!(said.stdout(), "examined 3 nodes and 1 lineages: 0 errors, 0 warnings\n");
    assert_eq!(said.stderr(), "");
}

/// One, which begins so and has this remedy.
#[track_caller]
fn one_error_is_found(lab: &Lab, begin: &str, remedy: &str) {
    let said = doctor(lab).exits(1).stdout();
    let has_remedy = said.contains(&format!("    do:  {remedy}\n"));
    assert!(said.starts_with(begin) && has_remedy && said.ends_with(": 1 errors, 0 warnings\n"), "{said}");
}

/// What `status` and `check` say of the same: each line of the table has these words, one after the other, and the
/// plugin's line begins so.
#[track_caller]
fn others_say(lab: &Lab, rows: [&str; 3], code: i32, check: &str) {
    let said = lab.primary().run(["certcast", "status"]);
    assert_eq!(said.stdout().lines().count(), 1 + rows.len(), "{said}");
    for (line, words) in said.stdout().lines().skip(1).zip(rows) {
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(line.contains(words), "{words}: {said}");
    }
    let said = lab.primary().run(["certcast", "check"]).exits(code);
    assert!(said.stdout().starts_with(&format!("CERTCAST {check}")), "{said}");
}

const IN_LINE: &str = concat!(" yes ", env!("CARGO_PKG_VERSION"), " in line");

#[test]
fn where_all_is_well_nothing_is_found_and_nothing_stays() {
    let lab = well();
    let everything = |host: &Host| (host.nginx_reloads(), host.stamps(), host.tokens());
    let before: Vec<_> = lab.hosts().iter().map(everything).collect();
    nothing_is_found(&lab);
    others_say(&lab, [IN_LINE; 3], 0, "OK - 3 in line | total=3 out_of_line=0;0 ");
    assert!(lab.hosts().iter().map(everything).collect::<Vec<_>>() == before, "something was touched");
    let said = lab.primary().run(["certcast", "doctor", "--json"]).exits(0);
    assert_eq!(said.stdout(), "[]\n");
}

#[test]
fn what_nobody_does_by_itself_is_said_and_cron_does_it_by_the_remedies() {
    let lab = well();
    let primary = lab.primary();
    primary.remove(TABLE);
    let said = doctor(&lab).exits(1).stdout();
    let missing = |verb| format!("web1: warning: no enabled timer of systemd and no line of cron here calls '{verb}'");
    assert_eq!(found(&lab)[..2], [missing("certbot renew"), missing("certcast resync")]);
    let remedies: Vec<&str> = said.lines().filter_map(|line| line.trim().strip_prefix("do:  ")).collect();
    // The machine's own packages are shown to every host: certbot's timer is there, and nothing has enabled it.
    assert_eq!(remedies[0], "systemctl enable --now certbot.timer");
    primary.run(["sh", "-c", remedies[1]]).ok();
    assert_eq!(
        found(&lab)[..],
        [missing("certbot renew"), "examined 3 nodes and 1 lineages: 0 errors, 1 warnings".to_owned()]
    );
    let units = "/etc/systemd/system/timers.target.wants";
    primary.mkdir(units);
    primary.run(["ln", "-s", "/usr/lib/systemd/system/certbot.timer", units]).ok();
    primary.mkdir("/run/systemd/system");
    nothing_is_found(&lab);
    // The line that is left is what cron can read.
    let table = primary.text("/etc/cron.d/certcast");
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("PATH=/") && lines[0].contains(":/usr/sbin:"), "{table}");
    assert_eq!(lines[1..], ["*/10 * * * * root /usr/local/bin/certcast resync >/dev/null"]);
}

#[test]
fn a_peer_that_is_off_is_said_once() {
    let lab = well();
    lab["web2"].unplug();
    let said = doctor(&lab).exits(1).stdout();
    let expected = "\
web2: error: 192.0.2.2: no answer in time while connecting
    why: it gets no challenges and no certificates: a CA that asks it fails the renewal
    do:  on the primary, once it answers: certcast resync --peer web2 # 192.0.2.2
examined 3 nodes and 1 lineages: 1 errors, 0 warnings
";
    assert_eq!(said, expected);
    let away = "? ? ? ? 192.0.2.2: no answer in time while connecting";
    let line = "WARNING - web2 www.site.test 192.0.2.2: no answer in time while connecting | total=3 out_of_line=1;0 ";
    others_say(&lab, [IN_LINE, away, IN_LINE], 1, line);
    lab["web2"].plug();
    nothing_is_found(&lab);
}

#[test]
fn a_peer_on_an_old_version_and_one_that_serves_another_than_its_files_are_told_apart() {
    let lab = well();
    lab["web2"].break_nginx();
    let new = lab.issue(NAME, 2, &[NAME]);
    lab.deploy(NAME).exits(3);
    lab["web2"].mend_nginx();
    one_error_is_found(
        &lab,
        &format!("web2: error: {NAME}: should be 2: 'certcast resync'; pending since 20"),
        "mend what it says; then on the primary: certcast resync www.site.test",
    );
    let line = "WARNING - web2 www.site.test should be 2: 'certcast resync'; pending since 20";
    others_say(
        &lab,
        [
            IN_LINE,
            concat!(" yes ", env!("CARGO_PKG_VERSION"), " should be 2: 'certcast resync'; pending since 20"),
            IN_LINE,
        ],
        1,
        line,
    );
    lab.resync(&[]).exits(0);
    nothing_is_found(&lab);

    let newest = lab.issue(NAME, 3, &[NAME]);
    for host in lab.hosts() {
        host.install(NAME, 3, &newest);
    }
    lab.primary().reload_nginx();
    lab["web2"].reload_nginx();
    lab["web2"].await_served(&lab, NAME, &newest);
    lab["web3"].serves(&lab, NAME, &new);
    one_error_is_found(
        &lab,
        &format!("web3: error: {NAME}: an older one is still served by nginx for {NAME} at "),
        "reload that service, as its [[service]] has it",
    );
    let line = "WARNING - web3 www.site.test an older one is still served by nginx for www.site.test at ";
    others_say(
        &lab,
        [IN_LINE, IN_LINE, concat!(" older ", env!("CARGO_PKG_VERSION"), " an older one is still served by nginx")],
        1,
        line,
    );
}

#[test]
fn a_certificate_that_ends_soon_is_said_once() {
    let lab = well();
    let ending = lab.bundle_valid(&[NAME], Validity::Days(-84, 6));
    for host in lab.hosts() {
        host.install(NAME, 2, &ending);
        host.reload_nginx();
        host.await_served(&lab, NAME, &ending);
    }
    let said = found(&lab);
    let ends = |days| format!("web1: error: {NAME} ends in {days} days on all nodes");
    // Within the second in which it was made, it is still a whole day more.
    assert!(said[0] == ends(5) || said[0] == ends(6), "{said:?}");
    assert_eq!(said[1..], ["examined 3 nodes and 1 lineages: 1 errors, 0 warnings"]);
    others_say(&lab, [IN_LINE; 3], 2, "CRITICAL - web1 www.site.test ends in ");

    // One that lives seven days is no worse for it.
    lab.primary().install(NAME, 3, &lab.bundle_valid(&[NAME], Validity::Days(0, 7)));
    lab.deploy(NAME).ok();
    nothing_is_found(&lab);
}

/// A receiver of another release, whose clock is an hour behind.
pub const OTHER_RELEASE: &str = "#!/usr/bin/python3
import json, sys, time
def say(**message):
    data = json.dumps(message).encode()
    sys.stdout.buffer.write(len(data).to_bytes(4, 'big') + data)
    sys.stdout.buffer.flush()
sys.stdout.buffer.write(b'\\0certcast-wire 1 1\\n')
say(answer='hello', version='0.0.9', node='web2', clock=int(time.time()) - 3600)
say(answer='rejected', cause='what?')
";

#[test]
fn another_release_another_clock_and_a_key_for_challenges_only() {
    let lab = well();
    let peer = &lab["web2"];
    peer.authorize_only(&lab.identity(), Grant::Receive { role: "challenge", only: &[] });
    let peers = lab.primary().configuration();
    lab.primary().set("peer.0.lineages", Vec::<String>::new());
    nothing_is_found(&lab);
    lab.primary().configure(&peers);

    peer.write("/root/receiver", OTHER_RELEASE);
    peer.chmod("/root/receiver", 0o755);
    peer.authorize_only(&lab.identity(), Grant::Forced("/root/receiver"));
    let said = doctor(&lab).exits(1).stdout();
    let own = env!("CARGO_PKG_VERSION");
    let behind = said.split("web2: warning: its clock is ").nth(1).and_then(|rest| rest.split_once(' ')).unwrap();
    // The answer may be on its way for some seconds.
    assert!((3600..=3620).contains(&behind.0.parse().unwrap()), "{said}");
    assert!(behind.1.starts_with("seconds behind the primary's\n"), "{said}");
    let older = format!("web2: warning: it has certcast 0.0.9, and the primary {own}\n");
    let upgrade = "do:  on the primary: certcast peer upgrade web2\n";
    assert!(said.contains(&older) && said.contains(upgrade), "{said}");
    assert!(said.contains("web2: warning: it does not say what is wrong there: what?\n"), "{said}");
}

#[test]
fn of_several_certificates_one_can_be_asked_about_and_a_test_that_hangs_hides_nothing() {
    let lab = well();
    lab.point_both("other.test", &["web1", "web2", "web3"]);
    lab.issue("other.test", 1, &["other.test"]);
    lab.primary().write_renewal_conf("other.test");
    lab.deploy("other.test").ok();
    for host in lab.hosts() {
        host.serve("other.test", &["other.test"]);
    }
    let said = lab.primary().run(["certcast", "doctor", NAME]).exits(0);
    assert_eq!(said.stdout(), "examined 3 nodes and 1 lineages: 0 errors, 0 warnings\n");

    // One that certbot renews by the hooks, and that goes nowhere.
    lab.primary().set("deploy.lineages", vec![NAME]);
    let unsent = "web1: error: /etc/letsencrypt/renewal/other.test.conf calls certcast, and no pattern in deploy.lineages matches other.test";
    assert_eq!(found(&lab)[0], unsent);
    lab.primary().set("deploy.lineages", vec!["*"]);

    let peer = &lab["web2"];
    let config = peer.configuration();
    peer.configure(config.split("[[service]]").next().unwrap());
    assert_eq!(
        found(&lab)[0],
        "web2: warning: no [[service]] in its configuration: nothing is reloaded and nothing is looked at"
    );
    peer.configure(&config);
    let key = format!("/etc/letsencrypt/archive/{NAME}/privkey1.pem");
    for (path, mode) in [("/etc/letsencrypt/archive", 0o755), (&key.replace("/privkey1.pem", ""), 0o755), (&key, 0o644)]
    {
        peer.chmod(path, mode);
    }
    peer.set("service.0.test", ["sleep", "infinity"].map(str::to_owned).to_vec());
    let said = found(&lab);
    assert!(said[0].starts_with("web2: error: 'sleep infinity' did not end within "), "{said:?}");
    assert_eq!(
        said[1..],
        [
            format!("web2: warning: {key} is open to everybody"),
            "examined 3 nodes and 2 lineages: 1 errors, 1 warnings".to_owned()
        ]
    );
}

#[test]
fn an_address_in_dns_that_is_nobodys_and_a_node_that_is_not_there() {
    let lab = well();
    let mut addresses: Vec<std::net::IpAddr> = ["web1", "web2"].iter().flat_map(|name| lab[name].addresses()).collect();
    addresses.push("192.0.2.99".parse().unwrap());
    lab.dns().set(NAME, &addresses);
    let said = found(&lab);
    assert!(
        said[0].starts_with(&format!("web1: error: DNS lists 192.0.2.99 for {NAME}, which is no node: ")),
        "{said:?}"
    );
    assert!(
        said[1].starts_with(&format!("web1: warning: DNS lists none of web3's addresses for {NAME}: ")),
        "{said:?}"
    );
    assert_eq!(said[2..], ["examined 3 nodes and 1 lineages: 1 errors, 1 warnings"]);
    // They look at what nodes have and serve, and at nothing else.
    others_say(&lab, [IN_LINE; 3], 0, "OK - 3 in line | ");
}

#[test]
fn a_renewal_without_hooks_and_a_hook_without_its_program() {
    let lab = well();
    let primary = lab.primary();
    let whole = primary.text(RENEWAL);
    let lines: Vec<&str> = whole.lines().filter(|line| !line.starts_with("renew_hook")).collect();
    primary.write(RENEWAL, lines.join("\n"));
    let said = doctor(&lab).exits(1).stdout();
    let expected = format!(
        "web1: error: {RENEWAL} has no 'certcast deploy' as its renew_hook\n    why: the renewed certificate stays on this node\n    \
         do:  certcast init --install-hooks {NAME}\nexamined 3 nodes and 1 lineages: 1 errors, 0 warnings\n"
    );
    assert_eq!(said, expected);
    others_say(&lab, [IN_LINE; 3], 0, "OK - 3 in line | ");
    // Once after all renewals is enough; the page's commands make it so, and do no harm when they are run again.
    let page = include_str!("../../docs/operations.md").split("### Many certificates").nth(1).unwrap();
    let commands = page.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    primary.write(RENEWAL, &whole);
    for _ in 0..2 {
        primary.run(["sh", "-c", commands]).ok().says("examined 3 nodes and 1 lineages: 0 errors, 0 warnings");
        assert_eq!(
            primary.text(RENEWAL),
            whole.replace("renew_hook = /usr/local/bin/certcast deploy", "post_hook = /usr/local/bin/certcast resync")
        );
    }
    assert_ne!(primary.text(RENEWAL), whole);
    let after = |program: &str| format!("{}\npost_hook = {program} resync\n", lines.join("\n"));
    primary.write(RENEWAL, after("/usr/local/bin/certcast"));
    nothing_is_found(&lab);
    // What certbot's own configuration has is called in its place.
    primary.write("/etc/letsencrypt/cli.ini", "quiet\npost-hook = certcast resync --dry-run\n");
    let said = doctor(&lab).exits(1).stdout();
    let hidden = "web1: error: /etc/letsencrypt/cli.ini has a post-hook that does not call 'certcast resync', and it wins over every certificate's own\n    \
         why: the renewed certificate stays on this node\n    \
         do:  take post-hook out of it, or have it call 'certcast resync' too: editor /etc/letsencrypt/cli.ini\n";
    assert!(said.starts_with(hidden), "{said}");
    primary.write(RENEWAL, lines.join("\n"));
    primary.write("/etc/letsencrypt/cli.ini", "deploy-hook = /usr/local/bin/certcast deploy\n");
    nothing_is_found(&lab);
    primary.write(RENEWAL, &whole);
    primary.write("/etc/letsencrypt/cli.ini", "manual-auth-hook = /opt/acme.sh\nrenew-hook = systemctl reload nginx\n");
    let hidden = |option, verb| {
        format!(
            "web1: error: /etc/letsencrypt/cli.ini has a {option} that does not call 'certcast {verb}', and it wins over every certificate's own"
        )
    };
    assert_eq!(found(&lab)[..2], [hidden("manual-auth-hook", "auth"), hidden("renew-hook", "deploy")]);
    primary.write("/etc/letsencrypt/cli.ini", "authenticator = webroot\n");
    let other_way =
        "web1: error: /etc/letsencrypt/cli.ini has authenticator = webroot, and it wins over every certificate's own";
    assert_eq!(found(&lab)[0], other_way);
    primary.remove("/etc/letsencrypt/cli.ini");
    primary.write(RENEWAL, after("/opt/certcast"));
    assert_eq!(found(&lab)[0], format!("web1: error: {RENEWAL} calls /opt/certcast, which is no program here"));
    primary.write(RENEWAL, lines.join("\n"));
    // What certbot runs after every renewal does as well, if it is run.
    primary.mkdir("/etc/letsencrypt/renewal-hooks/deploy");
    primary.write("/etc/letsencrypt/renewal-hooks/deploy/certcast", "#!/bin/sh\nexec certcast deploy\n");
    assert_eq!(found(&lab).len(), 2);
    primary.chmod("/etc/letsencrypt/renewal-hooks/deploy/certcast", 0o755);
    nothing_is_found(&lab);

    // A file may call it.
    primary.write("/opt/acme/auth", "#!/bin/sh\nexec /usr/local/bin/certcast auth\n");
    primary.chmod("/opt/acme/auth", 0o755);
    primary.write(RENEWAL, whole.replace("/usr/local/bin/certcast auth", "/opt/acme/auth"));
    nothing_is_found(&lab);

    primary.write(RENEWAL, whole.replace("/usr/local/bin/certcast auth", "/opt/certcast auth"));
    let said = found(&lab);
    assert_eq!(said[0], format!("web1: error: {RENEWAL} calls /opt/certcast, which is no program here"));
    primary.remove(RENEWAL);
    assert_eq!(found(&lab)[0], format!("web1: error: certbot has no {RENEWAL}"));
    primary.write(RENEWAL, whole);
    nothing_is_found(&lab);
}

#[test]
fn what_only_the_peer_itself_can_see() {
    let lab = well();
    let peer = &lab["web2"];
    let key = format!("/etc/letsencrypt/archive/{NAME}/privkey1.pem");
    peer.chmod(&key, 0o644);
    nothing_is_found(&lab);
    peer.install("other.test", 1, &lab.bundle(&["other.test"]));
    peer.configure_site("other.test", &["other.test"]);
    peer.reload_nginx();
    peer.write_renewal_conf("stray.test");
    peer.mkdir("/etc/systemd/system/timers.target.wants");
    peer.link("/lib/systemd/system/certbot.timer", "/etc/systemd/system/timers.target.wants/certbot-renew.timer");
    for directory in ["/etc/letsencrypt/archive".to_owned(), format!("/etc/letsencrypt/archive/{NAME}")] {
        peer.chmod(&directory, 0o755);
    }
    let said = found(&lab);
    let expected = [
        format!("web2: warning: {key} is open to everybody"),
        "web2: warning: nginx uses /etc/letsencrypt/live/other.test, which nobody brings or renews".to_owned(),
        "web2: error: certbot here renews by /etc/letsencrypt/renewal/stray.test.conf".to_owned(),
        "web2: warning: certbot-renew.timer is enabled here".to_owned(),
        "examined 3 nodes and 1 lineages: 1 errors, 3 warnings".to_owned(),
    ];
    assert_eq!(said, expected);

    let said = lab.primary().run(["certcast", "doctor", "--json"]).exits(1).stdout();
    let all: Vec<Value> = serde_json::from_str(&said).unwrap();
    for one in &all {
        let mut fields: Vec<_> = one.as_object().unwrap().keys().map(String::as_str).collect();
        fields.sort_unstable();
        assert_eq!(fields, ["node", "remedy", "severity", "what", "why"]);
    }
    let remedies: Vec<&str> = all.iter().map(|one| one["remedy"].as_str().unwrap()).collect();
    let stray = "/etc/letsencrypt/renewal/stray.test.conf";
    let expected = [
        format!("chmod o-rwx {key}"),
        "on the primary, add it to deploy.lineages in /etc/certcast/config.toml; then: certcast resync".to_owned(),
        format!("mv {stray} {stray}.not-here"),
        "systemctl disable --now certbot-renew.timer".to_owned(),
    ];
    assert_eq!(remedies, expected);
    for remedy in [remedies[0], remedies[2]] {
        peer.run(["sh", "-c", remedy]).ok();
    }
    assert_eq!(peer.mode(&key) & 0o007, 0);
    peer.remove("/etc/systemd/system/timers.target.wants/certbot-renew.timer");
    peer.remove("/etc/nginx/conf.d/other.test.conf");
    peer.reload_nginx();
    nothing_is_found(&lab);

    peer.break_nginx();
    let said = found(&lab);
    assert!(said[0].starts_with("web2: error: 'nginx -t' failed (exit status: 1): "), "{said:?}");
    assert_eq!(said.len(), 2);
    peer.mend_nginx();
}

#[test]
fn a_full_disk_a_missing_sudo_rule_and_a_name_without_a_site() {
    let lab = well();
    let peer = &lab["web2"];
    peer.small_disk("/var/lib/certcast", "size=1m");
    let said = found(&lab);
    assert!(
        said[0].starts_with("web2: error: /var/lib/certcast: 10") && said[0].ends_with(" inodes are free"),
        "{said:?}"
    );
    assert_eq!(said.len(), 2, "{said:?}");
    peer.run(["umount", "/var/lib/certcast"]).ok();
    nothing_is_found(&lab);

    peer.set("service.0.reload", ["sudo", "-n", "nginx", "-s", "reload"].map(str::to_owned).to_vec());
    peer.write("/etc/sudoers", "nobody ALL=(ALL:ALL) NOPASSWD: ALL\n");
    peer.chmod("/etc/sudoers", 0o440);
    let said = found(&lab);
    assert_eq!(said[0], "web2: error: sudo does not let this user run 'sudo -n nginx -s reload' without a password");
    assert_eq!(said.len(), 2, "{said:?}");
    peer.write("/etc/sudoers", "root ALL=(ALL:ALL) NOPASSWD: /usr/sbin/nginx -s reload\n");
    nothing_is_found(&lab);

    // On web2 another site answers for a name of the certificate.
    let bundle = lab.issue(NAME, 2, &[NAME, "more.site.test"]);
    lab.point_both("more.site.test", &["web1", "web2", "web3"]);
    lab.deploy(NAME).ok();
    peer.await_served(&lab, NAME, &bundle);
    peer.install("a.test", 1, &lab.bundle(&["a.test"]));
    peer.configure_site("a.test", &["a.test"]);
    peer.reload_nginx();
    let said = found(&lab);
    assert_eq!(said[0], format!("web2: warning: no service shows {NAME}'s certificate for more.site.test"), "{said:?}");
}
