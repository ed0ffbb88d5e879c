//! What this machine runs by itself: commands of systemd's enabled timers and of cron, as far as their files tell.
//!
//! A hint and no proof: another program may keep a timetable, and a file that cannot be read says nothing.

use std::fs;
use std::path::{Path, PathBuf};

use crate::sys::bounded::read_bounded;

/// What renews, by the name that each package of certbot gives it: Debian's, EPEL's and Fedora's, snap's.
pub const RENEWING: [&str; 3] = ["certbot.timer", "certbot-renew.timer", "snap.certbot.renew.timer"];
/// Where systemd looks for a unit; the first counts (systemd.unit(5)).
const UNITS: [&str; 5] = [
    "etc/systemd/system",
    "run/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
];
/// Where systemd runs, this is there (`sd_booted(3)`).
const BOOTED: &str = "run/systemd/system";
/// In a line of cron's: only where systemd does not run, since there a timer does the same.
const UNLESS_BOOTED: &str = "! -d /run/systemd/system";
const TABLES: [&str; 2] = ["etc/crontab", "etc/anacrontab"];
/// Tables, and scripts that are run daily or so.
const DIRECTORIES: [&str; 6] =
    ["etc/cron.d", "var/spool/cron", "var/spool/cron/crontabs", "etc/cron.hourly", "etc/cron.daily", "etc/cron.weekly"];
const FILE_AT_MOST: u64 = 256 * 1024;

/// The lines that have the commands.
pub struct Timetable {
    lines: Vec<String>,
    root: PathBuf,
}

impl Timetable {
    /// Of the machine whose root directory this is.
    pub fn read(root: &Path) -> Timetable {
        let is_booted = root.join(BOOTED).is_dir();
        let is_start = |line: &&str| line.starts_with("ExecStart");
        let started = |text: String| text.lines().filter(is_start).map(str::to_owned).collect::<Vec<_>>();
        let services = timers(root).into_iter().filter_map(|timer| unit(root, &service(root, &timer)?));
        let mut lines: Vec<String> = if is_booted { services.flat_map(started).collect() } else { Vec::new() };
        let tables = TABLES.into_iter().map(|table| root.join(table));
        let tables = tables.chain(DIRECTORIES.into_iter().flat_map(|directory| children(&root.join(directory))));
        let is_left_out = |line: &str| {
            line.trim_start().starts_with('#') || is_booted && line.replace('\\', "").contains(UNLESS_BOOTED)
        };
        for text in tables.filter_map(|table| text(&table)) {
            lines.extend(text.lines().filter(|line| !is_left_out(line)).map(str::to_owned));
        }
        Timetable { lines, root: root.to_owned() }
    }

    /// Whether one of them is such a line, or names a file that has one.
    pub fn has(&self, is_it: impl Fn(&str) -> bool) -> bool {
        let is_in_file = |word: &str| {
            let path = word.strip_prefix('/').map(|path| self.root.join(path));
            path.and_then(|path| text(&path)).is_some_and(|text| text.lines().any(&is_it))
        };
        self.lines.iter().any(|line| is_it(line) || line.split(|c: char| c.is_whitespace() || c == '=').any(is_in_file))
    }
}

/// Whether systemd knows such a unit, enabled or not.
pub fn knows(root: &Path, name: &str) -> bool {
    unit(root, name).is_some()
}

/// Names of enabled timers.
fn timers(root: &Path) -> Vec<String> {
    let wanted = UNITS.into_iter().flat_map(|units| children(&root.join(units).join("timers.target.wants")));
    wanted.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect()
}

/// What a timer starts; nothing where it is masked.
fn service(root: &Path, timer: &str) -> Option<String> {
    let text = unit(root, timer)?;
    let named = text.lines().find_map(|line| line.strip_prefix("Unit=")).map(|name| name.trim().to_owned());
    Some(named.unwrap_or_else(|| timer.replace(".timer", ".service")))
}

/// A unit's text; a masked one has none.
fn unit(root: &Path, name: &str) -> Option<String> {
    let mut paths = UNITS.into_iter().map(|units| root.join(units).join(name));
    text(&paths.find(|path| fs::symlink_metadata(path).is_ok())?)
}

fn text(path: &Path) -> Option<String> {
    read_bounded(path, FILE_AT_MOST).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn children(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const DEBIANS: &str =
        "0 */12 * * * root test -x /usr/bin/certbot -a \\! -d /run/systemd/system && certbot -q renew\n";

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn renews(root: &Path) -> bool {
        Timetable::read(root).has(|line| line.contains("certbot -q renew"))
    }

    #[test]
    fn cron_counts_unless_a_line_is_a_comment_or_leaves_it_to_systemd() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path();
        assert!(!renews(root));
        write(root, "etc/cron.d/certbot", "# certbot -q renew\n");
        assert!(!renews(root));
        write(root, "etc/cron.d/certbot", DEBIANS);
        assert!(renews(root));
        write(root, "run/systemd/system/x", "");
        assert!(!renews(root), "its timer is not enabled");
        write(root, "var/spool/cron/crontabs/root", "17 3 * * * /root/renew.sh\n");
        assert!(!renews(root));
        write(root, "root/renew.sh", "#!/bin/sh\nexec certbot -q renew\n");
        assert!(renews(root));
    }

    #[test]
    fn a_timer_counts_where_it_is_enabled_and_not_masked() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path();
        write(root, "run/systemd/system/x", "");
        write(root, "lib/systemd/system/daily.timer", "[Timer]\nUnit=renewal.service\n");
        write(root, "lib/systemd/system/renewal.service", "[Service]\nExecStart=/usr/bin/certbot -q renew\n");
        assert!(!renews(root) && knows(root, "daily.timer"));
        write(root, "etc/systemd/system/timers.target.wants/daily.timer", "");
        assert!(renews(root));
        symlink("/dev/null", root.join("etc/systemd/system/daily.timer")).unwrap();
        assert!(!renews(root) && !knows(root, "daily.timer"));
    }
}
