//! Rollouts that meet trouble: what fails stays as it was, the others get the new certificate, and it is said.

use crate::lab::{Bundle, Lab, Running};

const NAME: &str = "www.site.test";

/// A rollout of version 2, and what each host had before.
fn before(lab: &Lab) -> Vec<Vec<crate::lab::Entry>> {
    lab.hosts().iter().map(crate::lab::Host::certificates).collect()
}

fn everybody_has(lab: &Lab, bundle: &Bundle) {
    for host in lab.hosts() {
        assert_eq!(host.installed_leaf(NAME), Some(bundle.fingerprint()), "{}", host.name());
        host.serves(lab, NAME, bundle);
    }
}

#[test]
fn a_peer_whose_nginx_is_broken_keeps_its_certificate_and_resync_finishes_it_once_mended() {
    let (lab, old) = Lab::serving(3, NAME);
    let trees = before(&lab);
    lab["web2"].break_nginx();
    let new = lab.issue(NAME, 2, &[NAME]);
    let said = lab.deploy(NAME).exits(3);
    let said = said.stderr();
    for word in ["web2", "baseline", "no_such_directive"] {
        assert!(said.contains(word), "{word} is not in: {said}");
    }
    assert!(!said.contains("web3"), "{said}");
    assert_eq!(lab["web2"].certificates(), trees[1]);
    lab["web2"].serves(&lab, NAME, &old);
    lab["web1"].serves(&lab, NAME, &new);
    lab["web3"].serves(&lab, NAME, &new);

    lab["web2"].mend_nginx();
    lab.resync(&[]).exits(0);
    everybody_has(&lab, &new);
}

#[test]
fn a_certificate_that_the_configuration_rejects_is_refused_before_anything_shows() {
    let (lab, old) = Lab::serving(3, NAME);
    // Its vhost has a key of its own: whatever is new does not match it.
    let peer = &lab["web3"];
    peer.write("/etc/nginx/own.key", &old.privkey);
    let site = "/etc/nginx/conf.d/www.site.test.conf";
    let pinned = peer.text(site).replace("/etc/letsencrypt/live/www.site.test/privkey.pem", "/etc/nginx/own.key");
    peer.write(site, pinned);
    peer.reload_nginx();
    let (tree, reloads) = (peer.certificates(), peer.nginx_reloads());
    let watcher = watch_live(&lab);

    let new = lab.issue(NAME, 2, &[NAME]);
    let said = lab.deploy(NAME).exits(3).stderr();
    assert!(said.contains("web3") && said.contains("pre-flight") && said.contains("key values mismatch"), "{said}");
    assert_eq!(peer.certificates(), tree);
    assert_eq!(peer.nginx_reloads(), reloads);
    peer.serves(&lab, NAME, &old);
    lab["web2"].serves(&lab, NAME, &new);
    peer.write("/tmp/stop", "");
    let seen = watcher.wait().ok().stdout();
    assert_eq!(seen.trim(), "../../archive/www.site.test/cert1.pem", "never anything else");
}

/// Notes everything that the visible link of web3 says, until told to stop.
fn watch_live(lab: &Lab) -> Running {
    let look = "import os, time\nlast = None\nwhile not os.path.exists('/tmp/stop'):\n  try: now = \
                os.readlink('/etc/letsencrypt/live/www.site.test/cert.pem')\n  except OSError as e: now = str(e)\n  if now \
                != last: print(now, flush=True); last = now\n  time.sleep(0.0005)\n";
    let watcher = lab["web3"].spawn(["python3", "-c", look]);
    crate::lab::until("the watcher has begun", || !watcher.stdout_so_far().is_empty());
    watcher
}

#[test]
fn a_reload_that_says_yes_and_does_nothing_is_found_by_the_probe_and_rolled_back() {
    let (lab, old) = Lab::serving(3, NAME);
    let squatter = lab["web2"].make_reload_lie();
    lab.primary().set("deploy.canary", false);
    let tree = lab["web2"].certificates();
    let new = lab.issue(NAME, 2, &[NAME]);
    let said = lab.deploy(NAME).exits(3).stderr();
    assert!(said.contains("web2") && said.contains("rolled back after probe"), "{said}");
    assert_eq!(lab["web2"].certificates(), tree);
    lab["web2"].serves(&lab, NAME, &old);
    lab["web2"].run(["nginx", "-t"]).ok();
    lab["web3"].serves(&lab, NAME, &new);

    squatter.kill();
    lab.resync(&[]).exits(0);
    everybody_has(&lab, &new);
}

#[test]
fn when_the_first_peer_is_rolled_back_the_others_are_held_back_and_untouched() {
    let (lab, old) = Lab::serving(3, NAME);
    // Whoever goes first fails.
    let _squatters = [lab["web2"].make_reload_lie(), lab["web3"].make_reload_lie()];
    let trees = before(&lab);
    let logged = [lab["web2"].nginx_reloads(), lab["web3"].nginx_reloads()];
    lab.issue(NAME, 2, &[NAME]);
    let said = lab.deploy(NAME).exits(3).stderr();
    assert_eq!(
        (said.matches("rolled back").count(), said.matches("held back: the first node").count()),
        (1, 1),
        "{said}"
    );
    assert_eq!([lab["web2"].certificates(), lab["web3"].certificates()], [trees[1].clone(), trees[2].clone()]);
    let now = [lab["web2"].nginx_reloads(), lab["web3"].nginx_reloads()];
    let untouched = now.iter().zip(logged).filter(|(now, before)| **now == *before).count();
    assert_eq!(untouched, 1, "the canary alone was reloaded");
    for peer in lab.peers() {
        peer.serves(&lab, NAME, &old);
    }
}

