//! Alerts: they arrive, once, by every route, and are in nobody's way.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::lab::{ACCOUNT, Certbot, Finished, Host, Lab, Running, Validity, until};

const NAME: &str = "www.site.test";
/// A receiver that takes what the documentation of each service wants and nothing else; a line of JSON each in /root/heard.
const RECEIVER: &str = r"
import hashlib, hmac, http.server, json, os, re, sys
KEY = b'the key'
def check(path, headers, body):
    if path == '/hook':
        event = json.loads(body)
        wanted = 'sha256=' + hmac.new(KEY, body, hashlib.sha256).hexdigest()
        assert headers['X-Certcast-Signature'] == wanted, 'signature'
        assert headers['Idempotency-Key'] == event['id'] and headers['Content-Type'] == 'application/json'
        assert sorted(event) == ['before', 'cause', 'command', 'days_left', 'event', 'id', 'is_reminder', 'kind', 'lineage', 'next',
            'node', 'severity', 'since', 'state', 'step', 'time'], sorted(event)
        return event['state'], event['event'], event['node']
    if path == '/slack/s3cret':
        message = json.loads(body)
        assert set(message) <= {'text', 'username', 'mrkdwn'} and '<' not in message['text'] and len(message['text']) <= 2000
        return 0 if message['text'].startswith('\u2713') else 1, message['text'], ''
    if path == '/topic':
        assert headers['Authorization'] == 'Bearer the key' and headers['Priority'] in ('1', '2', '3', '4', '5')
        assert headers['Title'].isascii() and len(body) <= 4096
        return 1 if headers['Priority'] > '3' else 0, body.decode(), ''
    if path == '/v2/enqueue':
        event = json.loads(body)
        assert event['routing_key'] == 'the key' and event['event_action'] in ('trigger', 'resolve')
        assert len(event['dedup_key']) <= 255 and set(event['payload']) >= {'summary', 'source', 'severity'}
        assert event['payload']['severity'] in ('critical', 'error', 'warning', 'info') and len(event['payload']['summary']) <= 1024
        assert re.match(r'\d{4}-\d\d-\d\dT', event['payload']['timestamp'])
        return 1 if event['event_action'] == 'trigger' else 0, event['payload']['summary'], event['payload']['source']
    if path == '/ping':
        return 0, 'ping', ''
    raise AssertionError('no such path: ' + path)
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length'] or 0))
        if os.path.exists('/root/ill'):
            return self.answer(503, b'the key is ill')
        if os.path.exists('/root/refuse'):
            return self.answer(400, b'the key is not wanted')
        try:
            heard = check(self.path, self.headers, body)
        except Exception as error:
            heard = (-1, repr(error), body.decode())
        with open('/root/heard', 'a') as file:
            file.write(json.dumps([self.path, *heard]) + '\n')
        self.answer(200 if heard[0] >= 0 else 400, b'ok')
    do_GET = do_POST
    def answer(self, code, body):
        self.send_response(code)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words): pass
http.server.ThreadingHTTPServer(('127.0.0.1', 9000), Handler).serve_forever()
";
const EVERY_ROUTE: &str = r#"
[[alert]]
to = "telegraf"
url = "http://127.0.0.1:8086/write?db=certs"

[[alert]]
to = "alertmanager"
url = "http://127.0.0.1:9093"

[[alert]]
to = "webhook"
url = "http://127.0.0.1:9000/hook"
secret_file = "/root/key"

[[alert]]
to = "slack"
secret_file = "/root/slack"

[[alert]]
to = "ntfy"
url = "http://127.0.0.1:9000/topic"
secret_file = "/root/key"

[[alert]]
to = "pagerduty"
url = "http://127.0.0.1:9000/v2/enqueue"
secret_file = "/root/key"

[[alert]]
to = "email"
url = "smtp://mail.site.test:2525"
from = "certcast@site.test"
recipients = ["ops@site.test"]

[[alert]]
to = "exec"
argv = ["/root/script", "word"]

