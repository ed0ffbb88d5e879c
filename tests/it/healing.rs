//! A real certbot that is killed while it switches its links, and heals itself without telling anybody.

use crate::lab::{Certbot, Host, Lab};
use crate::story::{HOOKS, domains};

const NAME: &str = "www.site.test";

/// What a timer's `resync` finds wrong before it calls anybody.
fn is_refused(lab: &Lab, words: &[&str]) {
    let before = (lab["web2"].certificates(), lab["web2"].logins());
    let said = lab.resync(&[]).exits(4);
    assert_eq!(said.stderr().lines().count(), 1, "{said}");
    words.iter().fold(said, |said, word| said.says(word));
    assert!(before == (lab["web2"].certificates(), lab["web2"].logins()), "web2 heard of it");
}

/// A renewal killed as it makes the `when`-th of its four links; then all that follows without a person.
fn a_certbot_killed_at_a_link(which: Certbot, when: u32, broken: &str) {
    let lab = Lab::raise().hosts(2).with_ca().up();
    lab.point_both(NAME, &["web1", "web2"]);
    lab.primary().certbot(which).args(HOOKS).args(domains(&[NAME])).run().ok();
    for host in lab.hosts() {
        host.serve(NAME, &[NAME]);
    }
    let old = lab["web2"].installed_leaf(NAME);
    // Four links that remember where the others pointed come first.
    let kill = format!("inject=?symlink,symlinkat:signal=KILL:when={}", 4 + when);
    let renewal = lab.primary().certbot(which).under(["strace", "-qq", "-o", "/dev/null", "-e", &kill]);
    renewal.args(["renew", "--force-renewal", "--no-random-sleep-on-renew"]).run().fails();
    assert!(lab.primary().exists(&format!("/etc/letsencrypt/archive/{NAME}/fullchain2.pem")));
    is_refused(&lab, &[&format!("/etc/letsencrypt/live/{NAME}/{broken}"), "No such file or directory"]);

    // certbot's next command points the links back, its next renewal forth; no hook hears of either.
    lab.primary().certbot(which).args(["certificates"]).run().ok();
    is_refused(&lab, &["shows version 1, but the archive has a newer one, 2", "run 'certbot renew'"]);
    let logins = lab["web2"].logins();
    lab.primary().certbot(which).args(["renew", "--no-random-sleep-on-renew"]).run().ok();
    assert_eq!(lab["web2"].logins(), logins, "then this is not what it is here to show");
    let new = lab.primary().installed_leaf(NAME);
    assert_ne!(new, old);
    assert_eq!(lab.served_leaf(lab.primary().v4(), NAME), old);

    lab.resync(&[]).exits(0).says("web1  www.site.test  applied").says("web2  www.site.test  applied");
    let served = |host: &Host| lab.served_leaf(host.v4(), NAME);
    assert_eq!((served(&lab["web1"]), served(&lab["web2"])), (new.clone(), new.clone()));
    assert_eq!(lab["web2"].installed_leaf(NAME), new);
}

#[test]
fn debians_certbot_killed_at_its_second_link_is_not_sent_and_what_it_heals_is_found() {
    a_certbot_killed_at_a_link(Certbot::Debian, 2, "privkey.pem");
}

#[test]
fn pypis_certbot_killed_at_its_last_link_is_not_sent_and_what_it_heals_is_found() {
    a_certbot_killed_at_a_link(Certbot::Pypi, 4, "fullchain.pem");
}
