//! `check`: one line and a code for monitoring, and metrics that Prometheus' own tools take.

use crate::lab::{Finished, Lab, Validity, until};

const NAME: &str = "www.site.test";
const METRICS: &str = "/root/metrics/certcast.prom";

fn check(lab: &Lab, more: &[&str]) -> Finished {
    lab.primary().run(["certcast", "check"].iter().chain(more).copied().collect::<Vec<_>>())
}

/// A plugin says one line on standard output.
#[track_caller]
fn line(said: &Finished) -> String {
    let text = said.stdout();
    assert!(text.ends_with('\n') && text.lines().count() == 1 && said.stderr().is_empty(), "{said}");
    text.trim_end().to_owned()
}

#[test]
fn the_line_and_the_code_say_how_bad_it_is() {
    let (lab, _) = Lab::serving(3, NAME);
    let said = line(&check(&lab, &[]).exits(0));
    assert!(said.starts_with("CERTCAST OK - 3 in line | total=3 out_of_line=0;0 'days www.site.test'="), "{said}");
    assert!(said.ends_with(";20:;7:"), "{said}");

    lab["web3"].unplug();
    let said = line(&check(&lab, &[]).exits(1));
    assert!(said.starts_with("CERTCAST WARNING - web3 www.site.test 192.0.2.3: no answer in time"), "{said}");
    assert!(said.contains(" | total=3 out_of_line=1;0 "), "{said}");
    lab["web3"].plug();

    lab.primary().install(NAME, 2, &lab.bundle_valid(&[NAME], Validity::Days(0, 15)));
    lab.deploy(NAME).ok();
    let said = line(&check(&lab, &[]).exits(1));
    assert!(said.starts_with("CERTCAST WARNING - web1 www.site.test ends in 1"), "{said}");
    let said = line(&check(&lab, &["--warning", "40", "--critical", "30"]).exits(2));
    assert!(said.starts_with("CERTCAST CRITICAL - ") && said.ends_with(";40:;30:"), "{said}");
    line(&check(&lab, &["--warning", "10"]).exits(0));

    // Metrics that cannot be written are one trouble more, and hide none.
    let said = line(&check(&lab, &["--warning", "10", "--metrics", "/nowhere/certcast.prom"]).exits(1));
    assert!(said.starts_with("CERTCAST WARNING - cannot write the metrics to /nowhere/certcast.prom: "), "{said}");
    line(&check(&lab, &["--warning", "40", "--critical", "30", "--metrics", "/nowhere/certcast.prom"]).exits(2));

    // What the primary has is unfit; and what cannot be found out is said where monitoring looks.
    lab.primary().write("/etc/letsencrypt/archive/www.site.test/privkey2.pem", "");
    lab.primary().mkdir("/root/metrics");
    let said = line(&check(&lab, &["--metrics", METRICS]).exits(2));
    assert!(said.contains("privkey.pem is empty"), "{said}");
    assert!(lab.primary().text(METRICS).contains("\ncertcast_unfit_lineages 1\n"), "{}", lab.primary().text(METRICS));
    lab.primary().set("deploy.lineages", vec!["nothing"]);
    let said = line(&check(&lab, &[]).exits(3));
    assert!(said.starts_with("CERTCAST UNKNOWN - there is no lineage to compare | total=0 "), "{said}");
    let said = lab.primary().run(["certcast", "status"]).exits(0);
    assert_eq!(said.stdout(), "there is no lineage to compare\n", "{said}");
    let said = line(&check(&lab, &["--config", "/nowhere"]).exits(3));
    assert!(said.starts_with("CERTCAST UNKNOWN - /nowhere"), "{said}");
    let said = check(&lab, &["--bogus"]).exits(3).stdout();
    assert!(said.starts_with("CERTCAST UNKNOWN - ") && said.contains("--bogus"), "{said}");
}

