//! How long certcast takes, in relation to what people use and to what ssh itself takes: all in one run, so that the machine
//! does not matter. Run by `./benches/fleet`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

use crate::lab::{Grant, Host, Lab, Running};

const NAME: &str = "www.site.test";
const RUNS: usize = 5;
const PORT: u16 = 3000;
const KEY: &str = "/root/.ssh/id_ed25519";
const TREE: &str = "/etc/letsencrypt";

/// A lab with so many peers, each behind a cable with this delay each way, and a person's ssh to them.
struct Fleet {
    lab: Lab,
    peers: usize,
    number: u32,
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
            primary.command(words.into_iter().chain(hosts)).deadline(Duration::from_secs(3600)).spawn()
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
        primary.append("/etc/certcast/known_hosts", known);
        primary.write("/root/.ssh/config", config);
        primary.set("deploy.budget", "300s");
        Fleet { lab, peers, number: 1, _cable: cable }
    }

    /// The median of some runs, each with a bundle that is new.
    fn median(&mut self, line: &str, with_new: bool) -> Duration {
        let mut times = Vec::new();
        for _ in 0..RUNS {
            if with_new {
                self.number += 1;
                self.lab.issue(NAME, self.number, &[NAME]);
            }
            let line = line.replace("NUMBER", &self.number.to_string());
            let command = self.lab.primary().command(["sh", "-ec", &line]).deadline(Duration::from_secs(600));
            let begun = Instant::now();
            command.run().ok();
            times.push(begun.elapsed());
        }
        times.sort();
        times[RUNS / 2]
    }

    fn all(&self, line: &str) -> String {
        (0..self.peers).map(|at| line.replace("PEER", &format!("p{at}"))).collect()
    }
}

fn place(peer: &Host, at: usize, delay: u64) -> (String, u16) {
    if delay == 0 { (peer.v4().to_string(), 22) } else { ("127.0.0.1".to_owned(), PORT + u16::try_from(at).unwrap()) }
}

fn tool() -> String {
    let own = std::env::current_exe().unwrap();
    own.parent().and_then(|deps| deps.parent()).unwrap().join("examples/tool").to_string_lossy().into_owned()
}

#[test]
#[ignore = "takes its time and wants the machine for itself: ./benches/fleet"]
fn the_ratios() {
    let list = |name: &str, usual: &str| -> Vec<u64> {
        let text = std::env::var(name).unwrap_or_else(|_| usual.to_owned());
        text.split(',').map(|word| word.parse().unwrap()).collect()
    };
    let mut table = "| peers | round trip | floor | deploy | script | ansible | parallel scp | resync | auth, 100 names |\n|---|---|---|---|---|---|---|---|---|\n".to_owned();
    for peers in list("CERTCAST_FLEET_PEERS", "1,10") {
        for round_trip in list("CERTCAST_FLEET_ROUND_TRIPS", "0,20") {
            let line = measured(usize::try_from(peers).unwrap(), round_trip);
            table += &line;
        }
    }
    writeln!(std::io::stderr(), "\n{table}").unwrap();
}

fn measured(peers: usize, round_trip: u64) -> String {
    let delay = round_trip / 2;
    let mut fleet = Fleet::raise(peers, delay);
    let places: Vec<_> = fleet.lab.peers().iter().enumerate().map(|(at, peer)| place(peer, at, delay)).collect();
    let places: Vec<_> = places.iter().map(|(host, port)| format!("{host}:{port}")).collect();
    let floor = fleet.median(&format!("{} floor {KEY} {}", tool(), places.join(" ")), false);
    let deploy = format!("RENEWED_LINEAGE={TREE}/live/{NAME} certcast deploy");
    let deploy = fleet.median(&deploy, true);
    let resync = fleet.median("certcast resync", false);
    // (a) of the usual scripts: one thing after another.
    let links = format!("ln -sfn ../../archive/{NAME}/fullchainNUMBER.pem {TREE}/live/{NAME}/fullchain.pem");
    let keys = format!("ln -sfn ../../archive/{NAME}/privkeyNUMBER.pem {TREE}/live/{NAME}/privkey.pem");
    let script = fleet.all(&format!(
        "rsync -a {TREE}/archive/{NAME}/ PEER:{TREE}/archive/{NAME}/\nssh PEER rm -f {TREE}/live/{NAME}/fullchain.pem {TREE}/live/{NAME}/privkey.pem\n\
         ssh PEER {links}\nssh PEER {keys}\nssh PEER nginx -t 2>/dev/null\nssh PEER nginx -s reload\n"
    ));
    let script = fleet.median(&script, true);
    // (b) the same by Ansible, all at once.
    let inventory = fleet.all("PEER ansible_python_interpreter=/usr/bin/python3\n");
    let primary = fleet.lab.primary();
    primary.write("/root/inventory", inventory);
    primary.write(
        "/root/play.yml",
        format!(
            "- hosts: all\n  gather_facts: no\n  tasks:\n  - copy: {{src: {TREE}/archive/{NAME}/, dest: {TREE}/archive/{NAME}/, mode: preserve}}\n  \
             - file: {{src: '../../archive/{NAME}/fullchain{{{{number}}}}.pem', dest: {TREE}/live/{NAME}/fullchain.pem, state: link}}\n  \
             - file: {{src: '../../archive/{NAME}/privkey{{{{number}}}}.pem', dest: {TREE}/live/{NAME}/privkey.pem, state: link}}\n  \
             - command: nginx -t\n  - command: nginx -s reload\n"
        ),
    );
    let play = format!(
        "ANSIBLE_HOST_KEY_CHECKING=no /usr/bin/ansible-playbook -i /root/inventory -f {peers} -e number=NUMBER /root/play.yml"
    );
    let ansible = fleet.median(&play, true);
    // (c) scp and one ssh, all peers at once.
    let parallel = fleet.all(&format!(
        "(scp -q -p {TREE}/archive/{NAME}/*NUMBER.pem PEER:{TREE}/archive/{NAME}/ && ssh PEER '{links} && {keys} && nginx -t 2>/dev/null && nginx -s reload') &\n"
    ));
    let parallel = fleet.median(&format!("{parallel}wait"), true);
    // auth with 100 names, all its hook calls.
    let primary = fleet.lab.primary();
    primary.set("challenge.check_dns", false);
    let names: Vec<String> = (0..100).map(|number| format!("n{number}.site.test")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let begun = Instant::now();
    primary.hooks().auth(&names).command().deadline(Duration::from_secs(600)).run().ok();
    let auth = begun.elapsed();
    let shown = |time: Duration| format!("{} ms ({:.1})", time.as_millis(), time.as_secs_f64() / floor.as_secs_f64());
    let against = |time: Duration| {
        format!("{} ms (÷ deploy: {:.0})", time.as_millis(), time.as_secs_f64() / deploy.as_secs_f64())
    };
    format!(
        "| {peers} | {round_trip} ms | {} ms | {} | {} | {} | {} | {} | {} |\n",
        floor.as_millis(),
        shown(deploy),
        against(script),
        against(ansible),
        against(parallel),
        shown(resync),
        shown(auth)
    )
}
