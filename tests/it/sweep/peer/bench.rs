//! One peer on which transactions are cut, again and again from the same start.

use std::collections::hash_map::DefaultHasher;
use std::fmt::Write as _;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use certcast::model::names::{LineageName, NodeName};
use certcast::model::outcome::Outcome;
use certcast::wire::message::{Ended, Offer, Ownership, Reply, Request, TreeAttributes, Wishes};
use certcast::wire::transaction_id::TransactionId;
use certcast::wire::{banner, frame};
use nix::errno::Errno;

use super::scenario::Scenario;
use super::verdict::judge;
use crate::lab::{Bundle, Command, Finished, Host, Lab, until};
use crate::sweep::bench::{Bench, End, Run};
use crate::sweep::cut::{Cut, RENAMEAT2};
use crate::sweep::tracer::Rules;
use crate::sweep::victim::{self, HELD};
use crate::sweep::{glance, state};

/// The lineage.
pub const NAME: &str = "www.site.test";
/// The one that goes with it, where there is one.
pub const OTHER: &str = "shop.site.test";
/// Where its joined file is.
pub const JOINED: &str = "/etc/joined/www.site.test.pem";
/// certcast's state.
pub const STATE: &str = "/var/lib/certcast";
/// The journal of a transaction under way.
pub const JOURNAL: &str = "/var/lib/certcast/transaction.journal";
/// Below [`STATE`].
const NOTES: [&str; 4] = ["transaction.lock", "brought", "outcomes", "settled"];
const REFUSE: &str = "/etc/sweep/refuse";
const CONFIG: &str = "/etc/certcast/config.toml";
const NGINX_LOG: &str = "/var/log/nginx/error.log";

/// The programs that are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// `certcast receive`, with a whole transaction on its input.
    Receive,
    /// `certcast recover`.
    Recover,
    /// A script that unlinks and links anew.
    Naive,
}

/// The peer.
pub struct Peer {
    lab: Lab,
    /// What is to be shown to it.
    pub scenario: Scenario,
    victim: Victim,
    /// What is moved.
    pub lineages: Vec<Lineage>,
}

/// One lineage.
#[derive(Clone)]
pub struct Lineage {
    /// Its name, and the one that it is for.
    pub name: &'static str,
    /// Version 1.
    pub old: Bundle,
    /// Version 2.
    pub new: Bundle,
}

impl Peer {
    /// Raises it with the two versions that all benches of a scenario share.
    pub fn raise(scenario: Scenario, victim: Victim, versions: &OnceLock<Vec<Lineage>>) -> Peer {
        let lab = Lab::raise().host("web1").without_configuration().up();
        let names = if scenario.together { &[NAME, OTHER][..] } else { &[NAME] };
        let issue = |name| Lineage { name, old: lab.bundle(&[name]), new: lab.bundle(&[name]) };
        let lineages = versions.get_or_init(|| names.iter().copied().map(issue).collect()).clone();
        let bench = Peer { lab, scenario, victim, lineages };
        let host = bench.host();
        let reload = if scenario.reload_fails && !scenario.second {
            r#"["sh", "/etc/sweep/reload"]"#
        } else {
            r#"["nginx", "-s", "reload"]"#
        };
        let joined = "joined = \"/etc/joined/{lineage}.pem\"\n";
        let more = match scenario {
            Scenario { joined: true, .. } => joined.to_owned(),
            Scenario { second: true, .. } => format!(
                "[[service]]\nname = \"second\"\ntest = [\"test\", \"-e\", \"{JOINED}\"]\n\
                 reload = [\"sh\", \"/etc/sweep/second\"]\nprobe = []\n{joined}"
            ),
            _ => String::new(),
        };
        host.configure(&format!(
            "[node]\nname = \"web1\"\n[[service]]\nname = \"nginx\"\ntest = [\"nginx\", \"-t\"]\nreload = {reload}\n\
             probe = [\"{}:443\"]\n{more}",
            host.v4()
        ));
        let shows_new =
            format!("\"$(readlink /etc/letsencrypt/live/{NAME}/cert.pem)\" = ../../archive/{NAME}/cert2.pem");
        let refuse = format!("if [ -e {REFUSE} ] && [ {shows_new} ]; then echo refused; exit 1; fi\n");
        host.write("/etc/sweep/reload", format!("{refuse}exec nginx -s reload\n"));
        host.write("/etc/sweep/second", refuse);
        victim::prepare(host);
        host.write("/etc/sweep/naive", naive());
        for (file, content) in bench.lineages[0].new.files() {
            host.write(&format!("/etc/sweep/{file}2.pem"), content);
            host.chmod(&format!("/etc/sweep/{file}2.pem"), if file == "privkey" { 0o600 } else { 0o644 });
        }
        for name in names {
            host.configure_site(name, &[name]);
        }
        host.mkdir("/etc/joined");
        if scenario.joined {
            host.write(
                "/etc/nginx/conf.d/joined.conf",
                format!("server {{ listen 444 ssl; ssl_certificate {JOINED}; ssl_certificate_key {JOINED}; }}\n"),
            );
        }
        if scenario.first {
            host.stop_nginx();
        }
        bench.reset();
        if !scenario.first {
            host.reload_nginx();
            host.await_listener(443);
            host.write(NGINX_LOG, "");
        }
        bench
    }

