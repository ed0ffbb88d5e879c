//! `status`: the truth about every node, and nothing touched.

use std::time::Duration;

use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::lab::{Finished, Host, Lab, Running, Validity, until};

const NAME: &str = "www.site.test";

fn status(lab: &Lab) -> Finished {
    lab.primary().run(["certcast", "status"])
}

/// The table's lines, with one space for many.
fn lines(said: &Finished) -> Vec<String> {
    said.stdout().lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

fn rows(lab: &Lab) -> Vec<Value> {
    rows_of(&lab.primary().run(["certcast", "status", "--json"]))
}

fn rows_of(said: &Finished) -> Vec<Value> {
    serde_json::from_str(&said.stdout()).unwrap_or_else(|error| panic!("{error}: {said}"))
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

#[test]
fn all_well_is_a_line_a_node_and_nothing_is_touched() {
    let (lab, bundle) = Lab::serving(3, NAME);
    let everything = |host: &Host| (host.nginx_reloads(), host.stamps(), host.tree("/var/lib/certcast"));
    let before: Vec<_> = lab.hosts().iter().map(everything).collect();
    // The certificate may just be a day older when it is asked for again.
    let days = || days_left(bundle.files()[0].1);
    let earlier = days();
    let said = status(&lab).exits(0);
    let wanted = |days: i64| {
        let line = |node| format!("{node} {NAME} 1 {days} yes {VERSION} in line");
        let head = "NODE LINEAGE VERSION DAYS SERVED RECEIVER STATE".to_owned();
        [head].into_iter().chain(["web1", "web2", "web3"].map(line)).collect::<Vec<_>>()
    };
    assert!([earlier, days()].map(wanted).contains(&lines(&said)), "{said}");
    assert_eq!(said.stderr(), "");
    assert!(lab.hosts().iter().map(everything).collect::<Vec<_>>() == before, "something was touched");
}

/// By openssl's word: the most whole days for which the certificate goes on being valid.
fn days_left(certificate: &[u8]) -> i64 {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("cert.pem");
    std::fs::write(&file, certificate).unwrap();
    let is_valid_for = |days: i64| {
        let seconds = (days * 24 * 60 * 60).to_string();
        let mut openssl = std::process::Command::new("openssl");
        let openssl = openssl.args(["x509", "-noout", "-checkend", &seconds, "-in"]).arg(&file);
        openssl.output().unwrap().status.success()
    };
    (0..=400).take_while(|days| is_valid_for(*days)).last().unwrap()
}

#[test]
fn what_is_wrong_on_each_node_is_told_with_the_remedy() {
    let (lab, _) = Lab::serving(5, NAME);
    // web2 is off, web3 keeps the old version, web4 was never reloaded, web5 lost its tree.
    lab.primary().set("deploy.budget", "9s");
    lab["web2"].unplug();
    lab["web3"].break_nginx();
    let new = lab.issue(NAME, 2, &[NAME]);
    lab.deploy(NAME).exits(3);
    lab["web4"].serves(&lab, NAME, &new);
    for directory in ["live", "archive"] {
        lab["web5"].run(["rm", "-r", &format!("/etc/letsencrypt/{directory}/{NAME}")]).ok();
    }
    lab["web3"].mend_nginx();
    lab["web3"].reload_nginx();
    let newest = lab.issue(NAME, 3, &[NAME]);
    lab["web4"].install(NAME, 3, &newest);

    // None is in line.
    let said = status(&lab).exits(1);
    let lines = lines(&said);
    let line = |node: &str| lines.iter().find(|line| line.starts_with(node)).unwrap();
    // The primary's own services were not told of version 3.
    assert!(
        line("web1").contains(&format!("older {VERSION} an older one is still served by nginx for {NAME} at ")),
        "{said}"
    );
    assert!(line("web2").starts_with(&format!("web2 {NAME} ? ? ? ? 192.0.2.2: no answer in time")), "{said}");
    assert!(line("web2").contains("; pending since 20"), "{said}");
    assert!(line("web3").starts_with(&format!("web3 {NAME} 1 ")), "{said}");
    assert!(
        line("web3").contains(&format!("yes {VERSION} should be 3: 'certcast resync'; pending since 20")),
        "{said}"
    );
    assert!(
        line("web4").contains(&format!("older {VERSION} an older one is still served by nginx for {NAME} at ")),
        "{said}"
    );
    assert!(line("web5").ends_with(&format!("{NAME} none ? no {VERSION} not there: 'certcast resync'")), "{said}");

    let rows = rows(&lab);
    let states: Vec<_> = rows.iter().map(|row| row["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["serves-older", "unknown", "behind", "serves-older", "missing"]);
    assert_eq!((&rows[2]["number"], &rows[2]["expected"]), (&json!(1), &json!(3)));

    lab["web2"].plug();
    lab.resync(&[]).exits(0);
    lab["web4"].reload_nginx();
    let said = status(&lab).exits(0);
    assert_eq!(said.stdout().matches("in line").count(), 5, "{said}");
}

#[test]
fn days_count_down_and_below_zero() {
    let (lab, _) = Lab::serving(2, NAME);
    for (number, validity, days) in [(2, Validity::Days(0, 6), 5), (3, Validity::Days(0, 1), 0)] {
        lab.primary().install(NAME, number, &lab.bundle_valid(&[NAME], validity));
        lab.deploy(NAME).ok();
        // Within the second in which it was made, it is still a whole day more.
        let is_so = |row: &Value| row["days_left"] == days || row["days_left"] == days + 1;
        assert!(rows(&lab).iter().all(is_so), "{:?}", rows(&lab));
    }
}

#[test]
fn each_row_of_the_json_has_just_the_fields_that_the_page_describes() {
    let page = include_str!("../../docs/status.md");
    let (_, table) = page.split_once("| field | type | meaning |").unwrap();
    let table = table.split("\n\n").next().unwrap();
    let documented = |only_with: bool| -> Vec<String> {
        let rows = table.lines().filter(|row| row.starts_with("| `") && row.contains("only with") == only_with);
        rows.map(|row| row.split('`').nth(1).unwrap().to_owned()).collect()
    };
    let (lab, _) = Lab::serving(2, NAME);
    let said = lab.primary().run(["certcast", "status", "--json"]).exits(0);
    for row in rows_of(&said) {
        let mut fields: Vec<_> = row.as_object().unwrap().keys().cloned().collect();
        let mut wanted = documented(false);
        fields.sort();
        wanted.sort();
        assert_eq!(fields, wanted);
    }
    assert_eq!(documented(true), ["place", "cause"]);
}

#[test]
fn a_receiver_that_does_not_know_the_question_is_named_with_its_version() {
    let (lab, _) = Lab::serving(2, NAME);
    let answer = r#"{"answer":"hello","version":"0.0.9","node":"web2","clock":1}"#;
    let unknown = r#"{"answer":"rejected","cause":"unknown variant `survey`"}"#;
    let frame = |text: &str| format!("\\0\\0\\0\\{:03o}{}", text.len(), text.replace('`', "\\140"));
    let script = format!(
        "#!/bin/sh\nprintf '\\0certcast-wire 1 1\\n%b%b' '{}' '{}'\ncat >/dev/null\n",
        frame(answer),
        frame(unknown)
    );
    lab["web2"].write("/usr/local/bin/old", script);
    lab["web2"].chmod("/usr/local/bin/old", 0o755);
    lab["web2"].authorize_only(&lab.identity(), crate::lab::Grant::Forced("/usr/local/bin/old"));
    let said = status(&lab).exits(3);
    assert!(lines(&said)[2].starts_with(&format!("web2 {NAME} ? ? ? 0.0.9 ")), "{said}");
    assert!(lines(&said)[2].contains("unknown variant `survey`"), "{said}");
}

#[test]
fn right_files_that_nobody_is_shown_are_not_in_line() {
    let (lab, _) = Lab::serving(5, NAME);
    // On web2 another site answers, on web3 it does so on IPv6 alone, web4 is down; web5 is no web server at all.
    lab["web2"].install("other.test", 1, &lab.bundle(&["other.test"]));
    lab["web2"].configure_site("other.test", &["other.test"]);
    lab["web2"].remove(&format!("/etc/nginx/conf.d/{NAME}.conf"));
    lab["web2"].reload_nginx();
    lab["web3"].install("other.test", 1, &lab.bundle(&["other.test"]));
    lab["web3"].configure_site("other.test", &["other.test"]);
    for (site, listen) in [("other.test", "listen 443 ssl;"), (NAME, "listen [::]:443 ssl;")] {
        let path = format!("/etc/nginx/conf.d/{site}.conf");
        lab["web3"].write(&path, lab["web3"].text(&path).replace(listen, ""));
    }
    lab["web3"].reload_nginx();
    lab["web4"].stop_nginx();
    lab["web5"].stop_nginx();
    let config = lab["web5"].configuration();
    lab["web5"].configure(config.split("[[service]]").next().unwrap());

    let said = status(&lab).exits(3);
    let lines = lines(&said);
    let line = |node: &str| lines.iter().find(|line| line.starts_with(node)).unwrap();
    let begin = format!(" no {VERSION} not served: nginx for {NAME} at ");
    assert!(line("web2").contains(&begin) && line("web2").contains(":443 shows another certificate: "), "{said}");
    let there = format!("[{}]:443 shows another certificate: look at that service there", lab["web3"].v6());
    let part = format!(" in part {VERSION} not served: nginx for {NAME} at {there}");
    assert!(line("web3").ends_with(&part), "{said}");
    assert!(line("web4").contains(&format!(" no {VERSION} not served: nothing listens for nginx: look at ")), "{said}");
    assert!(line("web5").ends_with(&format!(" no {VERSION} in line")), "nothing is to be served there: {said}");
    assert!(line("web1").ends_with(" in line"), "{said}");
    let states: Vec<_> = rows(&lab).iter().map(|row| row["state"].as_str().unwrap().to_owned()).collect();
    assert_eq!(states, ["in-line", "not-served", "not-served", "not-served", "in-line"]);

    lab.primary().mkdir("/root/metrics");
    let said = lab.primary().run(["certcast", "check", "--metrics", "/root/metrics/certcast.prom"]).exits(1);
    assert!(said.stdout().contains(" | total=5 out_of_line=3;0 "), "{said}");
    let metrics = lab.primary().text("/root/metrics/certcast.prom");
    let in_line = |node: &str| metrics.contains(&format!("certcast_in_line{{node=\"{node}\",lineage=\"{NAME}\"}} 1\n"));
    assert_eq!(["web1", "web2", "web3", "web4", "web5"].map(in_line), [true, false, false, false, true], "{metrics}");
}

/// Listeners that take connections and never answer: as many as keep a look busy until its time is up.
const SILENT: &str = "import socket, time\nheld = []\nfor port in range(5000, 5100):\n    s = socket.socket()\n    \
                  s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n    s.bind(('127.0.0.1', port))\n    s.listen(64)\n    \
                  held.append(s)\nprint('up', flush=True)\ntime.sleep(600)\n";

const SILENT_PORTS: std::ops::Range<u16> = 5000..5100;

fn silent_places() -> Vec<String> {
    SILENT_PORTS.map(|port| format!("127.0.0.1:{port}")).collect()
}

/// Whether there is a connection to one of them where this process is.
fn asks_the_silent(pid: Pid) -> bool {
    let sockets = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap_or_default();
    // The columns: number, local address:port in hex, remote, state (01 is ESTABLISHED).
    sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).any(|columns| {
        let port = columns[2].rsplit(':').next().and_then(|port| u16::from_str_radix(port, 16).ok());
        columns[3] == "01" && port.is_some_and(|port| SILENT_PORTS.contains(&port))
    })
}

#[test]
fn a_listener_that_never_answers_leaves_the_truth_open() {
    let (lab, _) = Lab::serving(2, NAME);
    lab["web2"].stop_nginx();
    lab["web2"].write("/root/silent.py", SILENT);
    let listeners = lab["web2"].spawn(["python3", "/root/silent.py"]);
    until("it listens", || listeners.stdout_so_far().contains("up"));
    lab["web2"].set("service.0.probe", silent_places());
    let said = status(&lab).exits(3);
    assert!(lines(&said)[2].contains("the time was up before it was asked at "), "{said}");
    assert!(lines(&said)[1].ends_with(" in line"), "{said}");
    listeners.kill();
}

#[test]
fn a_rollout_under_way_holds_no_status_up_and_no_status_a_rollout() {
    let (lab, _) = Lab::serving(2, NAME);
    let locks =
        [(lab.primary(), "delivery.lock"), (lab.primary(), "transaction.lock"), (&lab["web2"], "transaction.lock")];
    let holders: Vec<_> = locks
        .iter()
        .map(|(host, lock)| {
            let path = format!("/var/lib/certcast/{lock}");
            assert!(host.exists(&path), "{path}");
            let holder = host.spawn(["flock", "--no-fork", &path, "sh", "-c", "echo held; exec sleep 600"]);
            until("it is held", || holder.stdout_so_far().contains("held"));
            holder
        })
        .collect();
    lab.primary().command(["certcast", "status"]).deadline(Duration::from_secs(15)).run().exits(0);
    holders.into_iter().for_each(Running::kill);

    // A status that waits for a peer's slow service.
    lab["web2"].write("/root/silent.py", SILENT);
    let listeners = lab["web2"].spawn(["python3", "/root/silent.py"]);
    until("it listens", || listeners.stdout_so_far().contains("up"));
    let config = lab["web2"].configuration();
    lab["web2"].set("service.0.probe", silent_places());
    let mut waiting = lab.primary().spawn(["certcast", "status"]);
    until("it waits for the slow service", || {
        lab["web2"].processes("certcast receive").into_iter().any(asks_the_silent)
    });
    lab["web2"].configure(&config);
    let new = lab.issue(NAME, 2, &[NAME]);
    lab.deploy(NAME).ok();
    assert!(waiting.is_running(), "it did not wait");
    lab["web2"].serves(&lab, NAME, &new);
    listeners.kill();
    waiting.kill();
}

#[test]
fn a_node_that_says_nothing_takes_no_other_ones_turn() {
    let (lab, _) = Lab::serving(4, NAME);
    lab.primary().set("deploy.parallel", 1);
    lab["web2"].write("/usr/local/bin/mute", "#!/bin/sh\nexec sleep 600\n");
    lab["web2"].chmod("/usr/local/bin/mute", 0o755);
    lab["web2"].authorize_only(&lab.identity(), crate::lab::Grant::Forced("/usr/local/bin/mute"));
    let said = status(&lab).exits(3);
    let well: Vec<_> = lines(&said).into_iter().filter(|line| line.ends_with(" in line")).collect();
    assert_eq!(well.len(), 3, "{said}");
}

#[test]
fn the_page_is_written_whole_and_the_table_is_shown_again_and_again() {
    let (lab, _) = Lab::serving(2, NAME);
    let primary = lab.primary();
    lab["web2"].unplug();
    primary.run(["certcast", "status", "--html", "/var/www/html/status.html"]).exits(3);
    let page = primary.text("/var/www/html/status.html");
    assert!(page.contains("certcast: 1 of 2 in line") && page.contains("no answer in time"), "{page}");
    assert_eq!(primary.mode("/var/www/html/status.html"), 0o644);
    let shown = lab.get(primary.v4(), "http://web1/status.html").body;
    assert!(shown.trim_end() == page.trim_end(), "a web server can show it");
    primary
        .run(["certcast", "status", "--html", "/nowhere/status.html"])
        .exits(1)
        .says("cannot write the page to /nowhere/");

    lab["web2"].plug();
    let watching = primary.spawn(["certcast", "status", "--watch=1"]);
    until("it is shown twice", || watching.stdout_so_far().matches("NODE").count() > 1);
    watching.kill();
    primary.run(["certcast", "status", "--watch", "--json"]).exits(2);
}

/// More than a node is asked for at once.
#[test]
fn more_lineages_than_one_question_has_are_asked_for_by_several() {
    const LINEAGES: usize = 2001;
    let lab = Lab::raise().hosts(2).up();
    let bundle = lab.issue("site1", 1, &["site1.test"]);
    lab["web2"].install("site1", 1, &bundle);
    let copy = format!(
        "cd /etc/letsencrypt && for n in $(seq 2 {LINEAGES}); do cp -a archive/site1 archive/site$n && \
         mkdir live/site$n && for f in cert chain fullchain privkey; do \
         ln -s ../../archive/site$n/${{f}}1.pem live/site$n/$f.pem; done; done"
    );
    for host in lab.hosts() {
        host.set("service", toml::Value::Array(Vec::new()));
        host.run(["sh", "-c", &copy]).ok();
    }
    let said = status(&lab).exits(0);
    let rows = lines(&said).into_iter().filter(|line| line.starts_with("web2 ") && line.ends_with(" in line"));
    assert_eq!(rows.count(), LINEAGES, "{}", said.stderr());
}
