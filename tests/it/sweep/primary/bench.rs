//! A primary and a peer on which the primary's programs are cut, again and again from the same start.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::OnceLock;

use super::Victim;
use super::verdict;
use crate::lab::{Bundle, Command, Finished, Hooks, Host, Lab, until};
use crate::sweep::bench::{Bench, End, Run};
use crate::sweep::cut::Cut;
use crate::sweep::tracer::Rules;
use crate::sweep::victim::{self, HELD};
use crate::sweep::{glance, state};

/// The one lineage.
pub const NAME: &str = "www.site.test";
/// What challenges are for.
pub const NAMES: [&str; 2] = ["a.site.test", "b.site.test"];
/// What a run may leave its mark in.
pub const PLACES: [&str; 3] = ["/etc/letsencrypt", "/var/lib/certcast", "/var/www/html"];
const LOG: &str = "/var/log/nginx/error.log";
/// The start that every run has, on each host.
const SAVED: &str = "/saved";

/// The two nodes.
pub struct Primary {
    /// Both.
    pub lab: Lab,
    /// What is cut.
    pub victim: Victim,
    /// What all nodes serve before.
    pub old: Bundle,
    /// What certbot has renewed it to.
    pub new: Bundle,
}

impl Primary {
    /// Raises them with the two versions that all benches of a scenario share.
    pub fn raise(victim: Victim, versions: &OnceLock<[Bundle; 2]>) -> Primary {
        let lab = Lab::raise().hosts(2).up();
        let issue = || [lab.bundle(&[NAME]), lab.bundle(&[NAME])];
        let [old, new] = versions.get_or_init(issue).clone();
        for name in NAMES {
            lab.point_both(name, &["web1", "web2"]);
        }
        let primary = lab.primary();
        let mut receive = lab["web2"].entrance();
        receive.extend(["/usr/local/bin/certcast", "receive", "--role", "deploy"].map(str::to_owned));
        primary.set("peer.0.transport", "local");
        primary.set("peer.0.receive", receive);
        // Where a call fails that nothing goes without, the time is waited for to its end.
        primary.set("challenge.budget", "6s");
        primary.install(NAME, 1, &old);
        primary.write_renewal_conf(NAME);
        lab.deploy(NAME).ok().silent();
        for host in lab.hosts() {
            host.serve(NAME, &[NAME]);
            host.await_served(&lab, NAME, &old);
        }
        lab.deploy(NAME).ok().silent();
        victim::prepare(primary);
        let bench = Primary { lab, victim, old, new };
        if victim.delivers() {
            bench.lab.primary().install(NAME, 2, &bench.new);
        }
        // A run that died before its cleanup: the next one is to collect what it left.
        if matches!(victim, Victim::Auth | Victim::Resync) {
            bench.primary().hooks().auth(&["old.site.test"]).run();
            assert!(bench.lab.hosts().iter().all(|host| !host.tokens().is_empty()), "no challenge was published");
        }
        for host in bench.lab.hosts() {
            let copies = PLACES.map(|place| format!("cp -a {place} {SAVED}{place}\n")).concat();
            host.run(["sh", "-ec", &format!("mkdir -p {SAVED}/etc {SAVED}/var/lib {SAVED}/var/www\n{copies}")]).ok();
            host.write(LOG, "");
        }
        bench
    }

    /// The host where the programs run.
    pub fn primary(&self) -> &Host {
        self.lab.primary()
    }

    /// The hook calls of one certbot run up to the end of that which `held` stands before.
    fn hooks(&self) -> Hooks<'_> {
        let held = |hook: &str| format!("{HELD} certcast {hook}");
        let begun = self.primary().hooks().auth_one("certcast auth", NAMES[0], 1);
        match self.victim {
            Victim::Cleanup => {
                let auth = begun.auth_one("certcast auth", NAMES[1], 0).cleanup(&NAMES[..1]);
                auth.cleanup_by(&held("cleanup"), NAMES[1])
            }
            Victim::AuthThenCleanup => begun.auth_one(&held("auth"), NAMES[1], 0).cleanup(&NAMES),
            _ => begun.auth_one(&held("auth"), NAMES[1], 0),
        }
    }

    fn command(&self) -> Command {
        match self.victim {
            Victim::Auth | Victim::AuthThenCleanup | Victim::Cleanup => self.hooks().command(),
            Victim::Deploy => {
                let hook = self.primary().command([HELD, "/usr/local/bin/certcast", "deploy"]);
                hook.env("RENEWED_LINEAGE", format!("/etc/letsencrypt/live/{NAME}"))
            }
            Victim::Resync => self.primary().command([HELD, "certcast", "resync"]),
        }
    }
}

impl Victim {
    /// Whether it brings nodes to a new version.
    pub fn delivers(self) -> bool {
        matches!(self, Victim::Deploy | Victim::Resync)
    }
}

impl Bench for Primary {
    type Ran = Finished;

    fn begin(&self, _: Option<&Cut>) {
        for host in self.lab.hosts() {
            let again = PLACES.map(|place| format!("rm -rf {place}; cp -a {SAVED}{place} {place}\n")).concat();
            host.run(["sh", "-ec", &again]).ok();
            if host.nginx_reloads() > 0 {
                host.install(NAME, 1, &self.old);
                glance::bring_back(host, NAME, &self.old);
                host.write(LOG, "");
                if self.victim.delivers() && host.name() == self.primary().name() {
                    host.install(NAME, 2, &self.new);
                }
            }
        }
    }

    fn run(&self, _: Option<&Cut>, cut: Option<&Cut>) -> Run<Finished> {
        let rules = Rules { cut: cut.cloned(), ..Rules::default() };
        let (ran, seen) = victim::run(self.primary(), self.command(), &rules);
        self.rest();
        Run { calls: seen.calls, is_cut: seen.is_cut, unwritten: seen.unwritten, ran }
    }

    fn end(&self, ran: &Finished) -> End {
        let mut hasher = DefaultHasher::new();
        for host in self.lab.hosts() {
            state::hash(host, &PLACES, &mut hasher);
            let reloads = host.nginx_reloads();
            (reloads, (reloads > 0).then(|| glance::served(host, NAME))).hash(&mut hasher);
        }
        ran.code().hash(&mut hasher);
        End { key: hasher.finish(), is_moving: false, phase: None }
    }

    fn judge(&self, ran: &Finished) -> Vec<String> {
        verdict::judge(self, ran.code())
    }
}

impl Primary {
    /// Waits until nothing is under way on any node.
    fn rest(&self) {
        for host in self.lab.hosts() {
            until("what it started has ended", || {
                ["certcast", "nginx -"].iter().all(|words| host.processes(words).is_empty())
            });
        }
    }
}