[[alert]]
to = "healthcheck"
url = "http://127.0.0.1:9000/ping"
"#;
const WEBHOOK: &str =
    "\n[[alert]]\nto = \"webhook\"\nurl = \"http://127.0.0.1:9000/hook\"\nsecret_file = \"/root/key\"\n";

fn receiver(primary: &Host) -> Running {
    primary.write("/root/key", "the key\n");
    primary.write("/root/slack", "http://127.0.0.1:9000/slack/s3cret\n");
    primary.write("/root/receiver", RECEIVER);
    let receiver = primary.spawn(["/usr/bin/python3", "/root/receiver"]);
    primary.await_listener(9000);
    receiver
}

/// What was heard by a path: state, words and node.
fn heard(primary: &Host, path: &str) -> Vec<(i64, String, String)> {
    let text = if primary.exists("/root/heard") { primary.text("/root/heard") } else { String::new() };
    let all = text.lines().map(|line| serde_json::from_str::<(String, i64, String, String)>(line).unwrap());
    all.filter(|(at, ..)| at == path).map(|(_, state, words, node)| (state, words, node)).collect()
}

fn states(primary: &Host, path: &str) -> Vec<i64> {
    heard(primary, path).into_iter().map(|(state, ..)| state).collect()
}

fn configure(primary: &Host, more: &str) {
    primary.append("/etc/certcast/config.toml", more);
}

fn alert_test(primary: &Host) -> Finished {
    primary.run(["certcast", "alert", "test"])
}

/// Debian's `InfluxDB`, with more in its configuration.
fn influx(primary: &Host, more: &str) -> Running {
    let usual = "bind-address = \"127.0.0.1:8088\"\n[meta]\ndir = \"/root/i/m\"\n[data]\ndir = \"/root/i/d\"\nwal-dir = \"/root/i/w\"\n[http]\nbind-address = \"127.0.0.1:8086\"\n";
    primary.write("/root/influx.conf", format!("{usual}{more}"));
    let influx = primary.spawn(["influxd", "-config", "/root/influx.conf"]);
    primary.await_listener(8086);
    influx
}

/// Debian's `InfluxDB`, Alertmanager, and an SMTP server that takes nothing without TLS, on the primary.
fn daemons(lab: &Lab) -> Vec<Running> {
    let primary = lab.primary();
    let influx = influx(primary, "");
    primary.write("/root/am.yml", "route:\n  receiver: none\nreceivers:\n- name: none\n");
    let manager = primary.spawn([
        "prometheus-alertmanager",
        "--config.file=/root/am.yml",
        "--storage.path=/root/am",
        "--web.listen-address=127.0.0.1:9093",
        "--cluster.listen-address=",
    ]);
    let tls = lab.bundle(&["mail.site.test"]);
    primary.write("/root/tls.pem", &tls.fullchain);
    primary.write("/root/tls.key", &tls.privkey);
    crate::trust::trusts_the_lab(primary, lab);
    primary.append("/etc/hosts", "127.0.0.1 mail.site.test\n");
    let smtp = primary.spawn([
        "/usr/bin/python3",
        "-m",
        "aiosmtpd",
        "-n",
        "-l",
        "127.0.0.1:2525",
        "--tlscert",
        "/root/tls.pem",
        "--tlskey",
        "/root/tls.key",
        "-c",
        "aiosmtpd.handlers.Mailbox",
        "/root/mail",
    ]);
    for port in [9093, 2525] {
        primary.await_listener(port);
    }
    vec![influx, manager, smtp]
}

fn query(primary: &Host, text: &str) -> String {
    let words = ["curl", "-sG", "http://127.0.0.1:8086/query", "--data-urlencode", &format!("q={text}")];
    primary.command(words).args(["--data-urlencode", "db=certs"]).run().ok().stdout()
}

/// What `InfluxDB` has.
fn points(primary: &Host) -> Vec<(i64, String)> {
    let answer = query(primary, "SELECT state, event FROM certcast WHERE kind='delivery'");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let values = answer["results"][0]["series"][0]["values"].as_array().cloned().unwrap_or_default();
    values.iter().map(|point| (point[1].as_i64().unwrap(), point[2].as_str().unwrap().to_owned())).collect()
}

