//! `auth` and `cleanup`: what is wrong on a server, in DNS or on the way is found and said before the CA is asked.

use crate::lab::{CHALLENGES, Finished, Host, Lab, token, until};

const NAME: &str = "www.site.test";
const CONF: &str = "/etc/nginx/conf.d/site.conf";

/// Three servers with both families in DNS for these names.
pub fn three_servers(names: &[&str]) -> Lab {
    let lab = Lab::raise().hosts(3).up();
    let addresses: Vec<_> = lab.hosts().iter().flat_map(Host::addresses).collect();
    lab.dns().set_all(names, &addresses);
    lab
}

/// Another answer than the webroot's for a name on port 80.
fn answer_otherwise(host: &Host, listen: &str, words: &str) {
    host.write(CONF, format!("server {{ {listen} server_name {NAME}; {words} }}\n"));
    host.reload_nginx();
}

pub fn everything_is_gone(lab: &Lab) {
    for host in lab.hosts() {
        assert_eq!(host.tokens(), Vec::<String>::new(), "{}", host.name());
    }
}

/// Just this many lines on stderr, each of certcast's.
#[track_caller]
pub fn lines(said: &Finished, number: usize) -> Vec<String> {
    let lines: Vec<String> = said.stderr().lines().map(str::to_owned).collect();
    assert!(lines.len() == number && lines.iter().all(|line| line.starts_with("certcast: ")), "{said}");
    assert!(said.stdout.is_empty(), "{said}");
    lines
}

#[test]
fn hooks_are_silent_when_all_goes_well_whatever_surrounds_them() {
    let lab = three_servers(&[NAME, "site.test"]);
    let names = [NAME, "site.test"];
    for line in [
        "certcast auth",
        "certcast auth >&-",
        "certcast auth >&- 2>&-",
        "exec env -i CERTBOT_DOMAIN=$CERTBOT_DOMAIN CERTBOT_TOKEN=$CERTBOT_TOKEN CERTBOT_VALIDATION=$CERTBOT_VALIDATION \
         CERTBOT_REMAINING_CHALLENGES=$CERTBOT_REMAINING_CHALLENGES /usr/local/bin/certcast auth",
    ] {
        let files = format!("ls {CHALLENGES} | wc -l >/count");
        lab.primary().hooks().auth_by(line, &names).then(&files).cleanup(&names).run().ok().silent();
        assert_eq!(lab.primary().text("/count").trim(), "2", "{line}");
        everything_is_gone(&lab);
    }
}

#[test]
fn a_recording_call_contacts_nobody() {
    let lab = three_servers(&[NAME]);
    lab.primary().hooks().auth_one("certcast auth", "site.test", 1).run().ok().silent();
    let visited = |host: &Host| host.sshd_log().contains("Connection from");
    assert!(!lab.peers().iter().any(visited));
    everything_is_gone(&lab);
    assert_eq!(lab.dns().questions("site.test"), 0);
    // The same call as the last one does.
    lab.primary().hooks().auth_one("certcast auth", NAME, 0).run().ok().silent();
    assert!(lab.peers().iter().all(visited));
}

