//! One peer on which transactions are cut, again and again from the same start.

use std::collections::hash_map::DefaultHasher;
use std::fmt::Write as _;
use std::hash::{Hash, Hasher};

use certcast::model::names::{LineageName, NodeName};
use certcast::model::outcome::Outcome;
use certcast::wire::message::{Ownership, Prepare, Reply, Request, TransactionId, TreeAttributes, Wishes};
use certcast::wire::{banner, frame};

use super::cut;
use super::scenario::Scenario;
use crate::lab::{Bundle, Finished, Host, Lab, until};

/// The one lineage.
pub const NAME: &str = "www.site.test";
/// Where its joined file is.
pub const JOINED: &str = "/etc/joined/www.site.test.pem";
/// certcast's state.
pub const STATE: &str = "/var/lib/certcast";
const REFUSE: &str = "/etc/sweep/refuse";
const CONFIG: &str = "/etc/certcast/config.toml";
const NGINX_LOG: &str = "/var/log/nginx/error.log";
const RECORD: &str = "/tmp/record";

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
pub struct Bench {
    lab: Lab,
    /// What is to be shown to it.
    pub scenario: Scenario,
    /// Version 1.
    pub old: Bundle,
    /// Version 2.
    pub new: Bundle,
}

impl Bench {
    /// Raises it.
    pub fn raise(scenario: Scenario) -> Bench {
        let lab = Lab::raise().host("web1").without_configuration().up();
        let (old, new) = (lab.bundle(&[NAME]), lab.bundle(&[NAME]));
        let bench = Bench { lab, scenario, old, new };
        let host = bench.host();
        let reload =
            if scenario.reload_fails { r#"["sh", "/etc/sweep/reload"]"# } else { r#"["nginx", "-s", "reload"]"# };
        let joined = if scenario.joined { "joined = \"/etc/joined/{lineage}.pem\"\n" } else { "" };
        host.configure(&format!(
            "[node]\nname = \"web1\"\n[[service]]\nname = \"nginx\"\ntest = [\"nginx\", \"-t\"]\nreload = {reload}\n\
             probe = [\"{}:443\"]\n{joined}",
            host.v4()
        ));
        let shows_new =
            format!("\"$(readlink /etc/letsencrypt/live/{NAME}/cert.pem)\" = ../../archive/{NAME}/cert2.pem");
        host.write(
            "/etc/sweep/reload",
            format!("if [ -e {REFUSE} ] && [ {shows_new} ]; then echo refused; exit 1; fi\nexec nginx -s reload\n"),
        );
        host.write("/etc/sweep/naive", naive());
        for (file, content) in bench.new.files() {
            host.write(&format!("/etc/sweep/{file}2.pem"), content);
        }
        host.configure_site(NAME, &[NAME]);
        if scenario.joined {
            host.mkdir("/etc/joined");
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

    /// The leaf served for the name.
    pub fn served(&self) -> Option<String> {
        self.lab.served_leaf(self.host().v4(), NAME)
    }

    /// As before the transaction: files and service.
    pub fn reset(&self) {
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
            host.write(JOINED, joined(&self.old));
            host.chmod(JOINED, 0o600);
        }
        let running = self.is_running();
        let reloaded = self.host().nginx_reloads() > 0;
        if reloaded {
            host.write(NGINX_LOG, "");
        }
        if self.scenario.first {
            if running {
                host.stop_nginx();
            }
            return;
        }
        host.install(NAME, 1, &self.old);
        if !running && !host.listens(80) {
            host.start_nginx();
        }
        if reloaded && self.served() != Some(self.old.fingerprint()) {
            host.run(["nginx", "-s", "reload"]).ok();
            // Several in a row: old workers accept for a moment.
            until("the old leaf is served again", || (0..3).all(|_| self.served() == Some(self.old.fingerprint())));
            host.write(NGINX_LOG, "");
        }
    }

    /// The leaf served now; none where nginx was not even told to serve another.
    pub fn served_since_reset(&self) -> Option<String> {
        if self.host().nginx_reloads() == 0 { None } else { self.served() }
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

    /// Runs a victim, under strace or not, to its end, and waits for the programs that it leaves behind.
    pub fn run(&self, strace: Vec<String>, victim: Victim, transaction: char) -> Finished {
        let words: Vec<&str> = match victim {
            Victim::Receive => vec!["certcast", "--config", CONFIG, "receive", "--role", "deploy"],
            Victim::Recover => vec!["certcast", "--config", CONFIG, "recover"],
            Victim::Naive => vec!["sh", "/etc/sweep/naive"],
        };
        let words = strace.into_iter().chain(words.into_iter().map(str::to_owned));
        let input = if victim == Victim::Receive { self.stream(transaction) } else { Vec::new() };
        let finished = self.host().command(words).env("CERTCAST_LOG", "/var/log/certcast.log").input(input).run();
        until("what it started has ended", || {
            let words: &[&str] =
                if self.scenario.reload_fails { &["nginx -", "/etc/sweep/reload"] } else { &["nginx -"] };
            words.iter().all(|words| self.host().processes(words).is_empty())
        });
        finished
    }

    /// Runs a victim and returns the calls it made.
    pub fn record(&self, victim: Victim) -> String {
        self.run(cut::recorded(RECORD, self.scenario.no_exchange), victim, '1');
        String::from_utf8_lossy(&self.host().read(RECORD)).into_owned()
    }

    fn stream(&self, transaction: char) -> Vec<u8> {
        let transaction: TransactionId = transaction.to_string().repeat(32).try_into().unwrap();
        let own = |mode| Ownership { uid: 0, gid: 0, mode };
        let prepare = Prepare {
            transaction: transaction.clone(),
            lineage: NAME.parse::<LineageName>().unwrap(),
            number: 2.try_into().unwrap(),
            files: files(&self.new),
            attributes: TreeAttributes { directory: own(0o755), key: own(0o600), public: own(0o644) },
            keep: vec![1.try_into().unwrap(), 2.try_into().unwrap()],
            refuse_missing_names: false,
            wishes: Wishes::default(),
        };
        let node = "primary".parse::<NodeName>().unwrap();
        let mut stream = Vec::new();
        banner::write(&mut stream).unwrap();
        for request in [
            Request::Hello { version: "sweep".into(), node, budget_ms: 60_000 },
            Request::Prepare(Box::new(prepare)),
            Request::Commit { transaction },
        ] {
            stream.extend_from_slice(&frame::encode(&request).unwrap());
        }
        stream
    }

    /// Everything on the disk that the transaction may have touched; names that are random are left out.
    pub fn state(&self) -> (u64, String) {
        let host = self.host();
        let mut hash = DefaultHasher::new();
        for directory in ["/etc/letsencrypt", STATE, "/etc/joined"] {
            for entry in host.tree(directory) {
                let name = entry.path.to_string_lossy();
                let is_temp = name.contains(".certcast-") && name.ends_with(".tmp");
                let shown = if is_temp { entry.path.parent().unwrap().join("temp") } else { entry.path.clone() };
                let content = entry.content.filter(|_| !name.ends_with("transaction.lock"));
                (directory, shown, entry.kind, entry.mode, entry.owner, entry.target, content).hash(&mut hash);
            }
        }
        let journal = format!("{STATE}/transaction.journal");
        let journal = if host.exists(&journal) { host.text(&journal) } else { String::new() };
        (hash.finish(), journal)
    }
}

/// The outcome that the program told before its end, if it did.
pub fn told(finished: &Finished) -> Option<Outcome> {
    let mut output = finished.stdout.as_slice();
    banner::read(&mut output).ok()?;
    let mut outcome = None;
    while let Ok(reply) = frame::read::<Reply>(&mut output) {
        if let Reply::Concluded { outcome: told } = reply {
            outcome = Some(told);
        }
    }
    outcome
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
