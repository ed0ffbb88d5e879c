//! What a real certbot and a real CA do with certcast's hooks beside the main story.

use crate::lab::{Certbot, Finished, Host, Lab, until};
use crate::story::{HOOKS, domains, no_token_is_left};

const NAME: &str = "www.site.test";
pub const RENEW: [&str; 3] = ["renew", "--force-renewal", "--no-random-sleep-on-renew"];

fn three_servers_and_a_ca(names: &[&str]) -> Lab {
    three_servers(Lab::raise().hosts(3).with_ca().up(), names)
}

fn three_servers(lab: Lab, names: &[&str]) -> Lab {
    let addresses: Vec<_> = lab.hosts().iter().flat_map(Host::addresses).collect();
    lab.dns().set_all(names, &addresses);
    lab
}

pub fn certonly(lab: &Lab, which: Certbot, names: &[&str]) -> Finished {
    lab.primary().certbot(which).args(HOOKS).args(domains(names)).run()
}

/// How often the CA asked this host for a challenge.
fn visits(lab: &Lab, host: &Host) -> usize {
    let ca = lab.ca().host();
    let log = host.text("/var/log/nginx/access.log");
    log.lines().filter(|line| ca.addresses().iter().any(|ip| line.starts_with(&format!("{ip} ")))).count()
}

fn a_wrong_server_stops_certbot_before_the_ca_is_asked(which: Certbot) {
    let lab = three_servers_and_a_ca(&[NAME, "other.test"]);
    lab["web2"].set("node.webroot", "/srv");
    lab.primary().set("challenge.abort_certbot", true);
    let names = domains(&[NAME, "other.test"]);
    let run = lab.primary().certbot(which).args(HOOKS).args(names).piped().run().fails();
    run.clone().says("certcast: web2 (192.0.2.2 and 2001:db8::2) answers 404 for http://");
    run.clone().says("certcast: certbot is stopped before the CA is asked");
    assert_eq!(lab.ca().validations(), 0, "{run}");
    assert!(lab.hosts().iter().all(|host| visits(&lab, host) == 0));
    no_token_is_left(&lab);
    assert!(lab["web2"].list("/srv/.well-known/acme-challenge").is_empty());
    assert!(!lab.primary().exists("/etc/letsencrypt/live"));
    until("no hook is left", || lab.primary().processes("certcast").is_empty());
}

#[test]
fn a_wrong_server_stops_debians_certbot_before_the_ca_is_asked() {
    a_wrong_server_stops_certbot_before_the_ca_is_asked(Certbot::Debian);
}

#[test]
fn a_wrong_server_stops_pypis_certbot_before_the_ca_is_asked() {
    a_wrong_server_stops_certbot_before_the_ca_is_asked(Certbot::Pypi);
}

#[test]
fn without_the_wish_to_stop_certbot_a_wrong_server_is_loud() {
    for which in [Certbot::Debian, Certbot::Pypi] {
        let lab = three_servers_and_a_ca(&[NAME]);
        lab["web2"].set("node.webroot", "/srv");
        let run = certonly(&lab, which, &[NAME]);
        let said = run.stderr();
        assert!(
            said.contains("certcast: web2 (192.0.2.2 and 2001:db8::2) answers 404 for http://www.site.test/"),
            "{run}"
        );
        assert!(lab.ca().validations() > 0);
        no_token_is_left(&lab);
    }
}

#[test]
fn authorizations_that_the_ca_reuses_need_no_challenge_and_the_certificate_is_deployed() {
    for which in [Certbot::Debian, Certbot::Pypi] {
        let lab = three_servers(Lab::raise().hosts(3).with_ca_that_reuses().up(), &[NAME]);
        certonly(&lab, which, &[NAME]).ok();
        let (first, validations) = (lab["web3"].installed_leaf(NAME), lab.ca().validations());
        assert!(validations > 0);
        let logins = lab["web3"].logins();
        lab.primary().certbot(which).args(RENEW).run().ok();
        assert_eq!(lab.ca().validations(), validations);
        assert_eq!(lab["web3"].logins(), logins + 1, "for deploy, and nothing else");
        assert_ne!(lab["web3"].installed_leaf(NAME), first);
        assert_eq!(lab["web3"].installed_leaf(NAME), lab.primary().installed_leaf(NAME));
    }
}

