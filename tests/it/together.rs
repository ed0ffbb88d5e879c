//! Several lineages in one run: each node moves to all of them at once, and what is wrong with one is that one's alone.

use crate::lab::{Bundle, Grant, Host, Lab};

const NAMES: [&str; 3] = ["a.site.test", "b.site.test", "c.site.test"];

/// So many servers that all serve version 1 of the three lineages.
fn serving(hosts: usize) -> (Lab, [Bundle; 3]) {
    let lab = Lab::raise().hosts(hosts).up();
    let bundles = issue(&lab, 1);
    lab.resync(&[]).ok();
    for host in lab.hosts() {
        for name in NAMES {
            host.serve(name, &[name]);
        }
    }
    for host in lab.hosts() {
        serves(&lab, host, bundles.each_ref());
    }
    (lab, bundles)
}

fn issue(lab: &Lab, number: u32) -> [Bundle; 3] {
    NAMES.map(|name| lab.issue(name, number, &[name]))
}

fn serves(lab: &Lab, host: &Host, bundles: [&Bundle; 3]) {
    for (name, bundle) in NAMES.iter().zip(bundles) {
        host.await_served(lab, name, bundle);
    }
}

fn reloads(lab: &Lab) -> Vec<usize> {
    lab.hosts().iter().map(Host::nginx_reloads).collect()
}

#[test]
fn several_lineages_cost_each_node_one_test_and_one_reload() {
    let (lab, _) = serving(3);
    let before = reloads(&lab);
    let new = issue(&lab, 2);
    let said = lab.resync(&[]).exits(0).stdout();
    for node in ["web1", "web2", "web3"] {
        for name in NAMES {
            assert!(said.contains(&format!("{node}  {name}  applied")), "{said}");
        }
    }
    for host in lab.hosts() {
        for (name, bundle) in NAMES.iter().zip(&new) {
            host.serves(&lab, name, bundle);
        }
    }
    let after = reloads(&lab);
    assert_eq!(after, before.iter().map(|count| count + 1).collect::<Vec<_>>());
    assert_eq!(lab.resync(&[]).exits(0).stdout(), "everything is in line\n");
    assert_eq!(reloads(&lab), after);
}

/// A word of a shell: the links show this version of that lineage.
fn shows(name: &str, number: u32) -> String {
    format!("readlink /etc/letsencrypt/live/{name}/cert.pem | grep -q cert{number}.pem")
}

fn command(host: &Host, which: &str, script: &str) {
    host.set(&format!("service.0.{which}"), vec!["sh".to_owned(), "-c".to_owned(), script.to_owned()]);
}

#[test]
fn a_lineage_that_fails_is_named_and_the_others_come_all_the_same() {
    let (lab, mut old) = serving(3);
    lab.primary().set("deploy.canary", false);
    let peer = &lab["web3"];
    let ways =
        [("reload", "nginx -s reload", "rolled back after reload"), ("test", "nginx -t", "refused at pre-flight")];
    for (number, (which, good, step)) in (2..).zip(ways) {
        command(peer, which, &format!("if {}; then echo not this one; exit 5; fi; {good}", shows(NAMES[1], number)));
        let new = issue(&lab, number);
        let said = lab.resync(&[]).exits(3);
        let (well, ill) = (said.stdout(), said.stderr());
        for (node, name) in ["web1", "web2", "web3"].iter().flat_map(|node| NAMES.map(|name| (*node, name))) {
            let line = format!("{node}  {name}  ");
            if (node, name) == ("web3", NAMES[1]) {
                assert!(ill.contains(&format!("{line}{step}")) && ill.contains("not this one"), "{said}");
            } else {
                assert!(well.contains(&format!("{line}applied")) && !ill.contains(&line), "{said}");
            }
        }
        serves(&lab, peer, [&new[0], &old[1], &new[2]]);
        serves(&lab, &lab["web2"], new.each_ref());
        assert!(!peer.exists("/var/lib/certcast/transaction.journal"));
        command(peer, which, good);
        lab.resync(&[]).exits(0).says(&format!("web3  {}  applied", NAMES[1]));
        serves(&lab, peer, new.each_ref());
        old = new;
    }
}