/// What Alertmanager has, by amtool's word.
fn firing(primary: &Host) -> Vec<String> {
    let words = ["amtool", "--alertmanager.url=http://127.0.0.1:9093", "alert", "query", "-o", "json"];
    let alerts: Vec<Value> = serde_json::from_str(&primary.run(words).ok().stdout()).unwrap();
    let label = |alert: &Value, name: &str| alert["labels"][name].as_str().unwrap().to_owned();
    alerts.iter().map(|alert| format!("{} {}", label(alert, "alertname"), label(alert, "node"))).collect()
}

#[test]
fn a_peer_goes_off_and_comes_back_and_every_receiver_hears_of_it_once() {
    let (lab, _) = Lab::serving(2, NAME);
    let primary = lab.primary();
    let _receiver = receiver(primary);
    primary.write("/root/script", "#!/bin/sh\ncat >>/root/events\necho \"$*\" >>/root/words\n");
    primary.chmod("/root/script", 0o755);
    let daemons = daemons(&lab);
    query(primary, "CREATE DATABASE certs");
    configure(primary, EVERY_ROUTE);

    lab["web2"].stop_sshd();
    primary.set("deploy.budget", "6s");
    lab.issue(NAME, 2, &[NAME]);
    lab.deploy(NAME).exits(3);
    lab.resync(&[]).exits(3);
    assert_eq!(points(primary), [(1, "pending".to_owned())]);
    assert_eq!(firing(primary), ["certcast-pending web2"]);
    for path in ["/hook", "/slack/s3cret", "/topic", "/v2/enqueue"] {
        assert_eq!(states(primary, path), [1], "{path}: {:?}", heard(primary, path));
    }
    assert_eq!(primary.list("/root/mail/new").len(), 1);
    let mail = primary.text(&format!("/root/mail/new/{}", primary.list("/root/mail/new")[0]));
    assert!(
        mail.contains("Subject: [certcast] web2: www.site.test: pending") && mail.contains("To do: certcast resync"),
        "{mail}"
    );
    assert_eq!(primary.text("/root/words"), "word 1\n");
    assert!(heard(primary, "/ping").is_empty(), "not all is well");

    lab["web2"].start_sshd();
    lab.resync(&[]).ok();
    lab.resync(&[]).ok();
    assert_eq!(points(primary), [(1, "pending".to_owned()), (0, "recovered".to_owned())]);
    until("it is over", || firing(primary).is_empty());
    for path in ["/hook", "/slack/s3cret", "/topic", "/v2/enqueue"] {
        assert_eq!(states(primary, path), [1, 0], "{path}: {:?}", heard(primary, path));
    }
    assert_eq!(primary.list("/root/mail/new").len(), 2);
    assert_eq!(primary.text("/root/words"), "word 1\nword 0\n");
    assert_eq!(states(primary, "/ping"), [0, 0]);
    let said = alert_test(primary).exits(0).stdout();
    assert_eq!(said.lines().filter(|line| line.ends_with("took it")).count(), 9, "{said}");
    daemons.into_iter().for_each(Running::kill);
}

/// The log of the primary's own words, and all that it wrote down.
fn said_anywhere(primary: &Host, words: &str) -> bool {
    primary.run(["grep", "-rqF", words, "/var/lib/certcast", "/etc/certcast"]).code() == Some(0)
}

