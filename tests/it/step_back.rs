//! What a peer takes for a step back: only a person's `--force` brings it there, and only where the peer's own word allows it.

use crate::lab::{Bundle, Grant, Lab, Validity};

const NAME: &str = "www.site.test";
const FORCED: Grant<'_> = Grant::Forced("/usr/local/bin/certcast receive --role deploy --allow-force");

/// Three servers of which web3 lets `--force` through.
fn serving() -> Lab {
    let (lab, _) = Lab::serving(3, NAME);
    lab["web3"].authorize_only(&lab.identity(), FORCED);
    lab
}

/// Installs `back` as version 2 on the primary and sees it refused everywhere, then taken by web3 alone.
fn goes_only_by_force(lab: &Lab, back: &Bundle, why: &str) {
    lab.primary().install(NAME, 2, back);
    let trees = [lab["web2"].certificates(), lab["web3"].certificates()];
    let said = lab.resync(&[]).exits(3).stderr();
    assert_eq!(said.matches("refused at check").count(), 2, "{said}");
    assert_eq!(said.matches(why).count(), 2, "{said}");
    assert_eq!([lab["web2"].certificates(), lab["web3"].certificates()], trees);

    let said = lab.resync(&["--force"]).exits(3).stderr();
    assert!(said.contains("web2") && said.contains("--allow-force"), "{said}");
    assert_eq!(lab["web2"].certificates(), trees[0]);
    assert_eq!(lab["web3"].installed_leaf(NAME), Some(back.fingerprint()));
}

#[test]
fn an_older_certificate_goes_only_where_a_person_and_the_peer_both_want_it() {
    let lab = serving();
    let older = lab.bundle_valid(&[NAME], Validity::Days(-30, 60));
    goes_only_by_force(&lab, &older, "older than the installed one");
    lab["web3"].serves(&lab, NAME, &older);
}

#[test]
fn a_certificate_for_wholly_other_names_goes_only_where_a_person_and_the_peer_both_want_it() {
    let lab = serving();
    goes_only_by_force(&lab, &lab.bundle(&["evil.test"]), "for none of the names");
}

#[test]
fn a_certificate_of_an_untrusted_ca_does_not_follow_a_trusted_one() {
    let lab = serving();
    for peer in lab.peers() {
        peer.write("/root/root.pem", lab.root());
        peer.run(["mount", "--bind", "/root/root.pem", "/etc/ssl/certs/ca-certificates.crt"]).ok();
    }
    let live = "/etc/letsencrypt/live/www.site.test/fullchain.pem";
    let verify = ["openssl", "verify", "-untrusted", live, live];
    lab["web3"].run(verify).ok();
    goes_only_by_force(
        &lab,
        &Lab::bundle_of_another_ca(&[NAME]),
        "CA store trusts the installed certificate and not this",
    );
    lab["web3"].run(verify).fails();

    // And back into trust anybody may go.
    let new = lab.issue(NAME, 3, &[NAME]);
    lab.resync(&[]).exits(0);
    lab["web3"].serves(&lab, NAME, &new);
    lab["web3"].run(verify).ok();
}
