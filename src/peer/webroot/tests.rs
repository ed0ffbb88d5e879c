use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::stat::Mode;

use super::*;
use crate::peer::policy::Role;

const TOKEN: &str = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJyPCt95vq5Y4";
const PRINT: &str = "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI";

struct Site {
    home: tempfile::TempDir,
    by_name: BTreeMap<Identifier, PathBuf>,
    keep: Duration,
}

impl Site {
    fn new() -> Site {
        let home = tempfile::tempdir().unwrap();
        for dir in ["www", "state", "outside"] {
            fs::create_dir(home.path().join(dir)).unwrap();
        }
        fs::write(home.path().join("outside").join(TOKEN), "precious").unwrap();
        Site { home, by_name: BTreeMap::new(), keep: Duration::from_secs(3600) }
    }

    fn path(&self, rel: &str) -> PathBuf {
        self.home.path().join(rel)
    }

    fn with<R>(&self, act: impl FnOnce(&Webroots<'_>) -> R) -> R {
        self.with_key_for(&[], act)
    }

    fn with_key_for<R>(&self, accounts: &[&str], act: impl FnOnce(&Webroots<'_>) -> R) -> R {
        let (default, state) = (self.path("www"), self.path("state"));
        let accounts = accounts.iter().map(|account| account.parse().unwrap()).collect();
        let grant = Grant { role: Role::Challenge, only: Vec::new(), accounts, allow_force: false };
        let (by_name, keep) = (&self.by_name, self.keep);
        act(&Webroots { default: &default, by_name, state: &state, keep, grant: &grant })
    }

    fn publish(&self) -> Vec<TokenFailure> {
        self.with(|webroots| webroots.publish(&[challenge()]))
    }

    fn withdraw(&self) -> Vec<TokenFailure> {
        self.with(|webroots| webroots.withdraw(&[Withdrawal::of(&challenge())]))
    }

    fn file(&self) -> PathBuf {
        self.path("www/.well-known/acme-challenge").join(TOKEN)
    }

    fn outside_is_untouched(&self) {
        let names: Vec<_> = fs::read_dir(self.path("outside")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, [TOKEN]);
        assert_eq!(fs::read_to_string(self.path("outside").join(TOKEN)).unwrap(), "precious");
    }
}

fn challenge() -> Challenge {
    Challenge::new("a.example".parse().unwrap(), TOKEN.parse().unwrap(), &format!("{TOKEN}.{PRINT}")).unwrap()
}

#[test]
fn a_challenge_is_readable_for_everybody_and_gone_after_withdrawal() {
    let site = Site::new();
    assert!(site.publish().is_empty());
    assert_eq!(fs::read_to_string(site.file()).unwrap(), challenge().validation());
    assert_eq!(fs::metadata(site.file()).unwrap().permissions().mode() & 0o777, 0o644);
    assert!(site.publish().is_empty(), "a second time");
    assert!(site.withdraw().is_empty());
    assert!(!site.file().exists());
    assert!(site.withdraw().is_empty(), "a second time");
    assert_eq!(fs::read_dir(site.path("state/challenges")).unwrap().count(), 0);
}

#[test]
fn a_missing_webroot_is_named_with_what_to_do() {
    let site = Site::new();
    fs::remove_dir(site.path("www")).unwrap();
    let failures = site.publish();
    let cause = &failures[0].cause;
    assert!(cause.contains("/www") && cause.contains("node.webroot"), "{cause}");
}

#[test]
fn a_webroot_may_itself_be_a_link() {
    let site = Site::new();
    fs::rename(site.path("www"), site.path("real")).unwrap();
    symlink(site.path("real"), site.path("www")).unwrap();
    assert!(site.publish().is_empty());
    let file = site.path("real/.well-known/acme-challenge").join(TOKEN);
    assert!(file.exists());
    // The next release goes live before the challenge is withdrawn.
    fs::create_dir(site.path("next")).unwrap();
    fs::remove_file(site.path("www")).unwrap();
    symlink(site.path("next"), site.path("www")).unwrap();
    assert!(site.withdraw().is_empty());
    assert!(!file.exists());
}

#[test]
fn planted_links_lead_nowhere() {
    for planted in [".well-known", ".well-known/acme-challenge"] {
        let site = Site::new();
        let at = site.path("www").join(planted);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        symlink(site.path("outside"), &at).unwrap();
        fs::create_dir_all(site.path("outside")).unwrap();
        assert_eq!(site.publish().len(), 1, "{planted}");
        assert_eq!(site.withdraw().len(), 1, "{planted}");
        site.outside_is_untouched();
    }
}

#[test]
fn a_planted_token_of_any_kind_neither_hangs_nor_leads_outside() {
    for kind in ["link", "pipe", "directory"] {
        let site = Site::new();
        fs::create_dir_all(site.file().parent().unwrap()).unwrap();
        match kind {
            "link" => symlink(site.path("outside").join(TOKEN), site.file()).unwrap(),
            "pipe" => nix::unistd::mkfifo(&site.file(), Mode::S_IRWXU).unwrap(),
            _ => fs::create_dir(site.file()).unwrap(),
        }
        let failures = site.publish();
        assert_eq!(failures.is_empty(), kind != "directory", "{kind}: {failures:?}");
        site.outside_is_untouched();
        assert_eq!(site.withdraw().is_empty(), kind != "directory", "{kind}");
        site.outside_is_untouched();
    }
}

#[test]
fn another_clients_challenge_is_neither_written_over_nor_removed() {
    let site = Site::new();
    fs::create_dir_all(site.file().parent().unwrap()).unwrap();
    let theirs = format!("{TOKEN}.{}", PRINT.replace('9', "8"));
    fs::write(site.file(), &theirs).unwrap();
    let failures = site.publish();
    assert!(failures[0].cause.ends_with("is another ACME client's: it has another validation"), "{failures:?}");
    assert!(site.withdraw().is_empty(), "what was not placed is no failure");
    assert_eq!(fs::read_to_string(site.file()).unwrap(), theirs);
    // Another node placed the same, in a webroot that they share.
    fs::write(site.file(), challenge().validation()).unwrap();
    assert!(site.publish().is_empty() && site.withdraw().is_empty());
    assert!(!site.file().exists());
}

#[test]
fn a_directory_swapped_for_a_link_in_a_loop_never_leads_outside() {
    let site = Site::new();
    assert!(site.publish().is_empty());
    let acme = site.path("www/.well-known/acme-challenge");
    let aside = site.path("www/.well-known/aside");
    let link = site.path("www/.well-known/link");
    symlink(site.path("outside"), &link).unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                _ = fs::rename(&acme, &aside).and_then(|()| fs::rename(&link, &acme));
                _ = fs::rename(&acme, &link).and_then(|()| fs::rename(&aside, &acme));
            }
        });
        for _ in 0..500 {
            site.publish();
            site.withdraw();
        }
        stop.store(true, Ordering::Relaxed);
    });
    site.outside_is_untouched();
}