#[test]
fn an_ill_receiver_and_two_black_holes_cost_a_hook_its_budget_and_nothing_else() {
    let (lab, _) = Lab::serving(2, NAME);
    let primary = lab.primary();
    let _receiver = receiver(primary);
    let mute = "import socket, time\ns = socket.socket(); s.bind(('127.0.0.1', 9001)); s.listen(9)\ntime.sleep(1e6)";
    let _mute = primary.spawn(["/usr/bin/python3", "-c", mute]);
    primary.await_listener(9001);
    let deploy = |number| {
        let new = lab.issue(NAME, number, &[NAME]);
        let begun = Instant::now();
        lab.deploy(NAME).ok().silent();
        lab["web2"].serves(&lab, NAME, &new);
        begun.elapsed()
    };
    let without = deploy(2);
    let route = |url: &str| {
        format!(
            "\n[[alert]]\nto = \"webhook\"\nurl = \"{url}\"\nsecret_file = \"/root/key\"\nmin_severity = \"info\"\n"
        )
    };
    configure(primary, &route("http://127.0.0.1:9000/hook"));
    configure(primary, &route("http://192.0.2.99/hook"));
    configure(primary, &route("https://127.0.0.1:9001/hook"));
    let more = |to: &str, url: &str, more: &str| {
        format!("\n[[alert]]\nto = \"{to}\"\nurl = \"{url}\"\nmin_severity = \"info\"\n{more}")
    };
    let party = "from = \"certcast@site.test\"\nrecipients = [\"ops@site.test\"]\n";
    for scheme in ["smtp", "smtps"] {
        configure(primary, &more("email", &format!("{scheme}://127.0.0.1:9001"), party));
    }
    configure(primary, &more("telegraf", "unix:///root/full", ""));
    let full = "import socket, time\ns = socket.socket(socket.AF_UNIX); s.bind('/root/full'); s.listen(0)\nc = socket.socket(socket.AF_UNIX); c.connect('/root/full')\ntime.sleep(1e6)";
    let _full = primary.spawn(["/usr/bin/python3", "-c", full]);
    until("it is full", || primary.exists("/root/full"));
    primary.write("/root/ill", "");
    for number in 3..6 {
        let with = deploy(number);
        assert!(with < without + Duration::from_secs(5 + 3), "{with:?} after {without:?}");
    }
    // Nobody has heard of it, and a person can see that.
    let said = primary.run(["certcast", "status"]).exits(0).stderr();
    assert!(
        said.contains("alert 1 (webhook): fails since 20")
            && said.contains(": it answered 503 Service Unavailable: … is ill; 6 wait"),
        "{said}"
    );
    assert!(
        said.contains("alert 2 (webhook): fails since 20") && said.contains("alert 3 (webhook): fails since 20"),
        "{said}"
    );
    primary.run(["certcast", "check"]).exits(1).says("alert 1 (webhook): fails since");
    // Once it is well, all of it arrives, in its order and once.
    primary.remove("/root/ill");
    lab.resync(&[]).ok();
    lab.resync(&[]).ok();
    let nodes: Vec<_> = heard(primary, "/hook").into_iter().collect();
    let one = |node: &str| (0, "applied".to_owned(), node.to_owned());
    assert_eq!(nodes, (0..3).flat_map(|_| [one("web1"), one("web2")]).collect::<Vec<_>>());
    let said = primary.run(["certcast", "status"]).exits(0).stderr();
    assert!(!said.contains("alert 1") && said.contains("alert 2"), "{said}");
    assert!(!said_anywhere(primary, "the key") && !said.contains("the key"));
}

#[test]
fn what_a_receiver_will_not_have_is_put_aside_and_what_follows_arrives() {
    let (lab, _) = Lab::serving(2, NAME);
    let primary = lab.primary();
    let _receiver = receiver(primary);
    configure(primary, &format!("{WEBHOOK}min_severity = \"info\"\nretries = 1\n"));
    primary.write("/root/refuse", "");
    lab.issue(NAME, 2, &[NAME]);
    lab.deploy(NAME).ok().silent();
    lab.resync(&[]).ok();
    let said = primary.run(["certcast", "status"]).exits(0).stderr();
    assert!(said.contains(": it answered 400 Bad Request: … is not wanted; 1 wait; 1 were put aside"), "{said}");
    primary.remove("/root/refuse");
    lab.resync(&[]).ok();
    assert_eq!(heard(primary, "/hook"), [(0, "applied".to_owned(), "web2".to_owned())]);
}

