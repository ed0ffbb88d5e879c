//! Web servers other than nginx, as Debian has them, each by its preset.

use crate::lab::{Bundle, Host, Lab};

const NAME: &str = "www.site.test";
const LIVE: &str = "/etc/letsencrypt/live/www.site.test";

/// There is no systemd in the lab: this does what each package's unit says for a reload, with the main process's number
/// from the unit's file, and nothing where the service does not run.
const SYSTEMCTL: &str = r#"#!/bin/sh
[ "$1" = reload ] || exit 1
main=$(cat /run/$2.pid /run/$2/$2.pid 2>/dev/null || :)
[ -n "$main" ] || exit 5
unit=/lib/systemd/system/$2.service
[ -r /etc/default/$2 ] && . /etc/default/$2
eval "export $(sed -n 's/^Environment=//p' $unit)"
export MAINPID=$main
sed -n 's/^ExecReload=//p' $unit | while read -r command; do eval "$command" || exit 1; done
"#;

/// web2 with one of the presets, in place of nginx.
fn with_preset(lab: &Lab, preset: &str) {
    let peer = &lab["web2"];
    peer.write("/usr/local/bin/systemctl", SYSTEMCTL);
    peer.chmod("/usr/local/bin/systemctl", 0o755);
    peer.configure(&format!("[node]\nname = \"web2\"\n\n[[service]]\nname = \"{preset}\"\n"));
}

/// Two renewals, the second of which the service's own configuration does not allow.
fn renews_and_refuses(lab: &Lab, broken: impl Fn(&Host)) {
    let peer = &lab["web2"];
    let second = lab.issue(NAME, 2, &[NAME]);
    lab.deploy(NAME).exits(0).silent();
    peer.serves(lab, NAME, &second);
    let tree = peer.certificates();
    broken(peer);
    lab.issue(NAME, 3, &[NAME]);
    let said = lab.deploy(NAME).exits(3).stderr();
    assert!(said.contains("web2  www.site.test  refused at baseline, nothing changed: "), "{said}");
    assert_eq!(peer.certificates(), tree);
    peer.serves(lab, NAME, &second);
}

fn deployed_first(lab: &Lab) -> Bundle {
    let first = lab.issue(NAME, 1, &[NAME]);
    lab.deploy(NAME).exits(0).silent();
    first
}

#[test]
fn apache2_takes_renewals_and_refuses_them_while_its_configuration_is_broken() {
    let lab = Lab::raise().hosts(2).up();
    let peer = &lab["web2"];
    peer.stop_nginx();
    for directory in ["/var/log/apache2", "/run/apache2", "/var/lib/apache2"] {
        peer.mkdir(directory);
    }
    with_preset(&lab, "apache2");
    peer.run(["apache2ctl", "start"]).ok();
    peer.await_listener(80);
    lab.point_both(NAME, &["web1", "web2"]);
    lab.primary().run(["certcast", "rehearse", NAME]).exits(0);
    let first = deployed_first(&lab);

    peer.run(["a2enmod", "ssl"]).ok();
    peer.write(
        "/etc/apache2/sites-enabled/site.conf",
        format!(
            "<VirtualHost *:443>\n  ServerName {NAME}\n  SSLEngine on\n  SSLCertificateFile {LIVE}/fullchain.pem\n  \
             SSLCertificateKeyFile {LIVE}/privkey.pem\n</VirtualHost>\n"
        ),
    );
    peer.run(["apache2ctl", "graceful"]).ok();
    peer.await_listener(443);
    peer.await_served(&lab, NAME, &first);

    let restarts = || peer.text("/var/log/apache2/error.log").matches("Doing graceful restart").count();
    let before = restarts();
    renews_and_refuses(&lab, |peer| peer.write("/etc/apache2/conf-enabled/broken.conf", "NoSuchDirective on\n"));
    assert_eq!(restarts(), before + 1, "told once, of the certificate that it took");
}

#[test]
fn haproxy_takes_renewals_as_one_file_and_refuses_them_while_its_configuration_is_broken() {
    let lab = Lab::raise().hosts(2).up();
    let peer = &lab["web2"];
    peer.mkdir("/etc/haproxy/certs");
    let config = "global\n  user haproxy\n  group haproxy\ndefaults\n  mode http\n  timeout client 5s\n  timeout server 5s\n  \
                  timeout connect 5s\nfrontend site\n  bind :::443 v4v6 ssl crt /etc/haproxy/certs/\n  \
                  http-request return status 200\n";
    peer.write("/etc/haproxy/haproxy.cfg", config);
    with_preset(&lab, "haproxy");
    peer.set("service.0.joined", "/etc/haproxy/certs/{lineage}.pem");
    let first = deployed_first(&lab);
    assert_eq!(peer.mode(&format!("/etc/haproxy/certs/{NAME}.pem")), 0o600);

    peer.run(["haproxy", "-W", "-D", "-f", "/etc/haproxy/haproxy.cfg", "-p", "/run/haproxy.pid"]).ok();
    peer.await_listener(443);
    peer.await_served(&lab, NAME, &first);

    renews_and_refuses(&lab, |peer| peer.write("/etc/haproxy/haproxy.cfg", format!("{config}  no such keyword\n")));
    let joined = peer.read(&format!("/etc/haproxy/certs/{NAME}.pem"));
    peer.write("/etc/haproxy/haproxy.cfg", config);
    let third = lab.issue(NAME, 3, &[NAME]);
    lab.deploy(NAME).exits(0).silent();
    peer.serves(&lab, NAME, &third);
    assert_ne!(peer.read(&format!("/etc/haproxy/certs/{NAME}.pem")), joined);
}
