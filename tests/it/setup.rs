//! The README's set-up, word for word, from two servers that have nginx and sshd and nothing else.

use crate::lab::{Certbot, Grant, Lab};

const NAME: &str = "www.example.com";

/// The first block of commands that has this one, as somebody pastes it.
fn block(with: &str) -> String {
    let readme = std::fs::read_to_string("README.md").unwrap();
    let mut blocks = readme.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.find(|block| block.contains(with)).unwrap().to_owned()
}

#[test]
fn two_bare_servers_serve_a_certificate_after_the_readmes_commands() {
    let lab = Lab::raise().hosts(2).without_configuration().with_ca().up();
    let (primary, peer) = (lab.primary(), &lab["web2"]);
    lab.point_both(NAME, &["web1", "web2"]);
    peer.remove("/usr/local/bin/certcast");
    peer.authorize(&primary.new_key("/root/.ssh/id_ed25519"), Grant::Shell);

    // A person sits there, and says that the host key is right.
    primary.write("/root/setup", format!("set -e\n{}", block("certcast init")));
    let typed = "printf 'yes\\n' | script --quiet --return --command 'sh /root/setup' /dev/null";
    let said = primary.run(["sh", "-c", typed]).ok();
    assert!(said.stdout().contains("Is it the same? Type 'yes':"), "{said}");
    assert!(said.stdout().contains("web2  answers through its restricted key"), "{said}");

    // Of the README's command what says whose certbot this is, and whose CA.
    let command = block("certbot certonly");
    assert!(command.starts_with("certbot certonly "), "{command}");
    let words = primary.run(["sh", "-c", &command.replacen("certbot", "printf '%s\\n'", 1)]).ok().stdout();
    primary.certbot(Certbot::Debian).args(words.lines()).run().ok();

    for host in lab.hosts() {
        host.serve(NAME, &[NAME]);
    }
    primary.run(["certcast", "status"]).exits(0);
    let leaf = lab.served_leaf(primary.v4(), NAME);
    assert!(leaf.is_some());
    for address in lab.hosts().iter().flat_map(crate::lab::Host::addresses) {
        assert_eq!(lab.served_leaf(address, NAME), leaf, "{address}");
    }
    // What was written does for a renewal too.
    primary.certbot(Certbot::Debian).args(["renew", "--force-renewal", "--no-random-sleep-on-renew"]).run().ok();
    let renewed = lab.served_leaf(primary.v4(), NAME);
    assert_ne!(renewed, leaf);
    assert_eq!(lab.served_leaf(peer.v4(), NAME), renewed);
}

#[test]
fn init_changes_nothing_the_second_time() {
    let lab = Lab::raise().hosts(1).without_configuration().up();
    let primary = lab.primary();
    let said = primary.run(["certcast", "init", NAME, "example.com"]).exits(0);
    said.clone().says("wrote /etc/certcast/config.toml: webroot /var/www/html, nginx");
    said.clone().says("certcast rehearse www.example.com example.com");
    said.says("--deploy-hook '/usr/local/bin/certcast deploy' -d www.example.com -d example.com");
    let files = primary.tree("/etc/certcast");
    assert_eq!(primary.mode("/etc/certcast/id_ed25519"), 0o600);
    primary.run(["certcast", "init", NAME]).exits(0).says("is there, and stays as it is");
    primary.run(["certcast", "init", "other.test"]).exits(0).says("other.test is not rolled out yet");
    primary.run(["certcast", "init", "*.example.com"]).exits(2).says("cannot be validated over HTTP");
    assert!(primary.tree("/etc/certcast") == files);
    primary.run(["certcast", "init"]).exits(2);
}

#[test]
fn a_certificate_that_certbot_has_is_renewed_by_the_hooks_after_one_command() {
    let lab = Lab::raise().hosts(2).with_ca().up();
    let primary = lab.primary();
    let conf = format!("/etc/letsencrypt/renewal/{NAME}.conf");
    // As it is with one server.
    lab.point_both(NAME, &["web1"]);
    let own =
        ["certonly", "--webroot", "--webroot-path", "/var/www/html", "--deploy-hook", "nginx -s reload", "-d", NAME];
    primary.certbot(Certbot::Debian).args(own).run().ok();
    primary.write("/etc/letsencrypt/cli.ini", "server = https://ca.test:14000/dir\n");
    let install = |lineage: &str| {
        let command = primary.command(["certcast", "init", "--install-hooks", lineage]);
        command.env("REQUESTS_CA_BUNDLE", "/etc/lab-root.pem").deadline(std::time::Duration::from_secs(180)).run()
    };
    // What is there already is not to be asked for anew.
    let said = primary.run(["certcast", "init", NAME]).exits(0);
    assert!(
        said.stdout().contains("certcast init --install-hooks www.example.com") && !said.stdout().contains("certonly"),
        "{said}"
    );
    assert!(said.stderr().contains("every lineage here is sent to every peer"), "{said}");
    install("nobody.test").exits(1).says("certbot has no /etc/letsencrypt/renewal/nobody.test.conf");

    // One server too many: the trial fails, and all is as before.
    let before = primary.text(&conf);
    lab.point_both(NAME, &["web1", "web2"]);
    lab["web2"].set("node.webroot", "/srv");
    primary.set("challenge.abort_certbot", true);
    let said = install(NAME).exits(1).stderr();
    assert!(said.contains(&format!("{conf} is as it was before: ")) && said.contains("web2"), "{said}");
    assert_eq!(primary.text(&conf), before);

    lab["web2"].set("node.webroot", "/var/www/html");
    let said = install(NAME).exits(0);
    assert!(said.stderr().contains("its own deploy hook is called no more: nginx -s reload"), "{said}");
    assert_eq!(primary.text(&format!("{conf}.before-certcast")), before);
    install(NAME).exits(0).says("has the hooks already");
    primary.run(["certcast", "resync"]).exits(0);
    for host in lab.hosts() {
        host.serve(NAME, &[NAME]);
    }
    let old = lab.served_leaf(primary.v4(), NAME);
    primary.certbot(Certbot::Debian).args(["renew", "--force-renewal", "--no-random-sleep-on-renew"]).run().ok();
    let new = lab.served_leaf(primary.v4(), NAME);
    assert!(new.is_some() && new != old);
    assert_eq!(lab.served_leaf(lab["web2"].v4(), NAME), new);
}
