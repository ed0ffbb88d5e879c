//! A primary behind a router that does not lead back: the public reaches what the primary cannot.

use crate::challenges::{everything_is_gone, lines};
use crate::lab::{Finished, Lab};

const NAME: &str = "www.site.test";
const LOG: &str = "/var/log/certcast.log";

/// web2 has an inside address too; what web1 sends to its public ones is lost.
fn behind_a_router() -> Lab {
    let lab = Lab::raise().hosts(2).up();
    lab.point_both(NAME, &["web1", "web2"]);
    for (host, inside) in [("web1", "10.9.0.1/24"), ("web2", "10.9.0.2/24")] {
        lab[host].run(["ip", "addr", "add", inside, "dev", "eth0"]).ok();
    }
    for public in ["192.0.2.2", "2001:db8::2"] {
        let lost = ["ip", "neigh", "replace", public, "lladdr", "02:00:00:00:00:99", "dev", "eth0", "nud", "permanent"];
        lab.primary().run(lost).ok();
    }
    lab.primary().set("peer.0.ssh", "root@10.9.0.2");
    lab.primary().append("/etc/certcast/known_hosts", format!("10.9.0.2 {}\n", lab["web2"].host_key()));
    lab
}

#[test]
fn an_address_only_the_public_reaches_is_asked_where_it_is_said_or_knowingly_not_at_all() {
    let lab = behind_a_router();
    let primary = lab.primary();
    let auth = || -> (Finished, String) {
        primary.write(LOG, "");
        let run = primary.hooks().auth_by(&format!("certcast --log {LOG} auth"), &[NAME]).cleanup(&[NAME]);
        (run.run(), primary.text(LOG))
    };
    primary.set("challenge.budget", "15s");
    let run = primary.hooks().auth(&[NAME]).run().exits(1);
    let line = lines(&run, 1).remove(0);
    assert!(line.contains("web2 (192.0.2.2 and 2001:db8::2) does not take a connection"), "{line}");
    assert!(line.contains("(hairpin NAT: see challenge.prove_at)"), "{line}");

    let prove_at = |v6: &str| {
        let places = [("192.0.2.2", "10.9.0.2"), ("2001:db8::2", v6)];
        let places = places.map(|(public, place)| (public.to_owned(), place.into()));
        primary.set("challenge.prove_at", toml::Table::from_iter(places));
    };
    prove_at("nowhere");
    let (run, log) = auth();
    run.ok().silent();
    assert!(log.contains("web2 (192.0.2.2) is asked at 10.9.0.2 (challenge.prove_at)"), "{log}");
    assert!(log.contains("web2 (2001:db8::2) is not proven (challenge.prove_at)"), "{log}");
    everything_is_gone(&lab);

    // What is wrong on the server is found as before, and DNS is compared as before.
    lab["web2"].set("node.webroot", "/srv");
    let line = lines(&primary.hooks().auth(&[NAME]).run().exits(1), 1).remove(0);
    assert!(line.contains("web2 (10.9.0.2) answers 404 for http://www.site.test/"), "{line}");
    lab["web2"].set("node.webroot", "/var/www/html");
    lab.dns().set(NAME, &["10.9.0.2".parse().unwrap()]);
    let said = primary.hooks().auth(&[NAME]).run().exits(1);
    said.says("DNS lists 10.9.0.2 for www.site.test, which is no node");
}
