use std::path::Path;
use std::time::Duration;

use super::*;
use crate::model::config::Config;

const INSTALLED: &[u8] = b"installed";

fn service(name: &str, probe: &[&str]) -> Service {
    let command = vec!["true".to_owned()];
    Service {
        name: name.into(),
        test: command.clone(),
        reload: command,
        probe: probe.iter().map(|target| target.parse().unwrap()).collect(),
        joined: None,
        timeout: Duration::from_secs(1),
    }
}

fn leaf(text: &[u8]) -> Shown {
    Shown::Leaf(Digest::of(text))
}

fn current() -> Shown {
    leaf(INSTALLED)
}

fn other() -> Shown {
    leaf(b"other")
}

/// For which name, at which address, and what is shown there.
type Place<'p> = (&'p str, &'p str, Shown);

/// What services show, each with its places.
fn served(services: &[(&Service, &[Place<'_>])]) -> Served {
    let place = |(name, address, shown): &Place<'_>| {
        (Expectation { address: address.parse().unwrap(), name: name.parse().unwrap() }, shown.clone())
    };
    let seen = services.iter().map(|(service, places)| Seen { service, places: places.iter().map(place).collect() });
    let seen: Vec<_> = seen.collect();
    counted(&seen, Digest::of(INSTALLED), &[Digest::of(INSTALLED), Digest::of(b"older")])
}

const FIRST: &str = "192.0.2.1:443";
const SECOND: &str = "192.0.2.2:443";
const NAME: &str = "a.example";

#[test]
fn a_certificate_that_nothing_shows_is_missed() {
    let nginx = service("nginx", &["443"]);
    let missed = |shown: Shown| served(&[(&nginx, &[(NAME, FIRST, shown)])]).missed;
    assert_eq!(missed(other()).unwrap(), "nginx for a.example at 192.0.2.1:443 shows another certificate");
    let none = Shown::NoCertificate("alert".into());
    assert_eq!(missed(none).unwrap(), "nginx for a.example at 192.0.2.1:443 shows no certificate");
    assert_eq!(missed(current()), None);
    // An older one has a word of its own.
    assert_eq!(missed(leaf(b"older")), None);
    let silent = served(&[(&nginx, &[])]);
    let all = [(NAME, FIRST, Shown::NoListener), (NAME, SECOND, Shown::NoCertificate("alert".into()))];
    assert_eq!(served(&[(&nginx, &all), (&nginx, &[])]).none, 3, "each place, and a service without any");
    assert_eq!((silent.none, silent.missed.unwrap()), (1, "nothing listens for nginx".to_owned()));
}

#[test]
fn a_certificate_that_one_address_of_several_does_not_show_is_missed_there() {
    let nginx = service("nginx", &["443"]);
    let both = served(&[(&nginx, &[(NAME, FIRST, current()), (NAME, SECOND, other())])]);
    assert_eq!((both.current, both.other), (1, 1));
    assert_eq!(both.missed.unwrap(), "nginx for a.example at 192.0.2.2:443 shows another certificate");
    let inside = served(&[(&nginx, &[(NAME, FIRST, current()), (NAME, "127.0.0.1:443", other())])]);
    assert_eq!(inside.missed, None, "no visitor comes to the loopback interface");
}

#[test]
fn what_has_nothing_to_do_with_a_lineage_is_no_alarm() {
    let (nginx, dovecot) = (service("nginx", &["443"]), service("dovecot", &["993"]));
    let unprobed = service("postfix", &[]);
    assert_eq!(served(&[]), Served::default());
    assert_eq!(served(&[(&unprobed, &[])]), Served::default());
    let mail = served(&[(&nginx, &[(NAME, FIRST, other())]), (&dovecot, &[(NAME, "192.0.2.1:993", current())])]);
    assert_eq!((mail.other, mail.missed), (1, None), "another service shows it");
    let second_name = served(&[(&nginx, &[(NAME, FIRST, current()), ("b.example", FIRST, other())])]);
    assert_eq!(second_name.missed, None, "a name that is not hosted there");
    let unseen = served(&[(&nginx, &[(NAME, FIRST, other())]), (&unprobed, &[])]);
    assert_eq!(unseen.missed, None, "a service that is not probed may use it");
    let wildcard = served(&[(&nginx, &[("*.a.example", FIRST, other())])]);
    assert_eq!(wildcard.missed, None, "the name that was asked for is made up");
}

#[test]
fn what_was_not_asked_is_counted_and_neither_shown_nor_missed() {
    let nginx = service("nginx", &["443"]);
    let cut = served(&[(&nginx, &[(NAME, FIRST, other()), (NAME, SECOND, Shown::NotAsked)])]);
    assert_eq!((cut.unasked, cut.other, cut.missed), (1, 1, None));
    let seen = served(&[(&nginx, &[(NAME, FIRST, current()), (NAME, SECOND, Shown::NotAsked)])]);
    assert_eq!((seen.unasked, seen.current, seen.missed), (1, 1, None));
}

/// A node with nothing in it, and its certbot directory.
fn node(home: &Path) -> Node {
    let text = format!("[node]\nname = \"web2\"\nletsencrypt = {home:?}\nstate = {home:?}\n");
    Node::open(Config::parse(&text, Path::new("test.toml")).unwrap(), false).unwrap()
}

#[test]
fn a_version_that_was_pruned_is_known_for_an_older_one() {
    let home = tempfile::tempdir().unwrap();
    let (node, lineage) = (node(home.path()), "www.site.test".parse().unwrap());
    brought::note(node.state(), &lineage, [Digest::of(b"pruned"), Digest::of(INSTALLED)]).unwrap();
    let versions = versions(&node, &lineage).unwrap();
    let (nginx, dovecot) = (service("nginx", &["443"]), service("dovecot", &["993"]));
    let at = |place: &str| Expectation { address: place.parse().unwrap(), name: NAME.parse().unwrap() };
    let seen = [
        Seen { service: &nginx, places: vec![(at(FIRST), current())] },
        Seen { service: &dovecot, places: vec![(at("192.0.2.1:993"), leaf(b"pruned"))] },
    ];
    let served = counted(&seen, Digest::of(INSTALLED), &versions);
    assert_eq!((served.current, served.older, served.other), (1, 1, 0));
    assert_eq!(served.example.unwrap(), "dovecot for a.example at 192.0.2.1:993");
}

#[test]
fn a_node_whose_archive_cannot_be_read_is_not_well() {
    let home = tempfile::tempdir().unwrap();
    let (node, lineage) = (node(home.path()), "www.site.test".parse().unwrap());
    let archive = home.path().join("archive/www.site.test");
    std::fs::create_dir_all(&archive).unwrap();
    let presence = || of(&node, &lineage, Deadline::after(Duration::from_secs(5))).presence;
    assert_eq!(presence(), Presence::Here { version: None });
    std::fs::write(archive.join("cert1.pem"), "").unwrap();
    assert_eq!(presence(), Presence::Here { version: None }, "damage is another thing");
    std::os::unix::fs::symlink("cert2.pem", archive.join("cert2.pem")).unwrap();
    let Presence::Unknown { cause } = presence() else { panic!("{:?}", presence()) };
    assert!(cause.contains("archive/www.site.test/cert2.pem"), "{cause}");
}
