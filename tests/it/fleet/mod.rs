//! How long certcast takes, beside what people use and what ssh itself takes: all in one run, so that the machine matters
//! little. Run by `./benches/fleet`, which makes a table and a plot of the lines that this writes.

mod profile;
mod scale;
mod ways;

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use crate::lab::{Grant, Host, Lab, Running};

const NAME: &str = "www.site.test";
const PORT: u16 = 3000;
const KEY: &str = "/root/.ssh/id_ed25519";
const TREE: &str = "/etc/letsencrypt";
/// However slow: fifty servers one after another, a tenth of a second away.
const DEADLINE: Duration = Duration::from_secs(3600);
/// Bundles that wait to be the next.
const BUNDLES: u32 = 40;

/// A lab with so many peers, each behind a cable with this delay each way, and a person's ssh to them.
struct Fleet {
    lab: Lab,
    delay: u64,
    _cable: Option<Running>,
}

impl Fleet {
    fn raise(peers: usize, delay: u64) -> Fleet {
        let (lab, _) = Lab::serving(peers + 1, NAME);
        let primary = lab.primary();
        let own = primary.new_key(KEY);
        let mut config = "Host *\n BatchMode yes\n StrictHostKeyChecking no\n LogLevel ERROR\n".to_owned();
        let mut known = String::new();
        let cable = (delay > 0).then(|| {
            let hosts = lab.peers().iter().map(|peer| peer.v4().to_string());
            let words = [tool(), "cable".to_owned(), delay.to_string(), PORT.to_string()];
            primary.command(words.into_iter().chain(hosts)).deadline(DEADLINE).spawn()
        });
        for (at, peer) in lab.peers().iter().enumerate() {
            peer.authorize(&own, Grant::Shell);
            let (host, port) = place(peer, at, delay);
            _ = write!(config, "Host p{at}\n HostName {host}\n Port {port}\n User root\n");
            if delay > 0 {
                _ = writeln!(known, "[127.0.0.1]:{port} {}", peer.host_key());
                primary.set(&format!("peer.{at}.ssh"), format!("root@{host}:{port}"));
                primary.await_listener(port);
            }
        }
        for host in lab.hosts() {
            trust(host, &lab.root());
        }
        primary.append("/etc/certcast/known_hosts", known);
        primary.write("/root/.ssh/config", config);
        primary.set("challenge.check_dns", false);
        let fleet = Fleet { lab, delay, _cable: cable };
        fleet.stash();
        fleet
    }

    /// Bundles for `/root/next`, which does to certbot's tree what a renewal does.
    fn stash(&self) {
        let primary = self.lab.primary();
        for number in 2..=BUNDLES {
            primary.mkdir(&format!("/root/stash/{number}"));
            for (file, content) in self.lab.bundle(&[NAME]).files() {
                let path = format!("/root/stash/{number}/{file}{number}.pem");
                primary.write(&path, content);
                primary.chmod(&path, if file == "privkey" { 0o600 } else { 0o644 });
            }
        }
        primary.write("/root/number", "1");
        let (archive, live) = (format!("{TREE}/archive/{NAME}"), format!("{TREE}/live/{NAME}"));
        let links = format!("ln -sfn ../../archive/{NAME}/$part$n.pem {live}/$part.pem");
        primary.write(
            "/root/next",
            format!(
                "n=$(($(cat /root/number) + 1))\nmv /root/stash/$n/* {archive}\n\
                 for part in cert chain fullchain privkey; do {links}; done\necho $n >/root/number\n"
            ),
        );
    }

    /// Where sshd of each peer is reached.
    fn places(&self) -> String {
        let places = self.lab.peers().iter().enumerate().map(|(at, peer)| place(peer, at, self.delay));
        places.map(|(host, port)| format!("{host}:{port}")).collect::<Vec<_>>().join(" ")
    }