#[test]
fn two_lineages_in_one_run_of_certbot_are_two_rounds() {
    let both = [NAME, "other.test"];
    for which in [Certbot::Debian, Certbot::Pypi] {
        let lab = three_servers_and_a_ca(&both);
        for name in both {
            certonly(&lab, which, &[name]).ok();
        }
        // Told to reuse none, this CA reuses one of a hundred authorizations all the same: then certbot calls no auth for it.
        let (logins, validations) = (lab["web2"].logins(), lab.ca().validations());
        let of_one = validations / both.len();
        let said = lab.primary().certbot(which).args(RENEW).run().ok();
        assert!(!format!("{said}").contains("reported error"), "{said}");
        for name in both {
            assert_eq!(lab["web2"].installed_leaf(name), lab.primary().installed_leaf(name));
            assert!(lab["web2"].exists(&format!("/etc/letsencrypt/archive/{name}/cert2.pem")));
        }
        let validated = (lab.ca().validations() - validations) / of_one;
        let expected = logins + both.len() + 2 * validated;
        assert_eq!(lab["web2"].logins(), expected, "deploy twice, auth and cleanup {validated} times: {said}");
        no_token_is_left(&lab);
    }
}

#[test]
fn certificates_that_renew_in_one_run_cost_one_reload_where_resync_is_the_post_hook() {
    let both = [NAME, "other.test"];
    let hooks = HOOKS.map(|word| match word {
        "--deploy-hook" => "--post-hook",
        "certcast deploy" => "certcast resync",
        other => other,
    });
    assert_ne!(hooks, HOOKS);
    for which in [Certbot::Debian, Certbot::Pypi] {
        let lab = three_servers_and_a_ca(&both);
        for name in both {
            lab.primary().certbot(which).args(hooks).args(domains(&[name])).run().ok();
            for host in lab.hosts() {
                host.serve(name, &[name]);
            }
        }
        let reloads = || lab.hosts().iter().map(Host::nginx_reloads).collect::<Vec<_>>();
        let (before, first) = (reloads(), lab["web3"].installed_leaf(NAME));
        let said = lab.primary().certbot(which).args(RENEW).run().ok();
        assert_eq!(reloads(), before.iter().map(|count| count + 1).collect::<Vec<_>>(), "{said}");
        assert_ne!(lab.primary().installed_leaf(NAME), first);
        for (host, name) in lab.hosts().iter().flat_map(|host| both.map(|name| (host, name))) {
            let renewed = lab.primary().installed_leaf(name);
            assert_eq!(host.installed_leaf(name), renewed);
            assert_eq!(lab.served_leaf(host.v4(), name), renewed);
        }
        no_token_is_left(&lab);
        // What certbot's own configuration names is called in their place, and doctor says so beforehand.
        let another = "a post-hook that does not call 'certcast resync', and it wins over every certificate's own";
        let doctor = || lab.primary().run(["certcast", "doctor"]).stdout().matches(another).count();
        assert_eq!(doctor(), 0);
        lab.primary().write("/etc/letsencrypt/cli.ini", "post-hook: touch /root/called\n");
        assert_eq!(doctor(), 1);
        lab.primary().certbot(which).args(RENEW).run().ok();
        assert!(lab.primary().exists("/root/called"));
        for name in both {
            assert_ne!(lab["web2"].installed_leaf(name), lab.primary().installed_leaf(name));
        }
    }
}

#[test]
fn a_dry_run_of_certbot_changes_no_server_and_leaves_nothing() {
    for which in [Certbot::Debian, Certbot::Pypi] {
        let lab = three_servers_and_a_ca(&[NAME]);
        certonly(&lab, which, &[NAME]).ok();
        let trees = || lab.hosts().iter().map(|host| host.tree("/etc/letsencrypt/live")).collect::<Vec<_>>();
        let (before, validations) = (trees(), lab.ca().validations());
        lab.primary().certbot(which).args(["renew", "--dry-run", "--no-random-sleep-on-renew"]).run().ok();
        assert!(lab.ca().validations() > validations);
        assert_eq!(trees(), before);
        no_token_is_left(&lab);
        if which == Certbot::Pypi {
            // Deploys what is there already.
            let reloads = lab["web2"].nginx_reloads();
            let run = ["renew", "--dry-run", "--run-deploy-hooks", "--no-random-sleep-on-renew"];
            lab.primary().certbot(which).args(run).run().ok();
            assert_eq!((trees(), lab["web2"].nginx_reloads()), (before, reloads));
        }
    }
}

