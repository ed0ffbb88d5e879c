//! The tree on the peers: certbot's own layout, mirrored, and never taken from somebody else.

use crate::lab::{Bundle, Entry, Host, Lab};

const NAME: &str = "www.site.test";

/// A lineage's directories as certbot sees them; a README's text is everybody's own.
fn lineage(host: &Host, name: &str) -> Vec<Entry> {
    let mut all = Vec::new();
    for directory in ["live", "archive"] {
        let mut entries = host.tree(&format!("/etc/letsencrypt/{directory}"));
        entries.retain(|entry| entry.path.starts_with(name));
        for entry in &mut entries {
            if entry.path.ends_with("README") {
                entry.content = None;
            }
        }
        all.extend(entries);
    }
    all
}

#[test]
fn the_tree_on_each_peer_equals_the_primarys_and_certbot_accepts_it() {
    let lab = Lab::raise().hosts(3).up();
    lab.issue(NAME, 1, &[NAME]);
    lab.deploy(NAME).ok().silent();
    let expected = lineage(lab.primary(), NAME);
    assert_eq!(expected.len(), 2 + 5 + 4, "two directories, README and links, files");
    for peer in lab.peers() {
        assert_eq!(lineage(peer, NAME), expected, "{}", peer.name());
        assert_eq!(peer.mode("/etc/letsencrypt/archive/www.site.test/privkey1.pem"), 0o600);
        assert_eq!((peer.mode("/etc/letsencrypt/live"), peer.mode("/etc/letsencrypt/archive")), (0o700, 0o700));
        let link = peer.target("/etc/letsencrypt/live/www.site.test/privkey.pem");
        assert_eq!(link.to_str(), Some("../../archive/www.site.test/privkey1.pem"));
        peer.certbot_certificates(NAME).ok().says("VALID: 89 days");
    }
}

#[test]
fn a_keys_group_and_mode_travel_and_a_peer_may_wish_otherwise() {
    let lab = Lab::raise().hosts(3).up();
    lab.issue(NAME, 1, &[NAME]);
    let key = "/etc/letsencrypt/archive/www.site.test/privkey1.pem";
    lab.primary().chown(key, 0, 33);
    lab.primary().chmod(key, 0o640);
    lab["web3"].set("node.key_mode", "0600");
    lab["web3"].set("node.key_group", "daemon");
    lab.deploy(NAME).ok();
    assert_eq!(lineage(&lab["web2"], NAME), lineage(lab.primary(), NAME));
    assert_eq!((lab["web2"].mode(key), lab["web2"].owner(key)), (0o640, (0, 33)));
    assert_eq!((lab["web3"].mode(key), lab["web3"].owner(key)), (0o600, (0, 1)));
}

#[test]
fn renewals_show_everywhere_at_once_and_versions_the_primary_dropped_are_pruned() {
    let (lab, _) = Lab::serving(3, NAME);
    for number in [2, 3] {
        let new = lab.issue(NAME, number, &[NAME]);
        lab.deploy(NAME).ok().silent();
        for host in lab.hosts() {
            host.serves(&lab, NAME, &new);
        }
    }
    let archive = "/etc/letsencrypt/archive/www.site.test";
    let held = lab["web2"].list(archive);
    assert_eq!(held.len(), 12, "{held:?}");
    for part in ["cert", "privkey", "chain", "fullchain"] {
        lab.primary().remove(&format!("{archive}/{part}1.pem"));
    }
    lab.issue(NAME, 4, &[NAME]);
    lab.deploy(NAME).ok().silent();
    for peer in lab.peers() {
        assert_eq!(lineage(peer, NAME), lineage(lab.primary(), NAME), "{}", peer.name());
        assert!(!peer.exists(&format!("{archive}/privkey1.pem")) && peer.exists(&format!("{archive}/privkey2.pem")));
        peer.certbot_certificates(NAME).ok().says("VALID");
    }
}

fn write_by_hand(peer: &Host, live: &str, bundle: &Bundle) {
    for (file, content) in bundle.files() {
        peer.write(&format!("{live}/{file}.pem"), content);
    }
}

