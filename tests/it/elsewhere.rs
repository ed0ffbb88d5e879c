//! A lineage in another directory than the configured one: `certbot --config-dir`.

use crate::lab::Lab;

const NAME: &str = "www.site.test";
const OTHER: &str = "other.site.test";
const TOLD: &str = "/root/told";

#[test]
fn a_lineage_of_another_config_dir_is_brought_shown_and_finished_as_any_other() {
    let lab = Lab::raise().hosts(3).up();
    let (primary, off) = (lab.primary(), &lab["web2"]);
    primary.set("deploy.budget", "10s");
    primary.set("alert.0.to", "exec");
    primary.set("alert.0.argv", vec!["sh", "-c", &format!("cat >/dev/null; echo $0 >>{TOLD}")]);
    lab.issue(OTHER, 1, &[OTHER]);
    lab.resync(&[]).exits(0);
    let bundle = lab.issue(NAME, 1, &[NAME]);
    for directory in ["live", "archive"] {
        primary.mkdir(&format!("/srv/le/{directory}"));
        primary.rename(&format!("/etc/letsencrypt/{directory}/{NAME}"), &format!("/srv/le/{directory}/{NAME}"));
    }
    off.stop_sshd();
    let hook = primary.command(["/usr/local/bin/certcast", "deploy"]).bare_env();
    let said = hook.env("RENEWED_LINEAGE", format!("/srv/le/live/{NAME}")).run().exits(3);
    said.says("web2  www.site.test  pending: ").says("what is missing is done by 'certcast resync'");
    assert_eq!(lab["web3"].installed_leaf(NAME), Some(bundle.fingerprint()));

    let said = lab.resync(&[]).exits(3).says("web2  www.site.test  pending: ");
    assert!(!said.stdout().contains("kept"), "{said}");
    assert_eq!(primary.text(TOLD), "1\n1\n", "of each of the two; and none is over");
    off.start_sshd();
    let stands = |row: &str| {
        let said = primary.run(["certcast", "status"]);
        assert!(said.stdout().contains(row), "{row}: {said}");
    };
    stands("web1  www.site.test    1  ");
    stands("web2  www.site.test    none  ");
    lab.resync(&[]).exits(0);
    assert_eq!(off.installed_leaf(NAME), Some(bundle.fingerprint()));
    assert_eq!(primary.text(TOLD), "1\n1\n0\n0\n");
    assert_eq!(lab.resync(&[NAME]).exits(0).stdout(), "everything is in line\n");
    stands("web2  www.site.test    1  ");

    // certbot delete --config-dir /srv/le
    primary.remove(&format!("/srv/le/live/{NAME}"));
    let said = lab.resync(&[]).exits(0).stdout();
    assert_eq!(said.matches("www.site.test  kept: certbot no longer has it here").count(), 2, "{said}");
}
