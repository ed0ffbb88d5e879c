//! Power cuts: what is on the disk at each moment of a transaction is copied, mounted again, recovered and judged.
//!
//! The receiver is stopped by strace after each call that writes, and the disk copied as a power cut would leave it (see
//! `lab/disk.rs`). Each moment is looked at twice: as it is, and after another program has synced a file of its own, which
//! makes ext4 commit all names and sizes, but no content that was not synced.

use std::collections::HashSet;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::lab::{Bundle, Command, Finished, Host, Image, Lab, until};

const NAME: &str = "www.site.test";
const TREE: &str = "/etc/letsencrypt";
const STATE: &str = "/var/lib/certcast";
const ON_DISK: [&str; 2] = [TREE, STATE];
const CALLS: &str = "/var/log/calls";
const PARTS: [&str; 4] = ["cert", "chain", "fullchain", "privkey"];
/// Every call of a receiver after which a disk may differ; opening is followed by one of these.
const WRITING: &str =
    "write,ftruncate,fchmod,fchown,mkdir,mkdirat,symlinkat,linkat,rename,renameat,renameat2,unlink,unlinkat";
const SYNCING: &str = "fsync,fdatasync";

/// What the transaction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Story {
    /// From version 1 to 2.
    Renewal,
    /// Nothing was there.
    First,
    /// From 1 to 2 and back, for the reload fails.
    RolledBack,
}

/// Which moments are looked at.
#[derive(Clone, Copy, Debug)]
struct Looks {
    /// Whether another program syncs at each of them.
    another_syncs: bool,
    /// Every n-th of those.
    every: usize,
}

/// A peer that loses its power, and another of the same configuration on which what was left is looked at.
struct Bench {
    lab: Lab,
    story: Story,
    old: Bundle,
    new: Bundle,
}

/// What is left of one moment.
struct Moment {
    call: String,
    said: String,
    image: Image,
}

impl Bench {
    fn raise(story: Story) -> Bench {
        let lab = Lab::raise().host("web1").host("judge").without_configuration().up();
        let (old, new) = (lab.bundle(&[NAME]), lab.bundle(&[NAME]));
        let refuses = format!("readlink {TREE}/live/{NAME}/cert.pem | grep -q cert2 && exit 1; exec nginx -s reload");
        let reload = if story == Story::RolledBack { refuses } else { "exec nginx -s reload".to_owned() };
        for host in lab.hosts() {
            host.configure(&format!(
                "[node]\nname = \"{}\"\n[[service]]\nname = \"nginx\"\ntest = [\"nginx\", \"-t\"]\n\
                 reload = [\"sh\", \"-c\", \"{reload}\"]\nprobe = [\"{}:443\"]\n",
                host.name(),
                host.v4()
            ));
        }
        let (peer, judge) = (&lab["web1"], &lab["judge"]);
        judge.stop_nginx();
        // The peer's own address, for what the journal says of it; nothing listens there now.
        judge.run(["ip", "addr", "add", &format!("{}/32", peer.v4()), "dev", "lo"]).ok();
        judge.configure_site(NAME, &[NAME]);
        peer.put_on_disk(&ON_DISK);
        if story != Story::First {
            peer.install(NAME, 1, &old);
            peer.serve(NAME, &[NAME]);
        }
        peer.sync_disk();
        Bench { lab, story, old, new }
    }

    fn judge(&self) -> &Host {
        &self.lab["judge"]
    }

    /// The moments of one transaction, without those that left the same as one before.
    fn moments(&self, looks: Looks, with_syncs: bool) -> (Vec<Moment>, Finished) {
        let peer = &self.lab["web1"];
        let strace = strace(with_syncs);
        let words: Vec<&str> = strace.iter().map(String::as_str).collect();
        moments(peer, peer.receiving_under(&words, NAME, 2, &self.new, '1'), looks)
    }

    /// The same of a `recover` on what a moment left.
    fn moments_of_recovery(&self, left: &Image, looks: Looks) -> Vec<Moment> {
        let judge = self.judge();
        judge.insert_disk(left, &ON_DISK);
        moments(judge, judge.command(strace(true)).args(["certcast", "recover"]), looks).0
    }

