//! What a run costs, counted in what no clock and no other process changes: connections, round trips, bytes, system calls.
//! A number here may become smaller. One that grows has its reason in the commit that raises it.

use crate::lab::{Host, Lab, Running};

const NAME: &str = "www.site.test";

/// A cable to a peer's sshd through which each flight takes a while, so that flights do not overlap: each time the client
/// speaks after the server did is a round trip. A line a connection: round trips, bytes to the server, bytes from it.
const CABLE: &str = "
import socket, sys, threading, time
to = sys.argv[1]
def run(client):
    server = socket.create_connection((to, 22))
    for end in (client, server): end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    seen = {'last': '', 'trips': 0, 'up': 0, 'down': 0}
    lock = threading.Lock()
    def carry(one, other, way):
        while True:
            try: data = one.recv(1 << 20)
            except OSError: data = b''
            with lock:
                seen[way] += len(data)
                if data and way == 'up' and seen['last'] != 'up': seen['trips'] += 1
                if data: seen['last'] = way
            time.sleep(0.02)
            try: other.sendall(data) if data else other.shutdown(socket.SHUT_WR)
            except OSError: pass
            if not data: return
    ways = [threading.Thread(target=carry, args=ways) for ways in ((client, server, 'up'), (server, client, 'down'))]
    for way in ways: way.start()
    for way in ways: way.join()
    # With the one in which TCP itself connects.
    with open('/root/trips', 'a') as file: file.write('%d %d %d\\n' % (seen['trips'] + 1, seen['up'], seen['down']))
listener = socket.create_server(('127.0.0.1', 2022))
while True: threading.Thread(target=run, args=(listener.accept()[0],)).start()
";

fn cable(lab: &Lab) -> Running {
    let (primary, peer) = (lab.primary(), &lab["web2"]);
    primary.write("/root/cable", CABLE);
    let cable = primary.spawn(["/usr/bin/python3", "/root/cable", &peer.v4().to_string()]);
    primary.await_listener(2022);
    primary.append("/etc/certcast/known_hosts", format!("[127.0.0.1]:2022 {}\n", peer.host_key()));
    primary.set("peer.0.ssh", "root@127.0.0.1:2022");
    cable
}

/// Round trips and bytes of the connections since the last look.
fn trips(primary: &Host) -> Vec<(u32, u32, u32)> {
    crate::lab::until("the connection is over", || primary.exists("/root/trips"));
    let text = primary.text("/root/trips");
    primary.remove("/root/trips");
    let number = |words: &[u32]| (words[0], words[1], words[2]);
    text.lines().map(|line| number(&line.split(' ').map(|word| word.parse().unwrap()).collect::<Vec<_>>())).collect()
}

#[test]
fn a_conversation_costs_so_many_round_trips_and_bytes_and_a_run_one_connection_a_peer() {
    let (lab, _) = Lab::serving(2, NAME);
    let primary = lab.primary();
    let _cable = cable(&lab);
    lab.issue(NAME, 2, &[NAME]);
    lab.deploy(NAME).ok().silent();
    let deploy = trips(primary);
    lab.resync(&[]).ok();
    let resync = trips(primary);
    primary.set("challenge.check_dns", false);
    let names: Vec<String> = (0..30).map(|number| format!("n{number}.site.test")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    primary.hooks().auth(&names).run().ok().silent();
    let auth = trips(primary);
    for (what, seen, most) in [
        ("deploy", deploy, (11, 5_600, 3_200)),
        ("resync", resync, (10, 2_300, 3_200)),
        ("auth", auth, (10, 8_500, 3_100)),
    ] {
        let [(trips, up, down)] = seen[..] else { panic!("{what}: {seen:?}: not one connection") };
        assert!(trips <= most.0 && up <= most.1 && down <= most.2, "{what}: {seen:?}, at most {most:?}");
    }
}

/// How many system calls a command makes, all its threads and children.
fn calls(primary: &Host, line: &str) -> u32 {
    primary.run(["sh", "-c", line]).ok();
    let table = primary.text("/root/calls");
    let total = table.lines().find(|line| line.trim_end().ends_with("total")).unwrap();
    total.split_whitespace().nth(3).unwrap().parse().unwrap()
}

#[test]
fn a_hook_that_only_records_its_challenge_makes_so_many_system_calls() {
    let (lab, _) = Lab::serving(1, NAME);
    let primary = lab.primary();
    let auth = format!(
        "CERTBOT_DOMAIN={NAME} CERTBOT_TOKEN={:_<43} CERTBOT_VALIDATION={:_<43}.{:_<43} CERTBOT_REMAINING_CHALLENGES=1 \
         exec strace -f -qq -c -o /root/calls /usr/local/bin/certcast auth",
        "t", "t", "a"
    );
    let seen = calls(primary, &auth);
    assert!(seen <= 240, "{}", primary.text("/root/calls"));
}
