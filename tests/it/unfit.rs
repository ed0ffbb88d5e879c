//! Lineages that are not fit to be sent: one clear line, and no node hears of them.

use crate::lab::{Fault, Finished, Lab, Validity};

const NAME: &str = "www.site.test";
const LIVE: &str = "/etc/letsencrypt/live/www.site.test";
const ARCHIVE: &str = "/etc/letsencrypt/archive/www.site.test";

/// deploy and resync of whatever is on the primary now: refused with one line that has these words, and nobody called.
fn is_refused(lab: &Lab, words: &[&str]) {
    let before: Vec<_> = lab.peers().iter().map(|peer| (peer.certificates(), peer.logins())).collect();
    let reloads = lab.primary().nginx_reloads();
    for said in [lab.deploy(NAME), lab.resync(&[])] {
        is_one_line(&said.exits(4), words);
    }
    let after: Vec<_> = lab.peers().iter().map(|peer| (peer.certificates(), peer.logins())).collect();
    assert!(before == after, "a peer was called or changed for {words:?}");
    assert_eq!(lab.primary().nginx_reloads(), reloads);
}

fn is_one_line(said: &Finished, words: &[&str]) {
    let text = said.stderr();
    assert_eq!(text.lines().count(), 1, "{said}");
    assert!(!text.contains('\u{1b}'), "{said}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}

#[test]
fn a_torn_lineage_is_refused_by_name_and_no_node_is_called() {
    let (lab, _) = Lab::serving(2, NAME);
    let primary = lab.primary();
    let link = format!("{LIVE}/fullchain.pem");
    lab.issue(NAME, 2, &[NAME]);

    // certbot killed while it switched its links.
    primary.remove(&link);
    primary.link("../../archive/www.site.test/fullchain1.pem", &link);
    is_refused(&lab, &[LIVE, "fullchain1.pem", "cert2.pem", "certbot certificates"]);

    // Before it began to switch.
    for part in ["cert", "privkey", "chain"] {
        primary.remove(&format!("{LIVE}/{part}.pem"));
        primary.link(&format!("../../archive/www.site.test/{part}1.pem"), &format!("{LIVE}/{part}.pem"));
    }
    is_refused(&lab, &[LIVE, "version 1", "newer one, 2"]);

    // Between unlink and symlink.
    primary.remove(&link);
    is_refused(&lab, &[&link]);

    // Flattened by a copy that followed the links.
    primary.write(&link, primary.read(&format!("{ARCHIVE}/fullchain1.pem")));
    is_refused(&lab, &[&link, "not a link"]);

    // Out of the archive.
    primary.remove(&link);
    primary.link("/etc/passwd", &link);
    is_refused(&lab, &[&link, "outside archive"]);

    primary.remove(&link);
    primary.link("../../archive/www.site.test/fullchain9.pem", &link);
    is_refused(&lab, &[LIVE, "fullchain9.pem"]);
}

#[test]
fn files_that_make_no_bundle_are_refused_by_name_and_no_node_is_called() {
    let (lab, old) = Lab::serving(2, NAME);
    let faults = [
        (Fault::OtherKey, "privkey.pem does not match cert.pem"),
        (Fault::NoChain, "the leaf is without its chain"),
        (Fault::WrongOrder, "fullchain"),
        (Fault::Truncated, "fullchain.pem"),
        (Fault::TruncatedKey, "privkey.pem"),
        (Fault::Empty, "cert.pem is empty"),
        (Fault::Garbage, "fullchain2.pem"),
    ];
    for (fault, words) in faults {
        lab.primary().install(NAME, 2, &lab.bundle(&[NAME]).broken(fault));
        is_refused(&lab, &["/www.site.test", words]);
    }
    for (validity, words) in [(Validity::Expired, "cert.pem expired on"), (Validity::NotYet, "is not valid before")] {
        lab.primary().install(NAME, 2, &lab.bundle_valid(&[NAME], validity));
        is_refused(&lab, &[LIVE, words]);
    }
    let large = format!("{ARCHIVE}/chain2.pem");
    lab.primary().install(NAME, 2, &lab.bundle(&[NAME]));
    lab.primary().write(&large, vec![b'\n'; 3 << 20]);
    is_refused(&lab, &[&large]);
    lab.primary().remove(&format!("{ARCHIVE}/privkey2.pem"));
    is_refused(&lab, &["www.site.test"]);
    for host in lab.hosts() {
        host.serves(&lab, NAME, &old);
    }
}

#[test]
fn what_cannot_be_read_is_named_and_no_node_is_called() {
    let (lab, _) = Lab::serving(2, NAME);
    let primary = lab.primary();
    lab.issue(NAME, 2, &[NAME]);
    // Root may read everything: without that privilege, as under a hardened unit.
    primary.chmod(&format!("{ARCHIVE}/privkey2.pem"), 0);
    let unprivileged = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"];
    let logins = lab["web2"].logins();
    for run in [lab.deploying(NAME).under(unprivileged), primary.command(["certcast", "resync"]).under(unprivileged)] {
        let said = run.env("PATH", "/usr/local/bin:/usr/bin:/bin").run().exits(4);
        is_one_line(&said, &["cannot", &format!("{ARCHIVE}/privkey2.pem"), "Permission denied"]);
    }
    assert_eq!(lab["web2"].logins(), logins);
    primary.chmod(&format!("{ARCHIVE}/privkey2.pem"), 0o600);

    for part in ["cert", "privkey", "chain", "fullchain"] {
        primary.remove(&format!("{ARCHIVE}/{part}2.pem"));
    }
    is_refused(&lab, &[&format!("{ARCHIVE}/cert2.pem"), "No such file or directory"]);
    primary.rename(ARCHIVE, "/root/archive");
    is_refused(&lab, &[ARCHIVE, "No such file or directory"]);
}

#[test]
fn one_unfit_lineage_does_not_hold_the_others_back() {
    let (lab, _) = Lab::serving(2, NAME);
    let other = "other.test";
    lab.primary().install(other, 1, &lab.bundle(&[other]).broken(Fault::Empty));
    let new = lab.issue(NAME, 2, &[NAME]);
    lab.resync(&[]).exits(3).says("other.test: cert.pem is empty");
    lab["web2"].serves(&lab, NAME, &new);
    assert!(!lab["web2"].exists("/etc/letsencrypt/live/other.test"));
}

#[test]
fn an_environment_that_is_no_hook_call_says_so() {
    let lab = Lab::raise().hosts(2).up();
    let hook = || lab.primary().command(["/usr/local/bin/certcast", "deploy"]).bare_env();
    hook().run().exits(2).says("RENEWED_LINEAGE is not set");
    hook().env("RENEWED_LINEAGE", "relative/live/x").run().exits(2).says("not an absolute path");
    hook().env("RENEWED_LINEAGE", "/etc/letsencrypt/live/gone").run().exits(4).says("there is no lineage gone");
    assert_eq!(lab["web2"].logins(), 0);
}

#[test]
fn a_certificate_that_lost_a_name_is_refused_where_that_is_wished() {
    let lab = Lab::raise().hosts(2).up();
    lab.issue(NAME, 1, &[NAME, "site.test"]);
    lab.deploy(NAME).ok().silent();
    let tree = lab["web2"].certificates();
    lab.issue(NAME, 2, &[NAME]);
    lab.primary().set("deploy.missing_names", "refuse");
    lab.resync(&[]).exits(3).says("refused at check").says("site.test");
    assert_eq!(lab["web2"].certificates(), tree);
    lab.primary().set("deploy.missing_names", "warn");
    lab.resync(&[]).exits(0).says("web2  www.site.test  applied");
}

#[test]
fn a_full_disk_on_a_peer_is_named_and_nothing_stays() {
    let lab = Lab::raise().hosts(2).up();
    lab["web2"].small_disk("/etc/letsencrypt", "size=12k,mode=755");
    lab.issue(NAME, 1, &[NAME]);
    lab.deploy(NAME).exits(3).says("web2").says("/etc/letsencrypt/archive").says("No space left");
    let left: Vec<_> = lab["web2"].certificates().into_iter().map(|entry| entry.path.display().to_string()).collect();
    assert_eq!(left, ["archive", "live"]);
    assert!(!lab["web2"].exists("/var/lib/certcast/transaction.journal"));
}