#[test]
fn a_hand_made_tree_is_refused_until_adopted_and_then_kept_as_a_backup() {
    let lab = Lab::raise().hosts(2).up();
    let (peer, live) = (&lab["web2"], "/etc/letsencrypt/live/www.site.test");
    let by_hand = lab.bundle(&[NAME]);
    write_by_hand(peer, live, &by_hand);
    peer.serve(NAME, &[NAME]);
    peer.await_served(&lab, NAME, &by_hand);
    let tree = peer.certificates();
    let new = lab.issue(NAME, 1, &[NAME]);
    let said = lab.deploy(NAME).exits(3).stderr();
    assert!(said.contains("refused at tree") && said.contains(live) && said.contains("--adopt"), "{said}");
    assert_eq!(peer.certificates(), tree);

    let said = lab.resync(&["--adopt"]).exits(0).stdout();
    peer.serves(&lab, NAME, &new);
    assert_eq!(lineage(peer, NAME), lineage(lab.primary(), NAME));
    let kept = peer.list("/etc/letsencrypt/live").into_iter().find(|name| name.contains("replaced")).unwrap();
    assert!(said.contains(&kept), "{said}");
    let backup = peer.tree(&format!("/etc/letsencrypt/live/{kept}"));
    let original: Vec<_> = tree.iter().filter(|entry| entry.kind == 'f').map(|entry| entry.content.clone()).collect();
    assert_eq!(backup.into_iter().map(|entry| entry.content).collect::<Vec<_>>(), original);
}

#[test]
fn a_hand_made_tree_behind_a_link_is_adopted_wherever_the_link_leads() {
    let lab = Lab::raise().hosts(2).up();
    let (peer, live) = (&lab["web2"], "/etc/letsencrypt/live/www.site.test");
    let by_hand = lab.bundle(&[NAME]);
    write_by_hand(peer, "/srv/certs", &by_hand);
    peer.mkdir("/etc/letsencrypt/live");
    peer.run(["ln", "-s", "/srv/certs", live]).ok();
    peer.serve(NAME, &[NAME]);
    peer.await_served(&lab, NAME, &by_hand);
    let new = lab.issue(NAME, 1, &[NAME]);
    lab.resync(&["--adopt"]).exits(0);
    peer.serves(&lab, NAME, &new);
    assert!(peer.exists("/srv/certs/privkey.pem"), "what the link led to is nobody's to take");
}

#[test]
fn a_failed_adoption_leaves_the_hand_made_tree_as_it_was() {
    let lab = Lab::raise().hosts(2).up();
    let (peer, live) = (&lab["web2"], "/etc/letsencrypt/live/www.site.test");
    let by_hand = lab.bundle(&[NAME]);
    write_by_hand(peer, live, &by_hand);
    peer.mkdir("/etc/letsencrypt/archive");
    peer.serve(NAME, &[NAME]);
    peer.await_served(&lab, NAME, &by_hand);
    let _squatter = peer.make_reload_lie();
    let tree = peer.certificates();
    lab.issue(NAME, 1, &[NAME]);
    lab.resync(&["--adopt"]).exits(3).says("web2  www.site.test  rolled back");
    assert_eq!(peer.certificates(), tree);
    peer.serves(&lab, NAME, &by_hand);
}

#[test]
fn a_hand_made_tree_that_is_a_mount_point_is_not_taken_over_link_by_link() {
    let lab = Lab::raise().hosts(2).up();
    let (peer, live) = (&lab["web2"], "/etc/letsencrypt/live/www.site.test");
    let by_hand = lab.bundle(&[NAME]);
    peer.small_disk(live, "size=1m");
    write_by_hand(peer, live, &by_hand);
    peer.mkdir("/etc/letsencrypt/archive");
    peer.serve(NAME, &[NAME]);
    peer.await_served(&lab, NAME, &by_hand);
    let tree = peer.certificates();
    lab.issue(NAME, 1, &[NAME]);
    lab.resync(&["--adopt"]).exits(3).says("web2  www.site.test  rolled back after switch").says(live).says("busy");
    assert_eq!(peer.certificates(), tree);
    peer.serves(&lab, NAME, &by_hand);
}

#[test]
fn what_somebody_dropped_into_the_new_tree_does_not_cost_the_hand_made_one() {
    let lab = Lab::raise().hosts(2).up();
    let (peer, live) = (&lab["web2"], "/etc/letsencrypt/live/www.site.test");
    let by_hand = lab.bundle(&[NAME]);
    write_by_hand(peer, live, &by_hand);
    peer.serve(NAME, &[NAME]);
    peer.await_served(&lab, NAME, &by_hand);
    let tree = peer.tree(live);
    // Between the switch and its undoing a file appears beside our links.
    peer.write(
        "/root/reload",
        format!("#!/bin/sh\n[ -L {live}/cert.pem ] || exit 0\ntouch {live}/dhparam.pem\nexit 1\n"),
    );
    peer.chmod("/root/reload", 0o755);
    peer.set("service.0.reload", vec!["/root/reload"]);
    lab.issue(NAME, 1, &[NAME]);
    lab.resync(&["--adopt"]).says("web2  www.site.test  rolled back");
    assert_eq!(peer.tree(live), tree);
    let names = peer.list("/etc/letsencrypt/live");
    let kept = names.iter().find(|name| name.contains(".replaced-")).unwrap();
    assert!(peer.exists(&format!("/etc/letsencrypt/live/{kept}/dhparam.pem")));
    peer.serves(&lab, NAME, &by_hand);
}