#[test]
fn ten_thousand_that_wait_slow_no_hook_and_arrive_in_their_order() {
    const MANY: usize = 10_000;
    let (lab, _) = Lab::serving(2, NAME);
    let primary = lab.primary();
    configure(primary, &format!("{WEBHOOK}min_severity = \"info\"\n"));
    let deploy = |number| {
        lab.issue(NAME, number, &[NAME]);
        let begun = Instant::now();
        lab.deploy(NAME).ok().silent();
        begun.elapsed()
    };
    primary.write("/root/key", "the key\n");
    let few = deploy(2);
    let queue = primary.list("/var/lib/certcast/alerts").into_iter().find(|name| name.contains(".queue")).unwrap();
    let queue = format!("/var/lib/certcast/alerts/{queue}");
    let first: Value = serde_json::from_str(primary.text(&queue).lines().next().unwrap()).unwrap();
    let mut lines = String::new();
    for number in 0..MANY {
        let mut notice = first.clone();
        notice["id"] = Value::from(format!("{number:032}"));
        notice["node"] = Value::from(format!("n{number}"));
        lines += &notice.to_string();
        lines.push('\n');
    }
    primary.write(&queue, lines);
    let many = deploy(3);
    // Nobody listens, so nothing can be sent.
    assert!(many < few + Duration::from_secs(2), "{many:?} after {few:?}");
    let _receiver = receiver(primary);
    let mut arrived = 0;
    while arrived < MANY + 2 {
        lab.resync(&[]).ok();
        let now = heard(primary, "/hook").len();
        assert!(now > arrived, "a run sent none of those that wait after {arrived}");
        arrived = now;
    }
    let nodes: Vec<_> = heard(primary, "/hook").into_iter().map(|(_, _, node)| node).collect();
    let expected: Vec<_> =
        (0..MANY).map(|number| format!("n{number}")).chain(["web1".to_owned(), "web2".to_owned()]).collect();
    assert!(
        nodes == expected,
        "{} arrived, {:?}",
        nodes.len(),
        nodes.iter().zip(&expected).find(|(one, other)| one != other)
    );
}

#[test]
fn points_go_by_udp_and_by_a_unix_socket_too() {
    let (lab, _) = Lab::serving(1, NAME);
    let primary = lab.primary();
    let influx = influx(
        primary,
        "[[udp]]\nenabled = true\nbind-address = \"127.0.0.1:8089\"\ndatabase = \"udp\"\nbatch-size = 1\n",
    );
    let listen = "import socket\ns = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM if KIND == 'd' else socket.SOCK_STREAM); s.bind('/root/' + KIND)\nif KIND == 's': s.listen(1); s = s.accept()[0]\nopen('/root/got-' + KIND, 'wb').write(s.recv(65536))";
    let listeners: Vec<_> = ["d", "s"]
        .iter()
        .map(|kind| primary.spawn(["/usr/bin/python3", "-c", &format!("KIND = '{kind}'\n{listen}")]))
        .collect();
    until("they listen", || primary.exists("/root/d") && primary.exists("/root/s"));
    for url in ["udp://127.0.0.1:8089", "unix:///root/d", "unix:///root/s"] {
        configure(primary, &format!("\n[[alert]]\nto = \"telegraf\"\nurl = \"{url}\"\nmin_severity = \"info\"\n"));
    }
    alert_test(primary).exits(0);
    for listener in listeners {
        listener.wait().ok();
    }
    let (datagram, stream) = (primary.text("/root/got-d"), primary.text("/root/got-s"));
    assert!(
        datagram == stream && datagram.starts_with("certcast,kind=test,node=web1,lineage=test state=0i,"),
        "{datagram}"
    );
    until("it is stored", || {
        let words = [
            "curl",
            "-sG",
            "http://127.0.0.1:8086/query",
            "--data-urlencode",
            "q=SELECT state FROM certcast",
            "--data-urlencode",
            "db=udp",
        ];
        primary.run(words).stdout().contains("\"values\":[[")
    });
    influx.kill();
}