#[test]
fn thirty_names_on_ten_peers_cost_each_peer_one_login_for_auth_and_one_for_cleanup() {
    let names: Vec<String> = (0..30).map(|n| format!("n{n}.site.test")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let lab = Lab::raise().hosts(11).up();
    let addresses: Vec<_> = lab.hosts().iter().flat_map(Host::addresses).collect();
    lab.dns().set_all(&names, &addresses);
    let logins = || lab.peers().iter().map(Host::logins).collect::<Vec<_>>();

    let mut run = lab.primary().hooks().auth(&names).then("touch /published; while [ ! -e /go ]; do sleep 0.02; done");
    run = run.cleanup(&names);
    let run = run.command().spawn();
    until("everything is published", || lab.primary().exists("/published"));
    assert_eq!(logins(), [1; 10]);
    assert!(lab.hosts().iter().all(|host| host.tokens().len() == 30));
    lab.primary().write("/go", "");
    run.wait().ok().silent();
    assert_eq!(logins(), [2; 10]);
    everything_is_gone(&lab);

    lab.issue(NAME, 1, &[NAME]);
    let lineage = [("RENEWED_LINEAGE", "/etc/letsencrypt/live/www.site.test"), ("RENEWED_DOMAINS", NAME)];
    lab.primary().hooks().call("deploy", &lineage).run().ok().silent();
    assert_eq!(logins(), [3; 10]);
}

#[test]
fn a_wrong_answer_of_one_server_is_said_with_server_address_and_status() {
    let lab = three_servers(&[NAME]);
    let wrong = &lab["web2"];
    let both = "listen 80; listen [::]:80;";
    for (listen, words, said) in [
        (both, "root /srv;", "web2 (192.0.2.2 and 2001:db8::2) answers 404 for http://www.site.test/"),
        (both, "return 403;", "web2 (192.0.2.2 and 2001:db8::2) answers 403 for "),
        (both, "return 200 old;", "web2 (192.0.2.2 and 2001:db8::2) answers something else, beginning \"old\","),
        (
            both,
            "return 301 http://elsewhere.test:8080/;",
            "answers 301, a redirect to \"http://elsewhere.test:8080/\",",
        ),
        ("listen [::]:80;", "root /srv;", "web2 (2001:db8::2) answers 404 for "),
    ] {
        answer_otherwise(wrong, listen, words);
        let run = lab.primary().hooks().auth(&[NAME]).run().exits(1);
        let line = lines(&run, 1).remove(0);
        assert!(line.contains(said) && line.contains("web2 ("), "{line}");
    }
    wrong.remove(CONF);
    wrong.stop_nginx();
    let line = lines(&lab.primary().hooks().auth(&[NAME]).run().exits(1), 1).remove(0);
    assert!(line.contains("web2 (192.0.2.2 and 2001:db8::2) refuses the connection"), "{line}");
    assert!(line.contains("no web server listens on port 80 there; start it"), "{line}");
}

#[test]
fn thirty_names_on_a_wrong_server_are_one_line() {
    let names: Vec<String> = (0..30).map(|n| format!("n{n:02}.site.test")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let lab = three_servers(&names);
    lab["web3"].rename("/var/www/html", "/var/www/old");
    lab["web3"].mkdir("/srv/empty");
    lab["web3"].set("node.webroot", "/srv/empty");
    let line = lines(&lab.primary().hooks().auth(&names).run().exits(1), 1).remove(0);
    assert!(line.contains("web3 (192.0.2.3 and 2001:db8::3) answers 404") && line.contains("and 26 more"), "{line}");
    assert!(line.len() < 600, "{line}");

    lab["web3"].set("node.webroot", "/srv/missing");
    let line = lines(&lab.primary().hooks().auth(&names).run().exits(1), 1).remove(0);
    assert!(line.contains("web3: cannot publish the challenge for n") && line.contains("and 27 more"), "{line}");
    assert!(line.contains("set node.webroot"), "{line}");
}

#[test]
fn a_webroot_that_is_a_link_is_cleaned_where_it_was_written_and_one_that_is_missing_is_named() {
    let lab = three_servers(&[NAME]);
    let peer = &lab["web2"];
    peer.rename("/var/www/html", "/var/www/first");
    peer.mkdir("/var/www/second");
    peer.link("first", "/var/www/html");
    let run = lab.primary().hooks().auth(&[NAME]).then("touch /published; while [ ! -e /go ]; do sleep 0.02; done");
    let run = run.cleanup(&[NAME]).command().spawn();
    until("everything is published", || lab.primary().exists("/published"));
    assert_eq!(peer.list("/var/www/first/.well-known/acme-challenge"), [token(NAME)], "what was missing was made");
    // Another release goes live.
    peer.remove("/var/www/html");
    peer.link("second", "/var/www/html");
    lab.primary().write("/go", "");
    run.wait().ok().silent();
    assert!(peer.list("/var/www/first/.well-known/acme-challenge").is_empty());
    everything_is_gone(&lab);

    peer.remove("/var/www/html");
    let line = lines(&lab.primary().hooks().auth(&[NAME]).run().exits(1), 1).remove(0);
    assert!(line.contains("web2: cannot publish the challenge for www.site.test: "), "{line}");
    assert!(line.contains("/var/www/html") && line.contains("set node.webroot"), "{line}");
}

#[test]
fn dns_must_name_the_nodes_and_nobody_else() {
    let lab = three_servers(&[NAME]);
    let auth = || lab.primary().hooks().auth_by("certcast --log /var/log/certcast.log auth", &[NAME]).run();
    let of = |hosts: &[&str]| hosts.iter().flat_map(|host| lab[*host].addresses()).collect::<Vec<_>>();
    // What the system's resolver would believe.
    lab.primary().append("/etc/hosts", format!("192.0.2.77 {NAME}\n"));
    auth().ok().silent();

    // A node that DNS leaves out is in the log only.
    lab.dns().set(NAME, &of(&["web1", "web2"]));
    auth().ok().silent();
    assert!(
        lab.primary().text("/var/log/certcast.log").contains("DNS lists none of web3's addresses for www.site.test")
    );

    let mut records = of(&["web1", "web2", "web3"]);
    records.push("192.0.2.99".parse().unwrap());
    lab.dns().set(NAME, &records);
    let line = lines(&auth().exits(1), 1).remove(0);
    assert!(line.contains("DNS lists 192.0.2.99 for www.site.test, which is no node: the CA may ask it"), "{line}");
    lab.primary().set("challenge.check_dns", false);
    auth().ok().silent();
    lab.primary().set("challenge.check_dns", true);

    lab.dns().set(NAME, &[]);
    let line = lines(&auth().exits(1), 1).remove(0);
    assert!(line.contains("DNS knows no www.site.test"), "{line}");
}

#[test]
fn a_redirect_leads_to_no_stranger_although_the_nodes_know_that_host_too() {
    let lab = three_servers(&["site.test"]);
    let redirect = format!(
        "server {{ listen 80; listen [::]:80; server_name site.test; return 301 http://{NAME}$request_uri; }}\n"
    );
    for host in lab.hosts() {
        host.write(CONF, &redirect);
        host.reload_nginx();
    }
    let auth = || lab.primary().hooks().auth(&["site.test"]).run();
    lab.point_both(NAME, &["web1", "web2"]);
    auth().ok().silent();
    lab.dns().set(NAME, &["192.0.2.99".parse().unwrap()]);
    let line = lines(&auth().exits(1), 1).remove(0);
    let said = "the challenge for site.test is redirected to www.site.test, which DNS lists at 192.0.2.99, where no node gets it";
    assert!(line.contains(said), "{line}");
    lab.dns().set(NAME, &[]);
    let line = lines(&auth().exits(1), 1).remove(0);
    assert!(line.contains("is redirected elsewhere: DNS knows no www.site.test"), "{line}");
}

#[test]
fn a_front_is_no_stranger_and_must_serve_the_challenge_too() {
    let lab = Lab::raise().hosts(3).up();
    // web3 is the front: a proxy before web1 and web2, and no node.
    let config: toml::Table = lab.primary().configuration().parse().unwrap();
    lab.primary().set("peer", toml::Value::Array(vec![config["peer"][0].clone()]));
    lab.point_both(NAME, &["web3"]);
    let front = &lab["web3"];
    let behind = "upstream nodes { server 192.0.2.1; server 192.0.2.2; }\n";
    let proxy = |more: &str| {
        let server = format!(
            "server {{ listen 80; listen [::]:80; server_name {NAME}; location / {{ proxy_pass http://nodes; {more} }} }}\n"
        );
        front.write(CONF, format!("{behind}{server}"));
        front.reload_nginx();
    };
    proxy("");
    let auth = || lab.primary().hooks().auth(&[NAME]).run();
    assert!(lines(&auth().exits(1), 2)[0].contains("192.0.2.3"));
    lab.primary().set("challenge.fronts", vec!["192.0.2.3", "2001:db8::3"]);
    auth().ok().silent();

    // One of the servers behind it is not ours and answers 404. Luck may hide it from the questions to one of the
    // front's addresses, not from all: they take turns.
    front.write(CONF, front.text(CONF).replace("server 192.0.2.2;", "server 192.0.2.2; server 127.0.0.1:81;"));
    front.append(CONF, "server { listen 127.0.0.1:81; return 404; }\n");
    front.reload_nginx();
    let line = lines(&auth().exits(1), 1).remove(0);
    assert!(line.contains("the front ") && line.contains(" answers 404"), "{line}");
    // Where DNS is not to be compared, it does not say either that nobody comes by the front.
    lab.point_both(NAME, &["web1", "web2"]);
    auth().ok().silent();
    lab.primary().set("challenge.check_dns", false);
    auth().exits(1).says("the front ");
}

#[test]
fn a_peer_that_no_name_leads_to_is_neither_asked_nor_compared_with_dns() {
    let (web, mail) = (NAME, "mail.site.test");
    let lab = three_servers(&[]);
    lab.point_both(web, &["web1", "web2"]);
    lab.point_both(mail, &["web1", "web3"]);
    for (peer, names) in [(0, "www.*"), (1, "mail.*")] {
        lab.primary().set(&format!("peer.{peer}.challenges"), vec![names]);
    }
    // web3 has no webroot for other names' challenges, nor does it answer for them.
    let run = lab.primary().hooks().auth(&[web, mail]).run();
    run.ok().silent();
    assert_eq!(lab["web1"].tokens().len(), 2);
    for (host, name) in [("web2", web), ("web3", mail)] {
        let tokens = lab[host].tokens();
        assert_eq!(tokens, [token(name)], "{host}");
    }
    let said = lab.primary().run(["certcast", "rehearse", web, mail]).ok().stdout();
    assert_eq!(said.lines().filter(|line| line.ends_with(&format!("serves {mail}"))).count(), 2, "{said}");
    lab.primary().hooks().auth(&[web, mail]).cleanup(&[web, mail]).run().ok();
    everything_is_gone(&lab);

    // One that gets none is left alone, also while it is off; but DNS must not name it.
    lab.primary().set("peer.1.challenges", Vec::<String>::new());
    lab["web3"].unplug();
    lab.primary().hooks().auth(&[web]).run().ok().silent();
    let line = lines(&lab.primary().hooks().auth(&[mail]).run().exits(1), 2).remove(0);
    assert!(line.contains(" for mail.site.test, and web3 gets no challenge for it: "), "{line}");
}

#[test]
fn a_peer_known_by_the_name_of_its_sshd_is_proven_where_dns_has_that_name() {
    let lab = Lab::raise().hosts(2).up();
    lab.point_both(NAME, &["web1", "web2"]);
    let primary = lab.primary();
    let mut config: toml::Table = primary.configuration().parse().unwrap();
    let peer = config["peer"][0].as_table_mut().unwrap();
    peer.remove("addresses");
    peer.insert("ssh".into(), "root@web2.site.test".into());
    primary.configure(&config.to_string());
    primary.write("/etc/certcast/known_hosts", format!("web2.site.test {}\n", lab["web2"].host_key()));
    primary.append("/etc/hosts", "192.0.2.2 web2.site.test\n");
    let auth = || primary.hooks().auth(&[NAME]).run();
    assert!(auth().exits(1).stderr().contains("web2: where the public reaches it is not known"));
    lab.point_both("web2.site.test", &["web2"]);
    auth().ok().silent();
    lab["web2"].stop_nginx();
    let line = lines(&auth().exits(1), 1).remove(0);
    assert!(line.contains("web2 (192.0.2.2 and 2001:db8::2) refuses the connection"), "{line}");
}

#[test]
fn a_name_with_a_webroot_of_its_own_is_published_proven_and_removed_there() {
    let shop = "shop.test";
    let lab = three_servers(&[NAME, shop]);
    let peer = &lab["web2"];
    peer.mkdir("/srv/shop");
    peer.write(CONF, format!("server {{ listen 80; listen [::]:80; server_name {shop}; root /srv/shop; }}\n"));
    peer.reload_nginx();
    let line = lines(&lab.primary().hooks().auth(&[NAME, shop]).run().exits(1), 1).remove(0);
    assert!(line.contains("web2 (") && line.contains(" answers 404 for http://shop.test/"), "{line}");

    let own = "[node]\nwebroots = { \"shop.test\" = \"/srv/shop\" }\n";
    peer.configure(&peer.configuration().replacen("[node]\n", own, 1));
    let run = lab.primary().hooks().auth(&[NAME, shop]);
    let run = run.then("touch /published; while [ ! -e /go ]; do sleep 0.02; done");
    let run = run.cleanup(&[NAME, shop]).command().spawn();
    until("everything is published", || lab.primary().exists("/published"));
    let there = || peer.list("/srv/shop/.well-known/acme-challenge");
    assert_eq!((there(), peer.tokens()), (vec![token(shop)], vec![token(NAME)]));
    lab.primary().write("/go", "");
    run.wait().ok().silent();
    assert!(there().is_empty());
    everything_is_gone(&lab);
}