#[test]
fn only_what_the_ledger_knows_is_removed_and_old_age_removes_it() {
    let mut site = Site::new();
    assert!(site.publish().is_empty());
    let stranger = site.file().with_file_name("a-stranger-s-challenge-file");
    fs::write(&stranger, "x").unwrap();
    let entry = site.path("state/challenges").join(TOKEN);
    let old = fs::read_to_string(&entry).unwrap();
    let at = serde_json::from_str::<Entry>(&old).unwrap().at;
    fs::write(&entry, old.replace(&at.to_string(), &(at - 7200).to_string())).unwrap();
    site.keep = Duration::from_secs(9000);
    assert!(site.with(|webroots| webroots.withdraw(&[])).is_empty());
    assert!(site.file().exists(), "younger than the limit");
    site.keep = Duration::from_secs(3600);
    assert!(site.with(|webroots| webroots.withdraw(&[])).is_empty());
    assert!(!site.file().exists() && !entry.exists() && stranger.exists());
}

#[test]
fn a_file_that_the_ledger_does_not_know_is_not_taken_for_a_challenge() {
    let site = Site::new();
    fs::create_dir_all(site.file().parent().unwrap()).unwrap();
    fs::write(site.file(), "a stranger's").unwrap();
    assert!(site.withdraw().is_empty());
    assert_eq!(fs::read_to_string(site.file()).unwrap(), "a stranger's");
}