#[test]
fn a_challenge_that_is_not_proven_an_unfit_lineage_and_one_that_ends_are_told_and_their_ends_too() {
    let (lab, _) = Lab::serving(2, NAME);
    let primary = lab.primary();
    let _receiver = receiver(primary);
    configure(primary, WEBHOOK);
    lab.point_both(NAME, &["web1", "web2"]);
    lab["web2"].stop_nginx();
    primary.hooks().auth(&[NAME]).run().exits(1);
    lab["web2"].start_nginx();
    primary.hooks().auth(&[NAME]).run().ok().silent();
    let cert = primary.text(&format!("/etc/letsencrypt/live/{NAME}/cert.pem"));
    primary.write(&format!("/etc/letsencrypt/archive/{NAME}/cert1.pem"), "torn");
    lab.resync(&[]).exits(4);
    lab.resync(&[]).exits(4);
    primary.write(&format!("/etc/letsencrypt/archive/{NAME}/cert1.pem"), cert);
    lab.resync(&[]).ok();
    let told: Vec<_> =
        heard(primary, "/hook").into_iter().map(|(state, event, node)| format!("{state} {event} {node}")).collect();
    assert_eq!(told, ["1 challenge-failed web1", "0 recovered web1", "1 lineage-unfit web1", "0 recovered web1"]);
}

#[test]
fn challenges_that_fail_again_are_one_alert_whatever_their_tokens_are() {
    let (lab, _) = Lab::serving(2, NAME);
    let primary = lab.primary();
    let _receiver = receiver(primary);
    configure(primary, WEBHOOK);
    let names = ["c.site.test", "a.site.test", "d.site.test", "b.site.test"];
    lab.dns().set_all(&names, &["web1", "web2"].map(|host| lab[host].v4().into()));
    lab["web2"].stop_nginx();
    for run in 0..3 {
        let mut hooks = primary.hooks();
        for (at, name) in names.iter().enumerate() {
            // Of their order nothing follows from the names'.
            let token = format!("{:x<43}", (at * 7 + run * 5) % 11);
            let (remaining, validation) = ((names.len() - 1 - at).to_string(), format!("{token}.{ACCOUNT}"));
            let words = [
                ("DOMAIN", *name),
                ("TOKEN", &token),
                ("VALIDATION", &validation),
                ("REMAINING_CHALLENGES", &remaining),
            ];
            let words = words.map(|(key, value)| (format!("CERTBOT_{key}"), value));
            let words: Vec<(&str, &str)> = words.iter().map(|(key, value)| (key.as_str(), *value)).collect();
            hooks = hooks.call("auth", &words);
        }
        hooks.run().exits(1);
    }
    assert_eq!(heard(primary, "/hook").len(), 1);
}

#[test]
fn a_certificate_that_ends_and_a_route_that_fails_are_told_by_the_others() {
    let (lab, _) = Lab::serving(1, NAME);
    let primary = lab.primary();
    let _receiver = receiver(primary);
    configure(primary, WEBHOOK);
    configure(primary, "\n[[alert]]\nto = \"ntfy\"\nurl = \"http://127.0.0.1:9009/topic\"\n");
    primary.install(NAME, 2, &lab.bundle_valid(&[NAME], Validity::Days(-84, 6)));
    primary.reload_nginx();
    lab.resync(&["--force"]).ok();
    // It has failed for longer than a passing trouble.
    let health = primary.list("/var/lib/certcast/alerts").into_iter().find(|name| name.contains(".health")).unwrap();
    let health = format!("/var/lib/certcast/alerts/{health}");
    let mut known: Value = serde_json::from_str(&primary.text(&health)).unwrap();
    known["failing"][0] = Value::from("2026-01-01T00:00:00Z");
    primary.write(&health, known.to_string());
    lab.resync(&[]).ok();
    lab.resync(&[]).ok();
    let config = primary
        .configuration()
        .replace("9009/topic", "9000/topic")
        .replace("to = \"ntfy\"", "to = \"ntfy\"\nsecret_file = \"/root/key\"");
    primary.configure(&config);
    lab.resync(&[]).ok();
    lab.resync(&[]).ok();
    assert_eq!(states(primary, "/topic"), [1, 0], "what waited is sent: {:?}", heard(primary, "/topic"));
    let told: Vec<_> =
        heard(primary, "/hook").into_iter().map(|(state, event, _)| format!("{state} {event}")).collect();
    assert_eq!(told, ["1 expiring", "1 route-failing", "0 recovered"]);
}