/// A name whose validation fails is left out, and so it is one that the peers serve.
#[test]
fn a_name_that_certbot_left_out_is_said_or_refused_as_is_wished() {
    for which in [Certbot::Debian, Certbot::Pypi] {
        let lab = three_servers_and_a_ca(&[NAME, "other.test"]);
        certonly(&lab, which, &[NAME, "other.test"]).ok();
        let first = lab["web2"].installed_leaf(NAME);
        lab.dns().set("other.test", &["192.0.2.200".parse().unwrap()]);
        let with_what_validates = || {
            let subset = ["--cert-name", NAME, "--force-renewal", "--allow-subset-of-names", "--domain", NAME];
            lab.primary().certbot(which).args(HOOKS).args(subset).args(["--domain", "other.test"]).run().ok()
        };
        lab.primary().set("deploy.missing_names", "refuse");
        with_what_validates().says("web2  www.site.test  refused at check").says("no longer for other.test");
        assert_eq!(lab["web2"].installed_leaf(NAME), first);
        lab.primary().set("deploy.missing_names", "warn");
        let note = "applied (the new certificate is no longer for other.test";
        lab.resync(&[]).exits(0).says(&format!("web2  {NAME}  {note}"));
        assert_eq!(lab["web2"].installed_leaf(NAME), lab.primary().installed_leaf(NAME));
    }
}

/// Beside a name: this pebble repeats a lone address as the common name, on which certbot then stumbles before it
/// deploys.
#[test]
fn an_address_in_a_certificate_is_validated_at_that_address_only() {
    let lab = three_servers_and_a_ca(&[NAME]);
    let names = ["--domain", NAME, "--ip-address", "192.0.2.2"];
    lab.primary().certbot(Certbot::Pypi).args(HOOKS).args(names).run().ok();
    let leaf = format!("/etc/letsencrypt/live/{NAME}/cert.pem");
    for host in lab.hosts() {
        assert_eq!(host.installed_leaf(NAME), lab.primary().installed_leaf(NAME));
        host.run(["openssl", "x509", "-in", &leaf, "-noout", "-text"]).ok().says("IP Address:192.0.2.2");
    }
    // The name is asked for everywhere; the address only where it is.
    let asked = |host: &Host| host.text("/var/log/nginx/access.log").matches("\"certcast\"").count();
    let of_the_name = lab["web1"].addresses().len();
    assert_eq!(asked(&lab["web1"]), of_the_name);
    assert_eq!(asked(&lab["web2"]), of_the_name + 1);
    no_token_is_left(&lab);
}

#[test]
fn an_internationalized_name_is_validated_and_deployed_in_its_a_label_form() {
    let name = "xn--bcher-kva.site.test";
    let lab = three_servers_and_a_ca(&[name]);
    certonly(&lab, Certbot::Debian, &[name]).ok();
    let leaf = format!("/etc/letsencrypt/live/{name}/cert.pem");
    for host in lab.hosts() {
        host.run(["openssl", "x509", "-in", &leaf, "-noout", "-text"]).ok().says(&format!("DNS:{name}"));
        assert_eq!(host.installed_leaf(name), lab.primary().installed_leaf(name));
    }
    no_token_is_left(&lab);
}

#[test]
fn a_certbot_killed_in_auth_leaves_what_the_next_one_removes() {
    let lab = three_servers_and_a_ca(&[NAME]);
    let line = "kill -KILL $(cat /proc/$$/status | sed -n \"s/^PPid:.//p\")";
    let hook = format!("certcast auth; {line}");
    let mut arguments = HOOKS;
    arguments[5] = &hook;
    lab.primary().certbot(Certbot::Debian).args(arguments).args(domains(&[NAME])).run().fails();
    assert!(lab.hosts().iter().all(|host| host.tokens().len() == 1));
    certonly(&lab, Certbot::Debian, &[NAME]).ok();
    no_token_is_left(&lab);
}