#[test]
fn a_damaged_record_still_leads_to_its_file() {
    let site = Site::new();
    assert!(site.publish().is_empty());
    fs::write(site.path("state/challenges").join(TOKEN), "{torn").unwrap();
    assert!(site.withdraw().is_empty());
    assert!(!site.file().exists());
}

#[test]
fn a_challenge_follows_a_changed_webroot() {
    let mut site = Site::new();
    assert!(site.publish().is_empty());
    let other = site.path("outside");
    site.by_name.insert("a.example".parse().unwrap(), other.clone());
    assert!(site.publish().is_empty());
    assert!(!site.file().exists() && other.join(".well-known/acme-challenge").join(TOKEN).exists());
}

#[test]
fn a_record_without_a_file_is_forgotten() {
    let site = Site::new();
    assert!(site.publish().is_empty());
    fs::remove_file(site.file()).unwrap();
    assert!(site.withdraw().is_empty());
    assert!(!site.path("state/challenges").join(TOKEN).exists());
}

#[test]
fn a_damaged_record_ages_by_its_file_and_goes_with_its_challenge() {
    let site = Site::new();
    assert!(site.publish().is_empty());
    let entry = site.path("state/challenges").join(TOKEN);
    fs::write(&entry, "{torn").unwrap();
    assert!(site.with(|webroots| webroots.withdraw(&[])).is_empty());
    assert!(site.file().exists() && entry.exists(), "younger than the limit");
    let then = std::time::SystemTime::now() - Duration::from_secs(7200);
    fs::File::options().write(true).open(&entry).unwrap().set_modified(then).unwrap();
    assert!(site.with(|webroots| webroots.withdraw(&[])).is_empty());
    assert!(!site.file().exists() && !entry.exists());
}

#[test]
fn a_full_ledger_says_where_and_takes_known_tokens_only() {
    let site = Site::new();
    assert!(site.publish().is_empty());
    let ledger = site.path("state/challenges");
    for number in 1..1000 {
        fs::write(ledger.join(format!("{number:043}")), "").unwrap();
    }
    assert!(site.publish().is_empty(), "known already");
    let token = "x".repeat(43);
    let other =
        Challenge::new("a.example".parse().unwrap(), token.parse().unwrap(), &format!("{token}.{PRINT}")).unwrap();
    let failures = site.with(|webroots| webroots.publish(&[other]));
    let cause = &failures[0].cause;
    assert!(cause.contains("/state/challenges") && cause.contains("challenge.keep_tokens"), "{cause}");
    assert_eq!(fs::read_dir(ledger).unwrap().count(), 1000);
}

#[test]
fn another_nodes_writer_in_a_shared_webroot_keeps_its_file() {
    let site = Site::new();
    assert!(site.publish().is_empty());
    let at_work = site.file().with_file_name(".certcast-0123456789abcdef.tmp");
    fs::write(&at_work, "").unwrap();
    assert!(site.withdraw().is_empty());
    assert!(at_work.exists());
}

#[test]
fn another_accounts_challenge_is_neither_removed_nor_written_over() {
    let site = Site::new();
    let (theirs, ours) = ("x".repeat(43), [PRINT]);
    let stolen = Challenge::new("a.example".parse().unwrap(), TOKEN.parse().unwrap(), &format!("{TOKEN}.{theirs}"));
    let (stolen, entry) = (stolen.unwrap(), site.path("state/challenges").join(TOKEN));
    assert!(site.publish().is_empty());
    let withdraw = |accounts: &[&str]| {
        let withdrawal = Withdrawal::of(&challenge());
        site.with_key_for(accounts, |webroots| webroots.withdraw(&[withdrawal]))
    };
    let whole = fs::read(&entry).unwrap();
    for (record, why) in [(whole.as_slice(), format!("--account {PRINT}")), (b"{torn", "damaged".to_owned())] {
        fs::write(&entry, record).unwrap();
        let failures = [
            withdraw(&[&theirs]),
            site.with_key_for(&[&theirs], |webroots| webroots.publish(std::slice::from_ref(&stolen))),
        ];
        for failures in failures {
            assert!(failures[0].cause.contains(&why), "{failures:?}");
        }
        assert_eq!(fs::read_to_string(site.file()).unwrap(), challenge().validation());
    }
    fs::write(&entry, whole).unwrap();
    assert!(withdraw(&ours).is_empty());
    assert!(!site.file().exists() && !entry.exists());
}