#[test]
fn what_could_not_be_put_into_a_routes_spool_is_told_by_the_next_run() {
    let (lab, _) = Lab::serving(2, NAME);
    let primary = lab.primary();
    let _receiver = receiver(primary);
    configure(primary, &format!("{WEBHOOK}min_severity = \"info\"\n"));
    // As if it were killed between the ledger and the spool.
    primary.mkdir("/var/lib/certcast/alerts/webhook-1.queue");
    lab.issue(NAME, 2, &[NAME]);
    lab.deploy(NAME).ok().silent();
    assert!(heard(primary, "/hook").is_empty());
    primary.run(["rmdir", "/var/lib/certcast/alerts/webhook-1.queue"]).ok();
    lab.resync(&[]).ok();
    let nodes: Vec<_> = heard(primary, "/hook").into_iter().map(|(_, event, node)| format!("{event} {node}")).collect();
    assert_eq!(nodes, ["applied web1", "applied web2"]);
}

#[test]
fn certbot_renews_while_a_peer_is_off_and_there_is_one_alert_and_one_recovery() {
    let lab = Lab::raise().hosts(2).with_ca().up();
    let (primary, peer) = (lab.primary(), &lab["web2"]);
    // Whoever is off for days is taken out of DNS: the CA does not ask there.
    lab.point_both(NAME, &["web1"]);
    primary.set("challenge.require", "reachable");
    let _receiver = receiver(primary);
    configure(primary, WEBHOOK);
    crate::with_certbot::certonly(&lab, Certbot::Debian, &[NAME]).ok();
    for host in lab.hosts() {
        host.serve(NAME, &[NAME]);
    }
    let before = peer.installed_leaf(NAME);
    primary.set("deploy.budget", "6s");
    primary.set("challenge.budget", "9s");
    peer.stop_sshd();
    primary.certbot(Certbot::Debian).args(crate::with_certbot::RENEW).run().ok();
    lab.resync(&[]).exits(3);
    assert_eq!(heard(primary, "/hook"), [(1, "pending".to_owned(), "web2".to_owned())]);
    peer.start_sshd();
    lab.resync(&[]).ok();
    lab.resync(&[]).ok();
    assert_eq!(states(primary, "/hook"), [1, 0], "{:?}", heard(primary, "/hook"));
    assert!(peer.installed_leaf(NAME) != before && peer.installed_leaf(NAME) == primary.installed_leaf(NAME));
}

#[test]
fn with_a_peer_that_is_there_no_more_its_trouble_is_over() {
    let (lab, _) = Lab::serving(2, NAME);
    let primary = lab.primary();
    let _receiver = receiver(primary);
    configure(primary, WEBHOOK);
    primary.set("deploy.budget", "6s");
    lab["web2"].stop_sshd();
    lab.issue(NAME, 2, &[NAME]);
    lab.deploy(NAME).exits(3);
    assert_eq!(states(primary, "/hook"), [1]);
    primary.run(["certcast", "peer", "remove", "--gone", "web2"]).exits(0);
    lab.resync(&[]).ok();
    assert_eq!(states(primary, "/hook"), [1, 0], "{:?}", heard(primary, "/hook"));
}

#[test]
fn where_no_lineage_is_wanted_nobody_is_told_that_all_is_well() {
    let (lab, _) = Lab::serving(1, NAME);
    let primary = lab.primary();
    let _receiver = receiver(primary);
    configure(primary, "\n[[alert]]\nto = \"healthcheck\"\nurl = \"http://127.0.0.1:9000/ping\"\n");
    primary.set("deploy.lineages", vec!["other"]);
    lab.resync(&[]).ok();
    assert!(heard(primary, "/ping").is_empty(), "nothing was looked at");
    primary.set("deploy.lineages", vec!["*"]);
    lab.resync(&[]).ok();
    assert_eq!(states(primary, "/ping"), [0]);
}
