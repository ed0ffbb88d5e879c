//! Whether this server renews, and brings what is missing, without a person.

use std::path::Path;

use crate::model::call;
use crate::model::finding::Finding;
use crate::primary::own_program;
use crate::sys::timetable::{self, RENEWING, Timetable};

const RESYNCING: &str = "certcast-resync.timer";

/// What nothing here does by itself; that another machine does it does not show.
pub fn missing() -> Vec<Finding> {
    let root = Path::new("/");
    let timetable = Timetable::read(root);
    let enable = |unit: &str| format!("systemctl enable --now {unit}");
    let by_cron = |when: &str, command: &str, file: &str| {
        let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        format!("printf '%s\\n' '{path}' '{when} root {command}' >/etc/cron.d/{file}")
    };
    let mut findings = Vec::new();
    if !timetable.has(renews) {
        let unit = RENEWING.into_iter().find(|unit| timetable::knows(root, unit));
        let remedy = unit.map_or_else(|| by_cron("17 3,15 * * *", "certbot -q renew", "certbot"), enable);
        let what = "no enabled timer of systemd and no line of cron here calls 'certbot renew'";
        findings.push(Finding::warning(what, "certificates end when nobody renews them by hand", remedy));
    }
    if !timetable.has(resyncs) {
        let command = format!("{} resync >/dev/null", own_program::path());
        let by_cron = || by_cron("*/10 * * * *", &command, "certcast");
        let remedy = if timetable::knows(root, RESYNCING) { enable(RESYNCING) } else { by_cron() };
        let what = "no enabled timer of systemd and no line of cron here calls 'certcast resync'";
        findings.push(Finding::warning(what, "a server that was away at a renewal stays behind", remedy));
    }
    findings
}

fn renews(line: &str) -> bool {
    let is_snap = |word: &str| word == "certbot.renew";
    let mut words = call::words(line).skip_while(|word| call::name(word) != "certbot" && !is_snap(word));
    words.any(|word| word == "renew" || is_snap(word))
}

fn resyncs(line: &str) -> bool {
    call::calls(line, "resync") && !line.contains("--dry-run")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_known_as_packages_and_people_write_them() {
        for line in [
            "ExecStart=/usr/bin/certbot -q renew --no-random-sleep-on-renew",
            "ExecStart=/usr/bin/certbot renew --noninteractive $PRE_HOOK $POST_HOOK",
            "ExecStart=/usr/bin/snap run --timer=\"00:00~24:00/2\" certbot.renew",
            "0 */12 * * * root test -x /usr/bin/certbot && perl -e 'sleep int(rand(43200))' && certbot -q renew",
        ] {
            assert!(renews(line), "{line}");
        }
        for line in ["", "17 3 * * * root certbot certificates", "renew certbot", "ExecStart=/usr/bin/dehydrated renew"]
        {
            assert!(!renews(line), "{line}");
        }
        assert!(resyncs("*/10 * * * * root /usr/local/bin/certcast --config /etc/certcast/b.toml resync >/dev/null"));
        assert!(!resyncs("0 7 * * * root certcast resync --dry-run") && !resyncs("0 7 * * * root certcast check"));
    }
}
