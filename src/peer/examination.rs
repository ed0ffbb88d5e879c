//! What is wrong on this node, or will be, for `doctor`. Nothing is changed, and no lock is taken.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;

use crate::model::config::Service;
use crate::model::deadline::Deadline;
use crate::model::finding::Finding;
use crate::model::names::LineageName;
use crate::model::pasteable::pasteable;
use crate::peer::node::Node;
use crate::peer::policy::Grant;
use crate::peer::{baseline, found, nginx, probe, service, sudo};
use crate::sys::timetable::RENEWING;

/// A bundle, its staged copy and the journal need far less.
const SPACE_AT_LEAST: u64 = 16 << 20;
const INODES_AT_LEAST: u64 = 100;
const ENABLED_TIMERS: &str = "/etc/systemd/system/timers.target.wants";

/// Looks at everything here that can go wrong for these lineages; `sent` are all that the primary brings. To a key for some
/// lineages only nothing is said of others.
pub fn of(
    node: &Node,
    grant: &Grant,
    lineages: &[LineageName],
    sent: &[LineageName],
    deadline: Deadline,
) -> Vec<Finding> {
    let mut findings = services(node, grant, deadline);
    if node.services().is_empty() && !sent.is_empty() {
        let what = "no [[service]] in its configuration: nothing is reloaded and nothing is looked at";
        let why = "whatever uses certificates here goes on with the old one after a renewal";
        findings.push(Finding::warning(
            what,
            why,
            "there, in /etc/certcast/config.toml: [[service]] with name = \"nginx\", say",
        ));
    }
    findings.extend(room(node));
    for lineage in lineages.iter().filter(|lineage| grant.allows_lineage(lineage).is_ok()) {
        findings.extend(unserved(node, lineage, deadline));
    }
    if grant.only.is_empty() {
        findings.extend(readable_keys(node));
        findings.extend(unknown_lineages(node, sent, deadline));
        if !node.is_own() {
            findings.extend(other_certbot(node));
        }
    }
    findings
}

fn services(node: &Node, grant: &Grant, deadline: Deadline) -> Vec<Finding> {
    let mut findings = Vec::new();
    for service in node.services() {
        // One that hangs must not keep the rest from being said.
        let service = &Service { timeout: service.timeout.min(deadline.left() / 2), ..service.clone() };
        // Its commands and their words may name others' sites: a key for some lineages hears of neither.
        let is_for_all = grant.only.is_empty();
        if let Err(unwilling) = service::test(std::slice::from_ref(service)) {
            let (what, remedy) = if is_for_all {
                (unwilling.cause, pasteable(&service.test))
            } else {
                (
                    format!("the test of {} fails", service.name),
                    format!("run the test of {} there, as its [[service]] has it", service.name),
                )
            };
            let why = "while it fails no certificate is taken here, and the service does not start again";
            findings.push(Finding::error(what, why, remedy));
        }
        for argv in [&service.test, &service.reload] {
            if sudo::refuses(argv, service.timeout) {
                let command =
                    if is_for_all { format!("'{}'", argv.join(" ")) } else { format!("a command of {}", service.name) };
                let what = format!("sudo does not let this user run {command} without a password");
                findings.push(Finding::error(what, "without it no service here takes a new certificate", "visudo"));
            }
        }
    }
    findings
}

fn room(node: &Node) -> Vec<Finding> {
    let config = node.config();
    let mut places = vec![config.node.letsencrypt.as_path(), &config.node.state, &config.node.webroot];
    places.extend(config.node.webroots.values().map(PathBuf::as_path));
    let mut findings = Vec::new();
    let mut seen = Vec::new();
    for place in places {
        // A directory that is not there is told by what wants to write to it.
        let Ok(disk) = statvfs(place) else { continue };
        let Ok(device) = fs::metadata(place).map(|known| known.dev()) else { continue };
        if seen.contains(&device) {
            continue;
        }
        seen.push(device);
        let free = disk.blocks_available().saturating_mul(disk.fragment_size());
        // Some file systems have no fixed number of inodes, and say 0.
        let inodes = if disk.files() == 0 { INODES_AT_LEAST } else { disk.files_available() };
        if free < SPACE_AT_LEAST || inodes < INODES_AT_LEAST {
            let what = format!("{}: {} KiB and {inodes} inodes are free", place.display(), free / 1024);
            let remedy = pasteable(&["du", "-xh", "--max-depth=2", &place.to_string_lossy()]);
            findings.push(Finding::error(what, "a challenge or a certificate may not fit there", remedy));
        }
    }
    findings
}