/// Else it would hold all back at every run.
#[test]
fn a_peer_that_was_rolled_back_does_not_go_first_again() {
    let (lab, _) = Lab::serving(4, NAME);
    let (ill, others) = (&lab["web2"], [&lab["web3"], &lab["web4"]]);
    let command = |script: &str| vec!["sh".to_owned(), "-c".to_owned(), script.to_owned()];
    ill.set("service.0.reload", command("touch /run/told; exit 1"));
    for peer in others {
        peer.set("service.0.test", command("until test -e /run/go; do sleep 0.02; done; exec nginx -t"));
    }
    let new = lab.issue(NAME, 2, &[NAME]);
    let said = std::thread::scope(|scope| {
        scope.spawn(|| {
            crate::lab::until("web2 goes first", || ill.exists("/run/told"));
            for peer in others {
                peer.write("/run/go", "");
            }
        });
        lab.deploy(NAME).exits(3).stderr()
    });
    let count = |said: &str| (said.matches("rolled back").count(), said.matches("held back").count());
    assert_eq!(count(&said), (1, 2), "{said}");
    let said = lab.resync(&[]).exits(3).stderr();
    assert_eq!(count(&said), (1, 0), "{said}");
    for peer in others {
        peer.serves(&lab, NAME, &new);
    }
}

#[test]
fn where_everybody_is_required_nobody_switches_while_one_is_away() {
    let (lab, old) = Lab::serving(3, NAME);
    lab.primary().set("deploy.require", "all");
    lab.primary().set("deploy.budget", "8s");
    lab["web3"].stop_sshd();
    let trees = before(&lab);
    let new = lab.issue(NAME, 2, &[NAME]);
    let said = lab.deploy(NAME).exits(3).stderr();
    assert!(said.contains("web2") && said.contains("held back: web3") && said.contains("deploy.require"), "{said}");
    assert_eq!([lab["web2"].certificates(), lab["web3"].certificates()], [trees[1].clone(), trees[2].clone()]);
    lab["web2"].serves(&lab, NAME, &old);

    lab["web3"].start_sshd();
    lab.resync(&[]).exits(0);
    everybody_has(&lab, &new);
}

#[test]
fn a_first_certificate_needs_no_listener() {
    let lab = Lab::raise().hosts(2).up();
    let new = lab.issue(NAME, 1, &[NAME]);
    let said = lab.resync(&[]).exits(0).stdout();
    assert_eq!(said.matches("applied (not served here)").count(), 2, "{said}");
    for host in lab.hosts() {
        host.serve(NAME, &[NAME]);
        host.await_served(&lab, NAME, &new);
    }
}

#[test]
fn a_stopped_nginx_gets_its_files_and_is_not_started() {
    let (lab, _) = Lab::serving(2, NAME);
    lab["web2"].stop_nginx();
    let new = lab.issue(NAME, 2, &[NAME]);
    let said = lab.resync(&[]).exits(0).stdout();
    assert!(said.contains("web2  www.site.test  applied (installed, but nginx was not reloaded"), "{said}");
    assert!(lab["web2"].processes("nginx: ").is_empty());
    lab["web2"].start_nginx();
    lab["web2"].await_served(&lab, NAME, &new);
}

#[test]
fn a_broken_nginx_on_the_primary_holds_all_peers_back() {
    let (lab, old) = Lab::serving(3, NAME);
    let trees = before(&lab);
    lab["web1"].break_nginx();
    let new = lab.issue(NAME, 2, &[NAME]);
    let said = lab.deploy(NAME).exits(1).stderr();
    assert!(said.contains("web1  www.site.test  refused at baseline") && said.contains("no_such_directive"), "{said}");
    assert_eq!(said.matches("held back: the services on web1").count(), 2, "{said}");
    assert_eq!([lab["web2"].certificates(), lab["web3"].certificates()], [trees[1].clone(), trees[2].clone()]);
    for host in lab.hosts() {
        host.serves(&lab, NAME, &old);
    }
    lab["web1"].mend_nginx();
    lab.resync(&[]).exits(0);
    everybody_has(&lab, &new);
}

#[test]
fn resync_heals_a_primary_that_was_never_reloaded() {
    let (lab, old) = Lab::serving(2, NAME);
    // As after a certbot that healed its links alone and ran no hook.
    let new = lab.issue(NAME, 2, &[NAME]);
    lab["web1"].serves(&lab, NAME, &old);
    lab.resync(&[]).exits(0).says("web1  www.site.test  applied");
    everybody_has(&lab, &new);
    lab.resync(&[]).exits(0).says("everything is in line");
}