    /// The peer itself.
    pub fn host(&self) -> &Host {
        &self.lab["web1"]
    }

    /// The leaf served for a name.
    pub fn served(&self, name: &str) -> Option<String> {
        self.lab.served_leaf(self.host().v4(), name)
    }

    /// As before the transaction: files and service.
    fn reset(&self) {
        let host = self.host();
        for directory in ["/etc/letsencrypt", STATE] {
            host.remove(directory);
            host.mkdir(directory);
        }
        host.chmod(STATE, 0o700);
        if self.scenario.reload_fails {
            host.write(REFUSE, "");
        }
        if self.scenario.joined {
            host.remove("/etc/joined");
            host.write(JOINED, joined(&self.lineages[0].old));
            host.chmod(JOINED, 0o600);
        }
        if self.scenario.second {
            host.remove("/etc/joined");
            host.mkdir("/etc/joined");
        }
        let running = self.is_running();
        let reloaded = self.host().nginx_reloads() > 0;
        if self.scenario.first {
            if running {
                host.stop_nginx();
            }
            return;
        }
        for lineage in &self.lineages {
            host.install(lineage.name, 1, &lineage.old);
        }
        if self.scenario.adopted {
            for directory in ["live", "archive"] {
                host.remove(&format!("/etc/letsencrypt/{directory}"));
            }
            for (part, content) in self.lineages[0].old.files() {
                host.write(&format!("/etc/letsencrypt/live/{NAME}/{part}.pem"), content);
            }
            host.chmod(&format!("/etc/letsencrypt/live/{NAME}/privkey.pem"), 0o600);
        }
        if !running && !host.listens(80) {
            host.start_nginx();
        }
        if reloaded {
            for lineage in &self.lineages {
                glance::bring_back(host, lineage.name, &lineage.old);
            }
            host.write(NGINX_LOG, "");
        }
        if self.scenario.own {
            for lineage in &self.lineages {
                host.install(lineage.name, 2, &lineage.new);
            }
        }
    }

    /// The leafs served now; none where nginx was not even told to serve others.
    fn served_since_reset(&self) -> Vec<Option<Vec<u8>>> {
        let shown = |lineage: &Lineage| glance::served(self.host(), lineage.name);
        if self.host().nginx_reloads() == 0 { Vec::new() } else { self.lineages.iter().map(shown).collect() }
    }

    /// Whether nginx runs.
    pub fn is_running(&self) -> bool {
        self.host().listens(443)
    }

    /// From now on the service does as it is told.
    pub fn let_reload(&self) {
        if self.host().exists(REFUSE) {
            self.host().remove(REFUSE);
        }
    }

    /// Runs a victim to its end, and waits for the programs that it leaves behind.
    pub fn run_victim(&self, victim: Victim, transaction: char, cut: Option<&Cut>, is_followed: bool) -> Run<Finished> {
        let words: &[&str] = match victim {
            Victim::Receive if self.scenario.own => &["certcast", "--config", CONFIG, "receive", "--role", "own"],
            Victim::Receive => &["certcast", "--config", CONFIG, "receive", "--role", "deploy"],
            Victim::Recover => &["certcast", "--config", CONFIG, "recover"],
            Victim::Naive => &["sh", "/etc/sweep/naive"],
        };
        let input = if victim == Victim::Receive { self.stream(transaction) } else { Vec::new() };
        let never = self.scenario.no_exchange.then_some((RENAMEAT2, Errno::EINVAL));
        let ready = |command: Command| command.args(words).input(input);
        let run = if is_followed || never.is_some() {
            let rules = Rules { never, cut: cut.cloned(), is_blind: self.scenario.blind };
            let (ran, seen) = victim::run(self.host(), ready(self.host().command([HELD])), &rules);
            Run { calls: seen.calls, is_cut: seen.is_cut, unwritten: seen.unwritten, ran }
        } else {
            Run {
                calls: Vec::new(),
                is_cut: false,
                unwritten: Vec::new(),
                ran: ready(self.host().command(["env"])).run(),
            }
        };
        until("what it started has ended", || {
            let words: &[&str] = if self.scenario.reload_fails {
                &["certcast", "nginx -", "/etc/sweep/reload", "/etc/sweep/second"]
            } else {
                &["certcast", "nginx -"]
            };
            words.iter().all(|words| self.host().processes(words).is_empty())
        });
        run
    }