/// Names of a certificate that is shown here for others of its names.
fn unserved(node: &Node, lineage: &LineageName, deadline: Deadline) -> Option<Finding> {
    let leaf = baseline::installed_leaf(node, lineage).ok().flatten()?;
    let (mut shown, mut missed) = (Vec::new(), Vec::new());
    for service in node.services() {
        for (place, what) in probe::look(&probe::places(service), &leaf.names, deadline) {
            match what {
                probe::Shown::Leaf(digest) if digest == leaf.digest => shown.push(place.name.to_string()),
                probe::Shown::Leaf(_) => missed.push(place.name.to_string()),
                _ => {}
            }
        }
    }
    missed.retain(|name| !shown.contains(name) && !name.contains('*'));
    missed.sort();
    missed.dedup();
    if shown.is_empty() || missed.is_empty() {
        return None;
    }
    let what = format!("no service shows {lineage}'s certificate for {}", missed.join(", "));
    let why = "who asks for that name here is shown another site's certificate";
    let remedy = format!("name it in the site's configuration (nginx: server_name), or renew {lineage} without it");
    Some(Finding::warning(what, why, remedy))
}

/// Private keys that everybody may read.
fn readable_keys(node: &Node) -> Vec<Finding> {
    let archive = node.config().node.letsencrypt.join("archive");
    // Where nobody gets in, a key's own mode says nothing.
    let is_entered = |path: &Path| fs::metadata(path).is_ok_and(|known| known.permissions().mode() & 0o001 != 0);
    if !is_entered(&archive) {
        return Vec::new();
    }
    let open = |path: &PathBuf| {
        let is_key = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("privkey"));
        is_key
            && fs::symlink_metadata(path).is_ok_and(|known| known.is_file() && known.permissions().mode() & 0o007 != 0)
    };
    let lineages = children(&archive).into_iter().filter(|lineage| is_entered(lineage));
    let keys = lineages.flat_map(|lineage| children(&lineage)).filter(open);
    let finding = |path: PathBuf| {
        let path = path.to_string_lossy().into_owned();
        let why = "a private key is nobody's but root's and its services'";
        Finding::warning(format!("{path} is open to everybody"), why, pasteable(&["chmod", "o-rwx", &path]))
    };
    keys.map(finding).collect()
}

/// What nginx shows out of certbot's tree and nobody renews.
fn unknown_lineages(node: &Node, sent: &[LineageName], deadline: Deadline) -> Vec<Finding> {
    if !node.services().iter().any(|service| service.test.iter().any(|word| word.ends_with("nginx"))) {
        return Vec::new();
    }
    let tree = &node.config().node.letsencrypt;
    let live = tree.join("live");
    let mut names: Vec<String> = nginx::certificates(&nginx::configuration(deadline))
        .iter()
        .filter_map(|path| Path::new(path).strip_prefix(&live).ok()?.iter().next()?.to_str().map(str::to_owned))
        .collect();
    names.sort();
    names.dedup();
    let is_renewed = |name: &String| {
        sent.iter().any(|lineage| lineage.as_str() == name) || may_be_there(&tree.join(format!("renewal/{name}.conf")))
    };
    let finding = |name: String| {
        let what = format!("nginx uses {}, which nobody brings or renews", live.join(&name).display());
        let remedy = "on the primary, add it to deploy.lineages in /etc/certcast/config.toml; then: certcast resync";
        Finding::warning(what, "its certificate ends some day, and visitors are shown that", remedy)
    };
    names.into_iter().filter(|name| !is_renewed(name)).map(finding).collect()
}

/// A certbot that renews here would fail validation half of the time, and write over what certcast brings.
fn other_certbot(node: &Node) -> Vec<Finding> {
    const WHY: &str = "only the primary's certbot is to renew: another writes over what is brought here";
    let mut findings = Vec::new();
    for path in children(&node.config().node.letsencrypt.join("renewal")) {
        if path.extension().is_some_and(|extension| extension == "conf") {
            let path = path.to_string_lossy().into_owned();
            let remedy = pasteable(&["mv", &path, &format!("{path}.not-here")]);
            findings.push(Finding::error(format!("certbot here renews by {path}"), WHY, remedy));
        }
    }
    for timer in RENEWING.into_iter().filter(|timer| may_be_there(&Path::new(ENABLED_TIMERS).join(timer))) {
        let remedy = format!("systemctl disable --now {timer}");
        findings.push(Finding::warning(format!("{timer} is enabled here"), WHY, remedy));
    }
    findings
}

/// What cannot be looked at may be there.
fn may_be_there(path: &Path) -> bool {
    found::is_there(path).unwrap_or(true)
}

/// What is in a directory; nothing where it is none, or may not be read.
fn children(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}
