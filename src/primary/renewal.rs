//! Whether certbot renews a lineage by itself, and calls certcast when it does.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::model::escape::escaped;
use crate::model::finding::Finding;
use crate::model::names::LineageName;
use crate::model::pasteable::pasteable;
use crate::primary::cli_ini::{CliIni, Given};
use crate::primary::{hook_call, own_program, renewal_conf};
use crate::sys::bounded;

const FILE_AT_MOST: u64 = 1024 * 1024;

/// How certbot renews a lineage.
pub struct Renewal {
    /// Whether there is one.
    pub is_there: bool,
    /// Whether the CA asks over HTTP, and so any of the nodes.
    pub is_http: bool,
    /// What is wrong with it.
    pub findings: Vec<Finding>,
}

/// What certbot's configuration says; one that cannot be read is a finding.
pub fn of(letsencrypt: &Path, cli_ini: &CliIni, lineage: &LineageName) -> Renewal {
    let path = renewal_conf::path(letsencrypt, lineage.as_str());
    let text = match bounded::read_bounded(&path, FILE_AT_MOST) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => {
            let what = match error.kind() {
                ErrorKind::NotFound => format!("certbot has no {}", path.display()),
                _ => format!("cannot read {}: {error}", path.display()),
            };
            let finding = Finding::error(what, "nobody renews this certificate", "certbot certificates");
            return Renewal { is_there: error.kind() != ErrorKind::NotFound, is_http: false, findings: vec![finding] };
        }
    };
    let value = |key| renewal_conf::value(&text, key).unwrap_or_default();
    let is_dns = value("authenticator").starts_with("dns") || value("pref_challs").starts_with("dns");
    let given = |key| given(cli_ini, &path, &text, key);
    let called = |key, verb| Some(given(key)).filter(|hook| hook_call::is_call(hook.value, verb));
    let finding = |hook: Option<Given<'_>>, key, verb| match hook {
        Some(hook) => program(hook.file, hook.value),
        None if given(key).file != path => Some(hidden(given(key), key, verb)),
        None => Some(without(&path, lineage, key, verb, is_dns)),
    };
    let mut findings = Vec::new();
    if !is_dns {
        findings.extend(cli_ini.authenticator().map(other_way));
        for (key, verb) in [("manual_auth_hook", "auth"), ("manual_cleanup_hook", "cleanup")] {
            findings.extend(finding(called(key, verb), key, verb));
        }
    }
    // After each renewal, or once after all of them.
    let is_after_all = |hook: &str| hook_call::has_plain_call(hook, "resync");
    let after_all = || Some(given("post_hook")).filter(|hook| is_after_all(hook.value));
    let after = called("renew_hook", "deploy").or_else(after_all);
    if after.is_some() || cli_ini.leaves_directories_out() || !is_called_for_all(letsencrypt) {
        // The lineage's own call is there, and is not the one that counts.
        let is_hidden = after.is_none() && is_after_all(value("post_hook"));
        let (key, verb) = if is_hidden { ("post_hook", "resync") } else { ("renew_hook", "deploy") };
        findings.extend(finding(after, key, verb));
    }
    Renewal { is_there: true, is_http: !is_dns, findings }
}

/// That a lineage's renewals call certcast, which does not roll it out.
pub fn unsent(letsencrypt: &Path, cli_ini: &CliIni, lineage: &LineageName) -> Option<Finding> {
    let path = renewal_conf::path(letsencrypt, lineage.as_str());
    let text = bounded::read_bounded(&path, FILE_AT_MOST).ok()?;
    let text = String::from_utf8_lossy(&text);
    let called = |key, verb| {
        let given = given(cli_ini, &path, &text, key);
        given.file == path && hook_call::is_call(given.value, verb)
    };
    let calls = called("renew_hook", "deploy") || called("post_hook", "resync");
    let what = format!("{} calls certcast, and no pattern in deploy.lineages matches {lineage}", path.display());
    let remedy = format!(
        "add it to deploy.lineages in the configuration; then: {}",
        pasteable(&["certcast", "resync", lineage.as_str()])
    );
    calls.then(|| Finding::error(what, "the renewed certificate stays on this node, and nobody is told", remedy))
}

/// The hook that certbot calls.
fn given<'t>(cli_ini: &'t CliIni, path: &'t Path, text: &'t str, key: &'t str) -> Given<'t> {
    let own = || Given { file: path, option: key, value: renewal_conf::value(text, key).unwrap_or_default() };
    cli_ini.hook(key).unwrap_or_else(own)
}

/// What it means that a hook is not called.
fn why(key: &str) -> &'static str {
    match key {
        "manual_auth_hook" => "the CA asks nodes that do not have the challenge: the renewal fails",
        "manual_cleanup_hook" => "challenges stay on the nodes",
        _ => "the renewed certificate stays on this node",
    }
}

fn other_way(Given { file, option, value }: Given<'_>) -> Finding {
    let what =
        format!("{} has {option} = {}, and it wins over every certificate's own", file.display(), escaped(value));
    let remedy = format!("take {option} out of it: {}", pasteable(&["editor", &file.to_string_lossy()]));
    Finding::error(what, why("manual_auth_hook"), remedy)
}

/// Of all lineages, whatever their own files say.
fn hidden(Given { file, option, .. }: Given<'_>, key: &str, verb: &str) -> Finding {
    let what = format!(
        "{} has a {option} that does not call 'certcast {verb}', and it wins over every certificate's own",
        file.display()
    );
    let remedy = format!(
        "take {option} out of it, or have it call 'certcast {verb}' too: {}",
        pasteable(&["editor", &file.to_string_lossy()])
    );
    Finding::error(what, why(key), remedy)
}

fn without(path: &Path, lineage: &LineageName, key: &str, verb: &str, is_dns: bool) -> Finding {
    let remedy = if is_dns {
        let (name, hook) = (lineage.as_str(), format!("{} deploy", own_program::path()));
        pasteable(&["certbot", "reconfigure", "--cert-name", name, "--deploy-hook", &hook])
    } else {
        pasteable(&["certcast", "init", "--install-hooks", lineage.as_str()])
    };
    Finding::error(format!("{} has no 'certcast {verb}' as its {key}", path.display()), why(key), remedy)
}

/// certbot(1): what is in these directories is run after every renewal, or once after all of them.
fn is_called_for_all(letsencrypt: &Path) -> bool {
    let hooks = |when| fs::read_dir(letsencrypt.join("renewal-hooks").join(when)).into_iter().flatten().flatten();
    let is_run = |path: &Path| is_executable(path) && hook_call::mentions_certcast(path);
    hooks("deploy").any(|hook| is_run(&hook.path()))
        || hooks("post").any(|hook| is_run(&hook.path()) && hook_call::mentions(&hook.path(), "resync"))
}

/// A hook whose program certbot does not find: certbot says so in its log, and goes on.
fn program(path: &Path, hook: &str) -> Option<Finding> {
    let program = hook.split_whitespace().next().filter(|word| word.starts_with('/'))?;
    if is_executable(Path::new(program)) {
        return None;
    }
    let program = escaped(program);
    let what = format!("{} calls {program}, which is no program here", path.display());
    Some(Finding::error(what, "renewals go on without certcast", format!("install certcast as {program}")))
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|known| known.is_file() && known.permissions().mode() & 0o111 != 0)
}