    fn stream(&self, transaction: char) -> Vec<u8> {
        let transaction: TransactionId = transaction.to_string().repeat(32).try_into().unwrap();
        let own = |mode| Ownership { uid: 0, gid: 0, mode };
        let offer = |lineage: &Lineage| Offer {
            lineage: lineage.name.parse::<LineageName>().unwrap(),
            number: 2.try_into().unwrap(),
            files: files(&lineage.new),
            attributes: TreeAttributes { directory: own(0o755), key: own(0o600), public: own(0o644) },
            keep: vec![1.try_into().unwrap(), 2.try_into().unwrap()],
            refuse_missing_names: false,
            wishes: Wishes { adopt: self.scenario.adopted, ..Wishes::default() },
        };
        let offers = self.lineages.iter().map(offer).collect();
        let node = "primary".parse::<NodeName>().unwrap();
        let mut stream = Vec::new();
        banner::write(&mut stream).unwrap();
        for request in [
            Request::Hello { version: "sweep".into(), node, budget_ms: 60_000 },
            Request::Prepare { transaction: transaction.clone(), budget_ms: 60_000, offers },
            Request::Commit { transaction },
        ] {
            stream.extend_from_slice(&frame::encode(&request).unwrap());
        }
        stream
    }
}

/// What was told of a lineage.
pub struct Told {
    /// Which.
    pub lineage: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether it was no part of the transaction.
    pub is_apart: bool,
}

/// How it ended for each lineage, as the program told before its end, if it did.
pub fn told(finished: &Finished) -> Vec<Told> {
    let mut output = finished.stdout.as_slice();
    let mut told: Vec<Told> = Vec::new();
    if banner::read(&mut output).is_err() {
        return told;
    }
    while let Ok(reply) = frame::read::<Reply>(&mut output) {
        let (ended, is_apart) = match reply {
            Reply::Prepared { apart, .. } => (apart, true),
            Reply::Concluded { lineages } => (lineages, false),
            _ => continue,
        };
        let one = |Ended { lineage, outcome }: Ended| Told { lineage: lineage.to_string(), outcome, is_apart };
        told.extend(ended.into_iter().map(one));
    }
    told
}

impl Bench for Peer {
    type Ran = Finished;

    fn begin(&self, crash: Option<&Cut>) {
        self.reset();
        if let Some(crash) = crash {
            self.run_victim(Victim::Receive, '1', Some(crash), true);
        }
    }

    fn run(&self, crash: Option<&Cut>, cut: Option<&Cut>) -> Run<Finished> {
        self.run_victim(if crash.is_some() { Victim::Recover } else { self.victim }, '1', cut, true)
    }

    fn end(&self, ran: &Finished) -> End {
        let host = self.host();
        let mut hasher = DefaultHasher::new();
        state::hash(host, &["/etc/letsencrypt", STATE, "/etc/joined"], &mut hasher);
        let told: Vec<_> = told(ran).iter().map(|told| std::mem::discriminant(&told.outcome)).collect();
        (host.nginx_reloads(), self.served_since_reset(), self.is_running(), told).hash(&mut hasher);
        let journal = if host.exists(JOURNAL) { host.text(JOURNAL) } else { String::new() };
        let mut records = journal.lines().filter_map(|line| line.split("\"record\":\"").nth(1)?.split('"').next());
        let phase = records.next_back().map(str::to_owned).filter(|_| !self.scenario.no_journal);
        let is_moving = phase.as_ref().is_some_and(|phase| ["switching", "undoing"].contains(&phase.as_str()));
        End { key: hasher.finish(), is_moving, phase }
    }

    /// What did not come onto the disk before the switch is nothing to switch to.
    fn claims_wrongly(&self, run: &Run<Finished>) -> Option<String> {
        // The lock's number, what is noted for messages alone, and what is noted when all is done hold no certificate up.
        let is_note = |path: &&PathBuf| NOTES.iter().any(|note| path.starts_with(Path::new(STATE).join(note)));
        let unwritten = run.unwritten.iter().find(|path| !is_note(path))?;
        let is_applied = |told: &Told| matches!(told.outcome, Outcome::Applied { .. });
        let applied = told(&run.ran).iter().any(is_applied);
        applied.then(|| format!("it said applied, and {} may not be on the disk", unwritten.display()))
    }

    fn judge(&self, ran: &Finished) -> Vec<String> {
        judge(self, &told(ran))
    }
}

/// Chain and key in one.
pub fn joined(bundle: &Bundle) -> Vec<u8> {
    [bundle.fullchain.as_slice(), &bundle.privkey].concat()
}

fn files(bundle: &Bundle) -> certcast::model::bundle::PemFiles {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    certcast::model::bundle::PemFiles {
        cert: text(&bundle.cert),
        privkey: text(&bundle.privkey).into(),
        chain: text(&bundle.chain),
        fullchain: text(&bundle.fullchain),
    }
}

fn naive() -> String {
    let mut script = format!("set -e\ncd /etc/letsencrypt/live/{NAME}\n");
    for part in ["cert", "privkey", "chain", "fullchain"] {
        let target = format!("../../archive/{NAME}/{part}2.pem");
        _ = writeln!(script, "cp -p /etc/sweep/{part}2.pem {target}");
    }
    for part in ["cert", "privkey", "chain", "fullchain"] {
        _ = writeln!(script, "rm {part}.pem\nln -s ../../archive/{NAME}/{part}2.pem {part}.pem");
    }
    script + "nginx -t\nnginx -s reload\n"
}
