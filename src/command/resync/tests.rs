use super::*;

const CONFIG: &str = r#"
[node]
name = "web1"

[deploy]
lineages = ["www.*", "short"]
rename = { "www.site.test-0001" = "www.site.test" }

[[peer]]
name = "web2"
ssh = "root@192.0.2.2"

[[peer]]
name = "web3"
ssh = "root@192.0.2.3"
lineages = ["short"]

[[alert]]
to = "exec"
argv = ["true"]
"#;

/// Of these kind, node and lineage, seen so many hours ago, with certbot's lineages being these.
fn gone(kind: Kind, node: &str, lineage: &str, hours: i64, present: &[&str]) -> bool {
    let certbot = tempfile::tempdir().unwrap();
    for name in present {
        std::fs::create_dir_all(certbot.path().join("live").join(name)).unwrap();
    }
    let config = Config::parse(CONFIG, Path::new("config.toml")).unwrap();
    let fleet = Fleet::of(&config, Path::new("config.toml")).unwrap();
    let wishes = Wishes { force: false, adopt: false, dry_run: false };
    let manner = Manner { wishes, is_fresh: false };
    let courier = Courier { config: &config, letsencrypt: certbot.path(), fleet: &fleet, manner };
    let present: Vec<_> = present.iter().map(|name| name.parse().unwrap()).collect();
    let subject = Subject { kind, node: node.parse().unwrap(), lineage: lineage.to_owned() };
    let seen = Timestamp::now() - SignedDuration::from_hours(hours);
    is_gone(&courier, &present, &subject, seen, |name| name == "named.site.test")
}

#[test]
fn a_delivery_is_gone_with_its_node_its_lineage_or_what_the_node_wants() {
    let gone = |node, lineage, present: &[&str]| gone(Kind::Delivery, node, lineage, 0, present);
    let all = ["www.site.test", "short", "other"];
    assert!(["web1", "web2"].iter().all(|node| !gone(node, "www.site.test", &all) && !gone(node, "short", &all)));
    assert!(gone("web9", "short", &all), "no such node");
    assert!(gone("web2", "www.elsewhere.test", &all), "certbot has it no more");
    assert!(gone("web1", "other", &all), "deploy.lineages leaves it out");
    assert!(!gone("web3", "short", &all) && gone("web3", "www.site.test", &all), "its own lineages leave it out");
}

#[test]
fn a_delivery_is_gone_with_another_lineage_that_takes_its_name_on_the_peers() {
    let both = ["www.site.test", "www.site.test-0001"];
    assert!(gone(Kind::Delivery, "web2", "www.site.test", 0, &both));
    assert!(!gone(Kind::Delivery, "web1", "www.site.test", 0, &both), "the own services still get it");
    assert!(!gone(Kind::Delivery, "web2", "www.site.test-0001", 0, &both));
}

#[test]
fn what_is_of_this_node_is_gone_with_its_former_name() {
    let route = "alert 1 (exec)";
    for (kind, of) in [(Kind::Lineage, "short"), (Kind::Expiry, "short"), (Kind::Route, route), (Kind::Challenge, "a")]
    {
        assert!(!gone(kind, "web1", of, 0, &["short"]), "{kind:?}");
        assert!(gone(kind, "web0", of, 0, &["short"]), "{kind:?}");
    }
    assert!(gone(Kind::Lineage, "web1", "short", 0, &[]) && gone(Kind::Expiry, "web1", "other", 0, &["other"]));
    assert!(gone(Kind::Route, "web1", "alert 2 (exec)", 0, &[]));
}

#[test]
fn a_challenge_is_gone_when_certbot_has_not_tried_it_for_two_days() {
    assert!(!gone(Kind::Challenge, "web1", "www.site.test", 47, &[]));
    assert!(gone(Kind::Challenge, "web1", "www.site.test", 49, &[]));
    assert!(!gone(Kind::Challenge, "web1", "named.site.test", 49, &[]), "a certificate has that name");
}
