//! `rehearse`: what certbot would find, found without it.

use nix::sys::signal::Signal;

use crate::challenges::{everything_is_gone, three_servers};
use crate::lab::{CHALLENGES, Grant, Lab, until};

const NAME: &str = "www.site.test";

fn nothing_is_left(lab: &Lab) {
    everything_is_gone(lab);
    assert_eq!(lab.primary().list("/var/lib/certcast/runs"), Vec::<String>::new());
    for host in lab.hosts() {
        assert_eq!(lab.primary().list(&format!("/var/lib/certcast/owed/{}", host.name())), Vec::<String>::new());
    }
}

#[test]
fn every_address_is_named_that_serves_the_names_and_nothing_stays() {
    let lab = three_servers(&[NAME, "site.test"]);
    let said = lab.primary().run(["certcast", "rehearse", NAME, "site.test"]).exits(0);
    let mut lines: Vec<_> = said.stdout().lines().map(str::to_owned).collect();
    lines.sort();
    let line = |host: &crate::lab::Host, ip| format!("{} ({ip})  serves {NAME} and site.test", host.name());
    let all: Vec<_> = lab.hosts().iter().flat_map(|host| host.addresses().map(|ip| line(host, ip))).collect();
    assert_eq!((lines, said.stderr()), (all, String::new()));
    nothing_is_left(&lab);
}

#[test]
fn an_address_is_asked_of_the_server_that_has_it_and_of_no_other() {
    let lab = three_servers(&[NAME]);
    let said = lab.primary().run(["certcast", "rehearse", NAME, "192.0.2.2"]).exits(0);
    let lines: Vec<_> = said.stdout().lines().map(str::to_owned).collect();
    let its = |line: &&String| line.ends_with(" and 192.0.2.2");
    assert_eq!(
        lines.iter().filter(its).collect::<Vec<_>>(),
        [&format!("web2 (192.0.2.2)  serves {NAME} and 192.0.2.2")]
    );
    assert_eq!((lines.len(), said.stderr()), (6, String::new()));
    nothing_is_left(&lab);
}

#[test]
fn what_is_wrong_is_said_as_auth_says_it_and_nothing_stays() {
    let lab = three_servers(&[NAME]);
    lab["web2"].set("node.webroot", "/srv");
    lab["web3"].unplug();
    lab.primary().set("challenge.budget", "15s");
    let rehearse = || lab.primary().run(["certcast", "rehearse", NAME]).exits(1);
    let said = rehearse();
    assert!(said.stderr().contains("web2 (192.0.2.2 and 2001:db8::2) answers 404 for http://www.site.test/"), "{said}");
    assert!(said.stderr().contains("web3: 192.0.2.3: no answer in time while connecting"), "{said}");
    assert_eq!(said.stdout(), "");
    everything_is_gone(&lab);
    lab["web3"].plug();
    lab["web2"].set("node.webroot", "/var/www/html");

    // Where only those that are reached are required, the other one is told all the same.
    lab.primary().set("challenge.require", "reachable");
    lab["web3"].unplug();
    let said = lab.primary().run(["certcast", "rehearse", NAME]).exits(0);
    assert!(
        said.stderr().contains("web3: 192.0.2.3: no answer in time while connecting")
            && said.stdout().contains("web2 ("),
        "{said}"
    );
    lab["web3"].plug();
    lab.resync(&[]).exits(0);
    nothing_is_left(&lab);

    lab.primary().run(["certcast", "rehearse", "*.site.test"]).exits(2).says("leave it out");
    lab.primary().run(["certcast", "rehearse"]).exits(2);
}

#[test]
fn a_killed_rehearsal_is_cleaned_up_after_by_resync() {
    let lab = three_servers(&[NAME]);
    // A failing server is waited for, so the rehearsal does not end by itself.
    let slow = format!("server {{ listen 80; listen [::]:80; server_name {NAME}; return 503; }}\n");
    lab["web2"].write("/etc/nginx/conf.d/site.conf", slow);
    lab["web2"].reload_nginx();
    let rehearsal = lab.primary().spawn(["certcast", "rehearse", NAME]);
    until("the challenge is on every server", || lab.hosts().iter().all(|host| !host.tokens().is_empty()));
    rehearsal.signal(Signal::SIGKILL);
    assert_eq!(rehearsal.wait().code(), None);
    // What that one got, it got before its challenges were narrowed.
    lab.primary().set("peer.1.challenges", Vec::<String>::new());
    lab.resync(&[]).exits(0);
    nothing_is_left(&lab);
}

#[test]
fn where_keys_are_for_certbots_account_only_it_is_for_that_one() {
    let lab = three_servers(&[NAME]);
    let key = r#"{"crv":"P-256","kty":"EC","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
    let print = format!("printf %s '{key}' | openssl dgst -sha256 -binary | basenc --base64url | tr -d =");
    let account = lab.primary().run(["sh", "-c", &print]).ok().stdout();
    let account = account.trim();
    let command = format!("/usr/local/bin/certcast receive --role challenge --account {account}");
    for peer in lab.peers() {
        peer.authorize_only(&lab.identity(), Grant::Forced(&command));
    }
    let rehearse = |more: &[&str]| {
        let words = ["certcast", "rehearse", NAME].iter().chain(more);
        lab.primary().run(words.copied().collect::<Vec<&str>>())
    };
    rehearse(&[]).exits(1).says("this key is not for challenges of the ACME account");
    rehearse(&["--account", account]).exits(0);
    let directory = "/etc/letsencrypt/accounts/ca.test/dir/0123";
    lab.primary().mkdir(directory);
    lab.primary().write(&format!("{directory}/private_key.json"), key);
    rehearse(&[]).exits(0);
    nothing_is_left(&lab);
    assert!(lab.primary().exists(CHALLENGES));
}