#[test]
fn prometheus_tools_take_the_metrics_and_a_real_node_exporter_shows_them() {
    let (lab, _) = Lab::serving(2, NAME);
    let primary = lab.primary();
    primary.mkdir("/root/metrics");
    lab["web2"].unplug();
    lab.issue(NAME, 2, &[NAME]);
    lab.primary().set("deploy.budget", "9s");
    lab.deploy(NAME).exits(3);
    check(&lab, &["--metrics", METRICS]).exits(1);
    assert_eq!((primary.mode(METRICS), primary.list("/root/metrics")), (0o644, vec!["certcast.prom".to_owned()]));
    primary.run(["sh", "-c", &format!("promtool check metrics <{METRICS}")]).ok().silent();

    let mut exporter = primary.spawn([
        "prometheus-node-exporter",
        "--collector.disable-defaults",
        "--collector.textfile",
        "--collector.textfile.directory=/root/metrics",
        "--web.listen-address=127.0.0.1:9100",
    ]);
    until("it listens", || primary.listens(9100));
    let shown = primary.run(["curl", "-s", "http://127.0.0.1:9100/metrics"]).ok().stdout();
    assert!(exporter.is_running());
    exporter.kill();
    let value = |metric: &str, node: &str| -> Option<f64> {
        let begin = format!("{metric}{{lineage=\"{NAME}\",node=\"{node}\"}} ");
        shown.lines().find_map(|line| line.strip_prefix(&begin)?.parse().ok())
    };
    let ends = format!(
        "date -d \"$(openssl x509 -noout -enddate -in /etc/letsencrypt/live/{NAME}/cert.pem | cut -d= -f2)\" +%s"
    );
    let ends: f64 = primary.run(["sh", "-c", &ends]).ok().stdout().trim().parse().unwrap();
    assert_eq!(value("certcast_certificate_not_after_timestamp_seconds", "web1"), Some(ends), "{shown}");
    assert_eq!(value("certcast_certificate_not_after_timestamp_seconds", "web2"), None);
    let both = |metric| (value(metric, "web1"), value(metric, "web2"));
    assert_eq!(both("certcast_in_line"), (Some(1.0), Some(0.0)));
    assert_eq!(both("certcast_reached"), (Some(1.0), Some(0.0)));
    let now: f64 = primary.run(["date", "+%s"]).ok().stdout().trim().parse().unwrap();
    let is_recent = |time: Option<f64>| time.is_some_and(|time| (now - 120.0..=now).contains(&time));
    let (success, pending) =
        (both("certcast_last_success_timestamp_seconds"), both("certcast_pending_since_timestamp_seconds"));
    assert!(is_recent(success.0) && success.1.is_none() && pending.0.is_none() && is_recent(pending.1), "{shown}");
}

#[test]
fn lineages_that_are_asked_for_are_looked_at_alone() {
    let (lab, _) = Lab::serving(2, NAME);
    let primary = lab.primary();
    let other = "other.test";
    lab.issue(other, 1, &[other]);
    let ask = |words: &[&str]| primary.command(["certcast"]).args(words).run();
    // The peer has not got the other one.
    assert_eq!(ask(&["status", NAME]).exits(0).stdout().matches("in line").count(), 2);
    let said = ask(&["status", other]).exits(1);
    assert!(!said.stdout().contains(NAME) && said.stdout().contains("web2  other.test"), "{said}");
    let said = ask(&["status", "--json", other, NAME]).exits(3);
    let rows: Vec<serde_json::Value> = serde_json::from_str(&said.stdout()).unwrap();
    assert_eq!(rows.len(), 4, "{said}");
    ask(&["check", NAME]).exits(0).says("CERTCAST OK");
    let said = ask(&["check", other]).fails();
    assert!(said.stdout().contains("web2 other.test") && !said.stdout().contains(NAME), "{said}");
    for verb in ["status", "check"] {
        let said = ask(&[verb, "gone.test"]).fails();
        assert!(said.to_string().contains("there is no lineage gone.test"), "{said}");
    }
}