#[test]
fn what_is_lacking_alone_is_tried_once() {
    let (lab, old) = serving(2);
    let (peer, name) = (&lab["web2"], NAMES[1]);
    command(peer, "reload", &format!("echo >>/root/told; ! {} && nginx -s reload", shows(name, 2)));
    lab.issue(name, 2, &[name]);
    lab.resync(&[]).exits(3).says(&format!("web2  {name}  rolled back after reload"));
    assert_eq!(peer.text("/root/told").lines().count(), 2, "there and back");
    peer.serves(&lab, name, &old[1]);
}

#[test]
fn a_canary_that_fails_with_several_keeps_the_others_from_the_one_that_fails_alone() {
    let (lab, old) = serving(3);
    // Whoever goes first fails.
    for peer in lab.peers() {
        command(peer, "reload", &format!("! {} && nginx -s reload", shows(NAMES[0], 2)));
    }
    let new = issue(&lab, 2);
    let said = lab.resync(&[]).exits(3).stderr();
    let count = |words: &str| said.matches(words).count();
    let of_the_first = format!("  {}  ", NAMES[0]);
    assert_eq!((count("rolled back after reload"), count("held back: the first node, ")), (1, 1), "{said}");
    assert!(said.lines().count() == 2 && said.lines().all(|line| line.contains(&of_the_first)), "{said}");
    for peer in lab.peers() {
        serves(&lab, peer, [&old[0], &new[1], &new[2]]);
    }
    serves(&lab, lab.primary(), new.each_ref());
}

#[test]
fn two_certificates_that_wait_for_each_other_come_together() {
    let lab = Lab::raise().hosts(2).up();
    let peer = &lab["web2"];
    let two = &NAMES[..2];
    for name in two {
        lab.issue(name, 1, &[name]);
        peer.configure_site(name, &[name]);
    }
    peer.run(["nginx", "-t"]).fails();
    lab.deploy(two[0]).exits(3).says(&format!("web2  {}  rolled back after test", two[0]));
    lab.resync(&[]).exits(0);
    peer.run(["nginx", "-t"]).ok();
    for name in two {
        assert_eq!(peer.installed_leaf(name), lab.primary().installed_leaf(name));
    }
}