    /// Reboots with what was left, recovers before nginx would start, and says what is wrong.
    fn faults(&self, moment: &Moment) -> Vec<String> {
        let judge = self.judge();
        judge.insert_disk(&moment.image, &ON_DISK);
        let mut faults = Vec::new();
        let recovered = judge.run(["certcast", "recover"]);
        if !recovered.status.success() {
            faults.push(format!("recover fails: {recovered}"));
        }
        let number = self.shown(&mut faults);
        let promised = match (&moment.said, self.story) {
            (said, _) if said.contains(r#""outcome":"applied""#) => number == Some(2),
            (said, _) if said.contains(r#""outcome":"rolled-back""#) => number == Some(1),
            (_, Story::First) => number != Some(1),
            (_, Story::RolledBack) => number == Some(1),
            (_, Story::Renewal) => number.is_some(),
        };
        if !promised {
            faults.push(format!("it shows {number:?} and had said {:?}", moment.said));
        }
        for fault in &mut faults {
            *fault = format!("power cut after {}: {fault}", moment.call);
        }
        faults
    }

    /// Which version the links show, with what is wrong with it.
    fn shown(&self, faults: &mut Vec<String>) -> Option<u32> {
        let (judge, live, archive) = (self.judge(), format!("{TREE}/live/{NAME}"), format!("{TREE}/archive/{NAME}"));
        let links: Vec<_> = PARTS.map(|part| format!("{live}/{part}.pem")).to_vec();
        let target = |link: &String| judge.exists(link).then(|| judge.target(link).display().to_string());
        let targets: Vec<_> = links.iter().map(target).collect();
        let shows = |number: u32| {
            let target = |part| Some(format!("../../archive/{NAME}/{part}{number}.pem"));
            targets.iter().zip(PARTS).all(|(found, part)| *found == target(part))
        };
        let number = (1..=2).find(|number| shows(*number));
        if number.is_none() && judge.exists(&live) {
            faults.push(format!("the links point to {targets:?}"));
        }
        let numbers = if self.story == Story::First { 2..=number.unwrap_or(0) } else { 1..=number.unwrap_or(0) };
        let mut there: Vec<_> = numbers.clone().flat_map(|n| PARTS.map(|part| format!("{part}{n}.pem"))).collect();
        there.sort();
        if judge.list(&archive) != there {
            faults.push(format!("the archive holds {:?}", judge.list(&archive)));
        }
        for number in numbers {
            let bundle = if number == 1 { &self.old } else { &self.new };
            for (part, content) in bundle.files() {
                let path = format!("{archive}/{part}{number}.pem");
                let found = if judge.exists(&path) { judge.read(&path) } else { continue };
                if found != content {
                    faults.push(format!("{path} has {} bytes and not its {}", found.len(), content.len()));
                }
            }
        }
        for (directory, known) in [
            (format!("{TREE}/live"), &["README", NAME][..]),
            (format!("{TREE}/archive"), &[NAME]),
            (STATE.to_owned(), &["brought", "outcomes", "transaction.lock", "written"]),
            (format!("{STATE}/brought"), &[NAME]),
            (format!("{STATE}/outcomes"), &["last.json"]),
            (format!("{STATE}/written"), &[NAME]),
        ] {
            let strange: Vec<_> =
                judge.list(&directory).into_iter().filter(|name| !known.contains(&name.as_str())).collect();
            if !strange.is_empty() {
                faults.push(format!("left over in {directory}: {strange:?}"));
            }
        }
        if number.is_some() {
            let pair = format!(
                "[ \"$(openssl x509 -in {live}/fullchain.pem -noout -pubkey)\" = \
                 \"$(openssl pkey -in {live}/privkey.pem -pubout)\" ] && exec nginx -t"
            );
            let said = judge.run(["sh", "-c", &pair]);
            if !said.status.success() {
                faults.push(format!("nginx would not start: {said}"));
            }
        }
        number
    }
}

/// The words that stop a program after each call that writes or syncs; without syncs those are said to be done and are not.
fn strace(with_syncs: bool) -> Vec<String> {
    let trace = format!("trace={WRITING},{SYNCING}");
    let syncs = format!("inject={SYNCING}:{}signal=STOP", if with_syncs { "" } else { "retval=0:" });
    let writes = format!("inject={WRITING}:signal=STOP");
    ["strace", "-o", CALLS, "-e", &trace, "-e", &writes, "-e", &syncs].map(str::to_owned).to_vec()
}

/// Runs a program that strace stops, and copies the disk each time.
fn moments(host: &Host, command: Command, looks: Looks) -> (Vec<Moment>, Finished) {
    host.write(CALLS, "");
    let mut running = command.spawn();
    let (mut seen, mut images, mut moments) = (0, HashSet::new(), Vec::new());
    loop {
        let mut calls = String::new();
        until("it is stopped or ends", || {
            calls = String::from_utf8_lossy(&host.read(CALLS)).into_owned();
            calls.matches("--- stopped by SIGSTOP ---").count() > seen || !running.is_running()
        });
        if calls.matches("--- stopped by SIGSTOP ---").count() <= seen {
            break;
        }
        seen += 1;
        if seen % looks.every == 0 {
            if looks.another_syncs {
                host.sync_another_file();
            }
            let image = host.power_cut();
            if images.insert(image.clone()) {
                let call = calls.lines().rev().find(|line| !line.starts_with("---")).unwrap_or_default();
                let call = format!("{call} (call {seen}{})", if looks.another_syncs { ", another syncs" } else { "" });
                moments.push(Moment { call, said: running.stdout_so_far(), image });
            }
        }
        // Asked for each time: strace has tried something out with a child of its own before.
        kill(child_of(running.pid()), Signal::SIGCONT).unwrap();
    }
    (moments, running.wait())
}

fn child_of(parent: Pid) -> Pid {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let mut child = None;
    until("strace starts it", || {
        let children = std::fs::read_to_string(&path).unwrap_or_default();
        child = children.split_whitespace().next().and_then(|word| word.parse().ok()).map(Pid::from_raw);
        child.is_some()
    });
    child.unwrap()
}

const PLAIN: Looks = Looks { another_syncs: false, every: 1 };

#[test]
fn a_power_cut_at_a_sample_of_moments_of_a_renewal_leaves_a_peer_whole() {
    for looks in [PLAIN, Looks { another_syncs: true, every: 11 }] {
        let bench = Bench::raise(Story::Renewal);
        let (moments, ended) = bench.moments(looks, true);
        assert!(ended.stdout().contains(r#""outcome":"applied""#), "{ended}");
        assert!(moments.len() > 5, "{} moments", moments.len());
        let faults: Vec<_> = moments.iter().flat_map(|moment| bench.faults(moment)).collect();
        assert!(faults.is_empty(), "{faults:#?}");
    }
}

/// The test of the test: with syncs that do nothing, the same looks find torn files and broken promises.
#[test]
fn the_power_cuts_catch_a_receiver_that_does_not_sync() {
    let bench = Bench::raise(Story::Renewal);
    let (moments, ended) = bench.moments(Looks { another_syncs: true, every: 13 }, false);
    assert!(ended.stdout().contains(r#""outcome":"applied""#), "{ended}");
    let faults: Vec<_> = moments.iter().flat_map(|moment| bench.faults(moment)).collect();
    assert!(faults.iter().any(|fault| fault.contains("has 0 bytes")), "{faults:#?}");

    // Nobody else syncs: then all of it is lost, and the word that it was done was not true.
    let bench = Bench::raise(Story::Renewal);
    let (_, ended) = bench.moments(PLAIN, false);
    let end = Moment { call: "its end".into(), said: ended.stdout(), image: bench.lab["web1"].power_cut() };
    let faults = bench.faults(&end);
    assert!(faults.iter().any(|fault| fault.contains("it shows Some(1) and had said")), "{faults:#?}");
}

#[test]
#[ignore = "takes minutes: run by ./tests/power-cuts"]
#[expect(clippy::print_stderr, reason = "the figures are what it is run for")]
fn a_power_cut_at_any_moment_of_any_transaction_and_of_its_recovery_leaves_a_peer_whole() {
    let (mut looked_at, mut faults) = (0, Vec::new());
    for story in [Story::Renewal, Story::RolledBack, Story::First] {
        for looks in [PLAIN, Looks { another_syncs: true, every: 1 }] {
            let bench = Bench::raise(story);
            let (moments, _) = bench.moments(looks, true);
            assert!(moments.len() > 5, "{story:?}, {looks:?}: {} moments", moments.len());
            let (mut again, before) = (0, faults.len());
            for (index, moment) in moments.iter().enumerate() {
                faults.extend(bench.faults(moment));
                if index % 5 > 0 {
                    continue;
                }
                for mut cut in bench.moments_of_recovery(&moment.image, Looks { every: 3, ..looks }) {
                    cut.call = format!("{} of recover, after {}", cut.call, moment.call);
                    // Only what the transaction had said is a promise.
                    cut.said.clone_from(&moment.said);
                    faults.extend(bench.faults(&cut));
                    again += 1;
                }
            }
            let (number, found) = (moments.len(), faults.len() - before);
            eprintln!("power cuts: {story:?}, {looks:?}: {number} moments and {again} of a recovery, {found} unsafe");
            looked_at += number + again;
        }
    }
    eprintln!("power cuts: {looked_at} looked at, {} unsafe", faults.len());
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn what_certbot_wrote_is_on_the_disk_before_it_is_sent_and_an_emptied_lineage_is_refused() {
    let (lab, _) = Lab::serving(2, NAME);
    let (primary, peer) = (lab.primary(), &lab["web2"]);
    primary.put_on_disk(&ON_DISK);
    primary.sync_disk();
    let (tree, logins) = (peer.certificates(), peer.logins());

    // certbot never syncs; the power goes before the hook could run.
    lab.issue(NAME, 2, &[NAME]);
    primary.sync_another_file();
    primary.insert_disk(&primary.power_cut(), &ON_DISK);
    assert_eq!(primary.read(&format!("{TREE}/archive/{NAME}/privkey2.pem")), b"", "lost, as it is without a sync");
    lab.deploy(NAME).exits(4).says("is empty");
    lab.resync(&[]).exits(4).says("is empty");
    assert_eq!((peer.certificates(), peer.logins()), (tree, logins));

    // It goes when a peer has just got the bundle.
    let new = lab.issue(NAME, 2, &[NAME]);
    let deploy = lab.deploying(NAME).spawn();
    let archived = format!("{TREE}/archive/{NAME}/privkey2.pem");
    until("the peer has it", || peer.exists(&archived));
    let left = primary.power_cut();
    deploy.wait().exits(0);
    primary.insert_disk(&left, &ON_DISK);
    for (part, content) in new.files() {
        assert_eq!(primary.read(&format!("{TREE}/live/{NAME}/{part}.pem")), content, "{part}");
    }
    lab.resync(&[]).exits(0);
    peer.serves(&lab, NAME, &new);
}
