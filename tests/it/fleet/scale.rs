//! What grows with what: peers with one lineage, lineages with three peers. Run by `./benches/scale`.

use super::{DEADLINE, Fleet, NAME, TREE, line, list, results};
use crate::lab::Host;

const RUNS: usize = 3;
const CONFIG: &str = "/etc/certcast/config.toml";

/// Seconds and the most memory in MB of a certcast command, medians of some runs, and its most threads.
fn cost(primary: &Host, command: &str, prepare: &str) -> [f64; 3] {
    let (seconds, peaks): (Vec<f64>, Vec<f64>) = (0..RUNS).map(|_| one(primary, command, prepare)).unzip();
    // Looking has its price, so it has a run of its own.
    let watched = format!(
        "{prepare}\n{command} >/dev/null & pid=$! most=0\nwhile read -r _ now < <(grep -s ^Threads: /proc/$pid/status); do \
         most=$((now > most ? now : most)); sleep 0.02; done\nwait $pid\necho $most"
    );
    let threads = primary.command(["bash", "-ec", &watched]).deadline(DEADLINE).run().ok().stdout();
    [median(seconds), median(peaks), threads.trim().parse().unwrap()]
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// Seconds and the most memory in MB of one run.
fn one(primary: &Host, command: &str, prepare: &str) -> (f64, f64) {
    let timed = format!("{prepare}\n/usr/bin/time -o /root/cost -f '%e %M' {command}");
    primary.command(["sh", "-ec", &timed]).deadline(DEADLINE).run().ok();
    let told = primary.text("/root/cost");
    let numbers: Vec<f64> = told.split_whitespace().map(|word| word.parse().unwrap()).collect();
    (numbers[0], numbers[1] * 1.024 / 1000.0)
}

#[test]
#[ignore = "takes its time and wants the machine for itself: ./benches/scale"]
fn with_peers() {
    let numbers = list("CERTCAST_SCALE_PEERS");
    let most = usize::try_from(*numbers.iter().max().unwrap()).unwrap();
    let fleet = Fleet::raise(most, 0);
    let primary = fleet.lab.primary();
    let all: toml::Table = primary.text(CONFIG).parse().unwrap();
    let headings = ["peers", "deploy", "deploy_mb", "deploy_threads", "resync", "resync_mb", "resync_threads"];
    let mut file = results("peers.tsv", &headings);
    let deploy_line = format!("env RENEWED_LINEAGE={TREE}/live/{NAME} certcast deploy");
    let mut logins = 0;
    for &number in &numbers {
        let mut some = all.clone();
        some["peer"].as_array_mut().unwrap().truncate(usize::try_from(number).unwrap());
        primary.write(CONFIG, some.to_string());
        let before = fleet.lab.peers()[0].logins();
        let deploy = cost(primary, &deploy_line, "sh /root/next");
        let resync = cost(primary, "certcast resync", "");
        logins += fleet.lab.peers()[0].logins() - before;
        line(&mut file, &[number], &[deploy, resync].concat());
    }
    for peer in fleet.lab.peers() {
        assert!(!peer.sshd_log().contains("MaxStartups"), "{}", peer.sshd_log());
    }
    assert_eq!(logins, numbers.len() * 2 * (RUNS + 1), "one connection a run");
}

#[test]
#[ignore = "takes its time and wants the machine for itself: ./benches/scale"]
fn with_lineages() {
    let fleet = Fleet::raise(3, 0);
    let primary = fleet.lab.primary();
    let mut file =
        results("lineages.tsv", &["lineages", "new", "first_resync", "resync", "resync_mb", "resync_threads"]);
    let mut there = 1;
    for number in list("CERTCAST_SCALE_LINEAGES") {
        let before = there;
        while there < number {
            let name = format!("s{there}.site.test");
            fleet.lab.issue(&name, 1, &[&name]);
            there += 1;
        }
        let first = one(primary, "certcast resync", "").0;
        let again = cost(primary, "certcast resync", "");
        line(&mut file, &[number, number - before], &[&[first][..], &again].concat());
        assert_eq!(fleet.lab.peers()[0].list(&format!("{TREE}/live")).len() as u64, number + 1, "with README");
    }
}