#[test]
fn versions_that_certcast_did_not_write_are_never_pruned() {
    let lab = Lab::raise().hosts(2).up();
    let peer = &lab["web2"];
    peer.install(NAME, 1, &lab.bundle(&[NAME]));
    lab.issue(NAME, 2, &[NAME]);
    lab.deploy(NAME).ok().silent();
    lab.issue(NAME, 3, &[NAME]);
    for part in ["cert", "chain", "fullchain", "privkey"] {
        lab.primary().remove(&format!("/etc/letsencrypt/archive/{NAME}/{part}2.pem"));
    }
    lab.deploy(NAME).ok().silent();
    let mut certs = peer.list(&format!("/etc/letsencrypt/archive/{NAME}"));
    certs.retain(|name| name.starts_with("cert"));
    assert_eq!(certs, ["cert1.pem", "cert3.pem"]);
}

#[test]
fn a_lineage_that_a_peers_own_certbot_renews_is_refused() {
    let (lab, old) = Lab::serving(2, NAME);
    lab["web2"].write_renewal_conf(NAME);
    let tree = lab["web2"].certificates();
    lab.issue(NAME, 2, &[NAME]);
    for more in [vec![], vec!["--adopt"], vec!["--force"]] {
        let said = lab.resync(&more).exits(3).stderr();
        assert!(said.contains("web2") && said.contains("/etc/letsencrypt/renewal/www.site.test.conf"), "{said}");
        assert_eq!(lab["web2"].certificates(), tree);
    }
    lab["web2"].serves(&lab, NAME, &old);
}

#[test]
fn strange_lineage_names_are_data_on_every_node() {
    let lab = Lab::raise().hosts(2).up();
    let names =
        ["my site", "it's \"the\" one", "$(touch owned);`touch owned`", "bücher.example", "a..b", "*", "site-0001"];
    for name in names {
        lab.issue(name, 1, &[NAME]);
    }
    for name in &names[..3] {
        lab.deploy(name).exits(0).silent();
        assert_eq!(lineage(&lab["web2"], name), lineage(lab.primary(), name), "{name}");
    }
    lab.resync(&[]).exits(0);
    for name in names {
        assert_eq!(lineage(&lab["web2"], name), lineage(lab.primary(), name), "{name}");
        assert!(!lineage(&lab["web2"], name).is_empty());
    }
    let found = lab["web2"].run(["find", "/", "-xdev", "-name", "owned"]).stdout();
    assert_eq!(found, "");

    let tree = lab["web2"].certificates();
    for (lineage, why) in [("-rf", "dash"), ("..", "live/NAME"), (".hidden", "dot"), ("a/../b", "live/NAME")] {
        let said = lab.deploy(lineage);
        assert!(matches!(said.code(), Some(2 | 4)), "{said}");
        said.says(why);
    }
    assert_eq!(lab["web2"].certificates(), tree);
}

#[test]
fn a_service_that_still_shows_a_version_that_was_pruned_is_not_in_line() {
    let (lab, old) = Lab::serving(2, NAME);
    let (primary, peer) = (lab.primary(), &lab["web2"]);
    lab.issue(NAME, 2, &[NAME]);
    lab.deploy(NAME).ok();
    for part in ["cert", "chain", "fullchain", "privkey"] {
        primary.remove(&format!("/etc/letsencrypt/archive/{NAME}/{part}1.pem"));
    }
    lab.issue(NAME, 3, &[NAME]);
    lab.deploy(NAME).ok();
    assert!(!peer.exists(&format!("/etc/letsencrypt/archive/{NAME}/cert1.pem")));
    primary.run(["certcast", "status"]).exits(0);

    // A service beside the one that shows the right one.
    for (part, content) in old.files() {
        peer.write(&format!("/root/{part}.pem"), content);
    }
    let site = format!(
        "server {{ listen 8443 ssl; server_name {NAME}; ssl_certificate /root/fullchain.pem; \
         ssl_certificate_key /root/privkey.pem; }}\n"
    );
    peer.write("/etc/nginx/conf.d/mail.conf", site);
    peer.reload_nginx();
    peer.await_listener(8443);
    let mail = "\n[[service]]\nname = \"mail\"\ntest = [\"true\"]\nreload = [\"true\"]\nprobe = [\"8443\"]\n";
    peer.configure(&format!("{}{mail}", peer.configuration()));
    let said = primary.run(["certcast", "status"]).exits(3);
    assert!(said.stdout().contains(&format!("an older one is still served by mail for {NAME} at ")), "{said}");
    primary.run(["certcast", "check"]).exits(1).says("an older one is still served by mail");
}
