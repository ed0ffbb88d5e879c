//! The hooks as files: they need nothing of their environment.

use std::path::Path;

use crate::lab::{Certbot, Host, Lab};

const NAME: &str = "www.site.test";

/// Copies `hooks/` to a directory of a host, as a person or a package does.
fn install_hooks(host: &Host, directory: &str) {
    for hook in ["auth", "cleanup", "deploy"] {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("hooks").join(hook);
        let path = format!("{directory}/{hook}");
        host.write(&path, std::fs::read(source).unwrap());
        host.chmod(&path, 0o755);
    }
}

fn put_program(host: &Host, path: &str, text: &str) {
    host.write(path, text);
    host.chmod(path, 0o755);
}

#[test]
fn a_hook_file_under_the_programs_name_calls_the_program_and_not_itself() {
    let lab = Lab::raise().hosts(1).up();
    let primary = lab.primary();
    let place = "/etc/letsencrypt/renewal-hooks/deploy";
    install_hooks(primary, place);
    primary.rename(&format!("{place}/deploy"), &format!("{place}/certcast"));
    let bundle = lab.issue(NAME, 1, &[NAME]);
    primary.serve(NAME, &[NAME]);
    let hook = primary.command([format!("{place}/certcast")]).bare_env();
    hook.env("RENEWED_LINEAGE", format!("/etc/letsencrypt/live/{NAME}")).run().ok().silent();
    primary.serves(&lab, NAME, &bundle);
}

#[test]
fn certbot_without_any_environment_gets_and_renews_through_the_hook_files() {
    let lab = Lab::raise().hosts(3).with_ca().up();
    lab.point_both(NAME, &["web2", "web3", "web1"]);
    let primary = lab.primary();
    install_hooks(primary, "/opt/certcast");
    let certbot = |words: &[&str]| {
        let bare = primary.certbot(Certbot::Debian).bare_env().env("REQUESTS_CA_BUNDLE", "/etc/lab-root.pem");
        bare.args(words).run().ok()
    };
    let hook = |name| format!("/opt/certcast/{name}");
    let first = certbot(&[
        "certonly",
        "--manual",
        "--preferred-challenges",
        "http",
        "--manual-auth-hook",
        &hook("auth"),
        "--manual-cleanup-hook",
        &hook("cleanup"),
        "--deploy-hook",
        &hook("deploy"),
        "--domain",
        NAME,
    ]);
    assert!(!format!("{first}").contains("Hook '"), "a hook was not silent: {first}");
    let old = primary.installed_leaf(NAME);
    let saved = primary.text(&format!("/etc/letsencrypt/renewal/{NAME}.conf"));
    for (key, name) in [("manual_auth_hook", "auth"), ("manual_cleanup_hook", "cleanup"), ("renew_hook", "deploy")] {
        assert!(saved.contains(&format!("{key} = {}\n", hook(name))), "{saved}");
    }
    for host in lab.hosts() {
        host.serve(NAME, &[NAME]);
    }

    let again = certbot(&["renew", "--force-renewal", "--no-random-sleep-on-renew"]);
    assert!(!format!("{again}").contains("Hook '"), "a hook was not silent: {again}");
    let new = primary.installed_leaf(NAME);
    assert!(new.is_some() && new != old);
    for host in lab.hosts() {
        assert_eq!(lab.served_leaf(host.v4(), NAME), new, "{}", host.name());
        assert_eq!(host.list("/var/www/html/.well-known/acme-challenge"), Vec::<String>::new(), "{}", host.name());
    }
}

#[test]
fn a_hook_file_finds_the_program_beside_it_first_and_passes_words_on_untouched() {
    let lab = Lab::raise().hosts(1).up();
    let host = lab.primary();
    let directory = "/opt/the site's hooks";
    install_hooks(host, directory);
    let call = |hook: &str, words: &[&str]| host.command([format!("{directory}/{hook}")]).args(words).bare_env().run();
    // The installed program, which misses certbot's variables.
    call("deploy", &[]).exits(2).says("RENEWED_LINEAGE");

    let tell = "#!/bin/sh\nprintf '<%s>' \"$0\" \"$@\"\n";
    put_program(host, &format!("{directory}/certcast"), tell);
    for hook in ["auth", "cleanup", "deploy"] {
        let said = call(hook, &["--config", "a b\n$HOME;*"]).ok();
        assert_eq!(said.stdout(), format!("<{directory}/certcast><{hook}><--config><a b\n$HOME;*>"));
        assert_eq!(said.stderr(), "");
    }

    // A directory of that name is no program, nor is a file that cannot be run.
    host.chmod(&format!("{directory}/certcast"), 0o644);
    call("auth", &[]).exits(2).says("CERTBOT_");
    host.remove(&format!("{directory}/certcast"));
    host.mkdir(&format!("{directory}/certcast"));
    call("auth", &[]).exits(2).says("CERTBOT_");

    host.remove("/usr/local/bin/certcast");
    for hook in ["auth", "cleanup", "deploy"] {
        call(hook, &[]).exits(127).says(&format!("beside {directory}/{hook}"));
    }
}