#[test]
fn a_key_for_some_lineages_gets_those_together() {
    let (lab, _) = serving(3);
    lab["web2"].authorize_only(&lab.identity(), Grant::Receive { role: "deploy", only: &NAMES[..2] });
    let before = reloads(&lab);
    let new = issue(&lab, 2);
    let said = lab.resync(&[]).exits(3).stderr();
    assert!(
        said.contains(&format!(
            "web2  {}  refused at policy, nothing changed: this key is not for the lineage",
            NAMES[2]
        )),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
    serves(&lab, &lab["web3"], new.each_ref());
    for (name, bundle) in NAMES[..2].iter().zip(&new) {
        lab["web2"].serves(&lab, name, bundle);
    }
    let costs: Vec<_> = reloads(&lab).iter().zip(before).map(|(after, before)| after - before).collect();
    assert_eq!(costs, [1, 1, 1]);
}

#[test]
fn a_line_that_breaks_over_several_is_opened_anew_and_each_goes_alone() {
    let (lab, _) = serving(3);
    let peer = &lab["web2"];
    // The receiver dies at the reload for several, once.
    command(peer, "reload", "[ -e /root/once ] || { touch /root/once; kill -KILL $PPID; }; nginx -s reload");
    let new = issue(&lab, 2);
    let said = lab.resync(&[]).exits(0).stdout();
    assert!(peer.exists("/root/once"));
    for name in NAMES {
        assert!(said.contains(&format!("web2  {name}  applied")), "{said}");
    }
    for host in lab.hosts() {
        serves(&lab, host, new.each_ref());
    }
}

#[test]
fn where_everybody_is_required_nobody_switches_to_a_lineage_that_one_lacks_alone() {
    let (lab, old) = serving(3);
    lab.primary().set("deploy.require", "all");
    command(&lab["web3"], "test", &format!("! {} && nginx -t", shows(NAMES[1], 2)));
    let new = issue(&lab, 2);
    // web3 has two of them already: it lacks one alone, and will not have it.
    for name in [NAMES[0], NAMES[2]] {
        lab.resync(&[name, "--peer", "web3"]).exits(0);
    }
    let said = lab.resync(&[]).exits(3).stderr();
    assert!(said.contains(&format!("web3  {}  refused at pre-flight", NAMES[1])), "{said}");
    assert!(said.contains(&format!("web2  {}  pending: held back: web3 could not stage", NAMES[1])), "{said}");
    serves(&lab, &lab["web2"], [&new[0], &old[1], &new[2]]);
    serves(&lab, &lab["web3"], [&new[0], &old[1], &new[2]]);
}

#[test]
fn a_lineage_that_is_named_twice_goes_once() {
    let (lab, old) = serving(2);
    let new = issue(&lab, 2);
    let said = lab.resync(&[NAMES[0], NAMES[1], NAMES[0]]).exits(0).stdout();
    assert_eq!(said.lines().count(), 4, "{said}");
    serves(&lab, &lab["web2"], [&new[0], &new[1], &old[2]]);
}

#[test]
fn where_looking_takes_long_several_are_left_to_be_looked_at_one_by_one() {
    let (lab, _) = serving(2);
    let peer = &lab["web2"];
    let mute = "import socket\nlistener = socket.create_server(('', 8443))\nkept = []\nwhile True: kept.append(listener.accept())";
    let _mute = peer.spawn(["/usr/bin/python3", "-c", mute]);
    peer.await_listener(8443);
    peer.set("service.0.probe", vec!["443", "8443"]);
    // Each look takes four seconds there: more than its share among three, and less than the time of each alone.
    lab.primary().set("deploy.budget", "8s");
    let new = issue(&lab, 2);
    let reloads = peer.nginx_reloads();
    lab.resync(&[]).exits(0);
    serves(&lab, peer, new.each_ref());
    assert_eq!(peer.nginx_reloads(), reloads + 3);
}

#[test]
fn a_node_that_is_stuck_with_several_keeps_all_others_from_them() {
    let (lab, old) = serving(3);
    // Whoever goes first cannot even go back.
    let broken = "/etc/nginx/conf.d/broken.conf";
    for peer in lab.peers() {
        let breaks = format!("echo 'no_such_directive on;' >{broken}; exit 1");
        command(peer, "reload", &format!("if {}; then {breaks}; fi; nginx -s reload", shows(NAMES[0], 2)));
    }
    issue(&lab, 2);
    let said = lab.resync(&[]).exits(5).stderr();
    let count = |words: &str| said.matches(words).count();
    assert_eq!((count("  stuck: "), count("held back: the first node, ")), (3, 3), "{said}");
    let (stuck, untouched): (Vec<_>, Vec<_>) = lab.peers().iter().partition(|peer| peer.exists(broken));
    assert_eq!((stuck.len(), untouched.len()), (1, 1));
    serves(&lab, untouched[0], old.each_ref());

    // One that was stuck before keeps nobody from anything, and each goes alone where they do not go together.
    command(untouched[0], "reload", &format!("! {} && nginx -s reload", shows(NAMES[1], 3)));
    let new = issue(&lab, 3);
    let said = lab.resync(&[]).exits(5);
    assert_eq!(said.stderr().matches("  stuck: ").count(), 3, "{said}");
    let failed = format!("{}  {}  rolled back after reload", untouched[0].name(), NAMES[1]);
    assert!(said.stderr().contains(&failed) && said.stderr().lines().count() == 4, "{said}");
    serves(&lab, untouched[0], [&new[0], &old[1], &new[2]]);
}