    /// All peers at once told to run this, by the barest program that can tell them.
    fn floor(&self, command: &str) -> String {
        format!("{} floor {KEY} '{command}' {}", tool(), self.places())
    }

    /// The median time and processor time of some runs of a shell's line, in seconds; hyperfine is the judge.
    fn median(&self, line: &str, prepare: &str, runs: u32) -> Cost {
        let primary = self.lab.primary();
        primary.write("/root/line", format!("set -e\n{line}\n"));
        let runs = runs.to_string();
        let words = ["hyperfine", "--style=none", "--shell=none", "--export-json=/root/cost", "--runs", &runs];
        let prepare: &[&str] = if prepare.is_empty() { &[] } else { &["--prepare", prepare] };
        primary.command(words.iter().chain(prepare).chain(&["sh /root/line"])).deadline(DEADLINE).run().ok();
        let told: serde_json::Value = serde_json::from_str(&primary.text("/root/cost")).unwrap();
        let number = |key: &str| told["results"][0][key].as_f64().unwrap();
        Cost { median: number("median"), processor: number("user") + number("system") }
    }
}

struct Cost {
    median: f64,
    processor: f64,
}

/// As of a site that visitors trust: the lab's CA among all others of the machine's store.
fn trust(host: &Host, root: &[u8]) {
    host.mkdir("/run/trust");
    host.write("/run/root.pem", root);
    let add = "cp -a /etc/ssl/certs/. /run/trust && cat /run/root.pem >>/run/trust/ca-certificates.crt \
         && cp /run/root.pem /run/trust/$(openssl x509 -in /run/root.pem -noout -hash).0 \
         && mount --bind /run/trust /etc/ssl/certs";
    host.run(["sh", "-ec", add]).ok();
}

fn place(peer: &Host, at: usize, delay: u64) -> (String, u16) {
    if delay == 0 { (peer.v4().to_string(), 22) } else { ("127.0.0.1".to_owned(), PORT + u16::try_from(at).unwrap()) }
}

fn tool() -> String {
    std::env::var("CERTCAST_FLEET_TOOL").expect("./benches/fleet says where its tool is")
}

fn list(variable: &str) -> Vec<u64> {
    let text = std::env::var(variable).expect("./benches/fleet says what to measure");
    text.split(',').filter(|word| !word.is_empty()).map(|word| word.parse().unwrap()).collect()
}

fn results_path(name: &str) -> PathBuf {
    PathBuf::from(std::env::var("CERTCAST_FLEET_RESULTS").unwrap()).join(name)
}

/// A file of the results, with a line of headings.
fn results(name: &str, headings: &[&str]) -> File {
    let mut file = File::create(results_path(name)).unwrap();
    writeln!(file, "{}", headings.join("\t")).unwrap();
    file
}

fn line(file: &mut File, setting: &[u64], seconds: &[f64]) {
    let setting = setting.iter().map(u64::to_string);
    let words: Vec<_> = setting.chain(seconds.iter().map(|number| format!("{number:.4}"))).collect();
    writeln!(file, "{}", words.join("\t")).unwrap();
    writeln!(std::io::stderr(), "{}", words.join("\t")).unwrap();
}

#[test]
#[ignore = "takes its time and wants the machine for itself: ./benches/fleet"]
fn the_ratios() {
    let headings = [
        "peers",
        "ms",
        "floor",
        "reload",
        "deploy",
        "without_canary",
        "resync",
        "auth1",
        "auth10",
        "auth100",
        "starts",
        "recording",
        "script",
        "ansible",
        "scp",
    ];
    let mut file = results("fleet.tsv", &headings);
    for peers in list("CERTCAST_FLEET_PEERS") {
        for round_trip in list("CERTCAST_FLEET_ROUND_TRIPS") {
            let fleet = Fleet::raise(usize::try_from(peers).unwrap(), round_trip / 2);
            line(&mut file, &[peers, round_trip], &ways::all(&fleet));
        }
    }
}
