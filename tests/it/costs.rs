//! What a run costs, counted in what no clock and no other process changes: connections, round trips, bytes, system calls.
//! A number here may become smaller. One that grows has its reason in the commit that raises it.

use crate::lab::{Grant, Host, Lab, Running};

const NAME: &str = "www.site.test";

/// A half-duplex cable to a peer's sshd: what both say is kept until both are silent, so flights do not overlap. Each time the
/// client speaks after it heard something is a round trip; TCP's own comes first, the goodbye last. It takes one connection at
/// a time. A line a connection: round trips, bytes to the server, bytes from it.
const CABLE: &str = "
import selectors, socket, sys
listener = socket.create_server(('127.0.0.1', 2022))
while True:
    client = listener.accept()[0]
    server = socket.create_connection((sys.argv[1], 22))
    other = {client: server, server: client}
    said = {client: 0, server: 0}
    trips, heard = 1, True
    with selectors.DefaultSelector() as ready:
        for end in other:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            ready.register(end, selectors.EVENT_READ)
        while ready.get_map():
            kept = {client: b'', server: b''}
            events = ready.select()
            while events:
                for key, _ in events:
                    try: data = key.fileobj.recv(1 << 20)
                    except OSError: data = b''
                    kept[key.fileobj] += data
                    if not data: ready.unregister(key.fileobj)
                events = ready.select(0.05) if ready.get_map() else []
            if kept[client] and heard: trips, heard = trips + 1, False
            heard = heard or bool(kept[server])
            for end, data in kept.items():
                said[end] += len(data)
                try: other[end].sendall(data)
                except OSError: pass
            for end in (end for end in other if end not in [key.fileobj for key in ready.get_map().values()]):
                try: other[end].shutdown(socket.SHUT_WR)
                except OSError: pass
    with open('/root/trips', 'a') as file: file.write('%d %d %d\\n' % (trips, said[client], said[server]))
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

/// Round trips and bytes of the connections since the last look, of which there are to be so many.
fn trips(primary: &Host, connections: usize) -> Vec<(u32, u32, u32)> {
    let is_told = || {
        let text = if primary.exists("/root/trips") { primary.text("/root/trips") } else { String::new() };
        text.ends_with('\n') && text.lines().count() >= connections
    };
    crate::lab::until("the connection is over", is_told);
    let text = primary.text("/root/trips");
    primary.remove("/root/trips");
    let number = |words: &[u32]| (words[0], words[1], words[2]);
    text.lines().map(|line| number(&line.split(' ').map(|word| word.parse().unwrap()).collect::<Vec<_>>())).collect()
}

/// How many runs it took until the first connection of one cost no more than this. Whatever else the machine does may make a flight
/// two, and never two of them one: the least of a few is what is true.
fn costs(primary: &Host, most: (u32, u32, u32), connections: usize, mut run: impl FnMut()) -> usize {
    let mut all = Vec::new();
    for count in 1..=5 {
        run();
        let seen = trips(primary, connections);
        assert_eq!(seen.len(), connections, "{seen:?}");
        let (trips, up, down) = seen[0];
        if trips <= most.0 && up <= most.1 && down <= most.2 {
            return count;
        }
        all.push(seen);
    }
    panic!("at most {most:?}: {all:?}")
}

#[test]
fn a_conversation_costs_so_many_round_trips_and_bytes_and_a_run_one_connection_a_peer() {
    let (lab, _) = Lab::serving(2, NAME);
    let primary = lab.primary();
    let _cable = cable(&lab);
    let before = lab["web2"].logins();
    let mut newest = 1;
    let deploys = costs(primary, (12, 5_600, 3_200), 1, || {
        newest += 1;
        lab.issue(NAME, newest, &[NAME]);
        lab.deploy(NAME).ok().silent();
    });
    let resyncs = costs(primary, (11, 2_300, 3_200), 1, || {
        lab.resync(&[]).ok();
    });
    let together = costs(primary, (13, 15_000, 4_000), 1, || {
        newest += 1;
        for name in [NAME, "a.site.test", "b.site.test"] {
            lab.issue(name, newest, &[name]);
        }
        lab.resync(&[]).ok();
    });
    primary.set("challenge.check_dns", false);
    let names: Vec<String> = (0..30).map(|number| format!("n{number}.site.test")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let auths = costs(primary, (11, 8_500, 3_100), 2, || {
        primary.hooks().auth(&names).cleanup(&names).run().ok().silent();
    });
    // Of one more connection of the last the cable might not have told yet; of those before, it would have with the next.
    assert_eq!(lab["web2"].logins(), before + deploys + resyncs + together + 2 * auths);
}

#[test]
fn a_hook_that_only_records_its_challenge_makes_so_many_system_calls() {
    let (lab, _) = Lab::serving(1, NAME);
    let primary = lab.primary();
    let traced = "exec strace -f -qq -c -o /root/calls /usr/local/bin/certcast auth";
    primary.hooks().auth_one(traced, NAME, 1).run().ok();
    let table = primary.text("/root/calls");
    let total = table.lines().find(|line| line.trim_end().ends_with("total")).unwrap();
    let seen: u32 = total.split_whitespace().nth(3).unwrap().parse().unwrap();
    assert!(seen <= 240, "{table}");
}

#[test]
fn a_cleanup_waits_for_the_disk_so_often_by_names_and_by_nodes_and_not_by_names_times_nodes() {
    let names: Vec<String> = (0..30).map(|number| format!("n{number}.site.test")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let lab = Lab::raise().hosts(11).up();
    let primary = lab.primary();
    primary.set("challenge.check_dns", false);
    let traced = "exec strace -f -qq -A -e trace=fsync,fdatasync -o /root/syncs /usr/local/bin/certcast";
    let run = primary.hooks().auth(&names);
    let run = names.iter().fold(run, |run, name| run.cleanup_by(&format!("{traced} cleanup"), name));
    run.run().ok().silent();
    assert!(lab.hosts().iter().all(|host| host.tokens().is_empty()));
    let trace = primary.text("/root/syncs");
    let seen = trace.matches("sync(").count();
    let most = 5 * names.len() + 5 * lab.hosts().len();
    assert!((1..=most).contains(&seen), "{seen} and not 1 to {most}");
}

#[test]
fn a_peer_tests_its_service_once_with_the_staged_files_and_once_with_the_new_ones_however_many_lineages() {
    let (lab, _) = Lab::serving(2, NAME);
    let peer = &lab["web2"];
    let receiver = "strace -f -qq -e trace=execve -e status=successful -s 200 -o /root/started /usr/local/bin/certcast receive --role deploy";
    peer.authorize_only(&lab.identity(), Grant::Forced(receiver));
    let tests_and_reloads = || {
        crate::lab::until("the conversation is over", || peer.processes("certcast receive").is_empty());
        let trace = peer.text("/root/started");
        let count = |words: &str| trace.matches(words).count();
        (count("\"nginx\", \"-t\""), count("\"nginx\", \"-s\""))
    };
    lab.issue(NAME, 2, &[NAME]);
    lab.deploy(NAME).ok().silent();
    assert_eq!(tests_and_reloads(), (2, 1));
    // Those that are not there yet cannot be shown in their place: the test as it is comes before, and the one after it.
    let more = ["a.site.test", "b.site.test", "c.site.test"];
    for name in more {
        lab.issue(name, 1, &[name]);
    }
    lab.resync(&[]).ok();
    assert_eq!(tests_and_reloads(), (2, 1));
    for name in more {
        lab.issue(name, 2, &[name]);
    }
    lab.resync(&[]).ok();
    assert_eq!(tests_and_reloads(), (2, 1), "for three lineages as for one");
}

/// A receiver whose two ways are kept: what was said can be counted.
const HEARD: &str = "tee /root/up | /usr/local/bin/certcast receive --role deploy | tee /root/down";

/// How many messages a way had: after the banner's line, each with its length before it.
fn frames(peer: &Host, way: &str) -> usize {
    let bytes = peer.read(way);
    let mut rest = &bytes[bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1..];
    let mut count = 0;
    while let Some((length, more)) = rest.split_first_chunk::<4>() {
        rest = &more[u32::from_be_bytes(*length) as usize..];
        count += 1;
    }
    count
}

#[test]
fn a_conversation_has_so_many_messages() {
    let (lab, _) = Lab::serving(2, NAME);
    let peer = &lab["web2"];
    peer.authorize_only(&lab.identity(), Grant::Forced(HEARD));
    let said = || {
        crate::lab::until("the conversation is over", || peer.processes("tee /root/").is_empty());
        (frames(peer, "/root/up"), frames(peer, "/root/down"))
    };
    lab.issue(NAME, 2, &[NAME]);
    lab.deploy(NAME).ok().silent();
    assert_eq!(said(), (3, 3), "hello, prepare, commit");
    lab.resync(&[]).ok();
    assert_eq!(said(), (2, 2), "hello, compare");
    for name in [NAME, "a.site.test", "b.site.test"] {
        lab.issue(name, 3, &[name]);
    }
    lab.resync(&[]).ok();
    assert_eq!(said(), (4, 4), "hello, compare, prepare, commit");
    lab.primary().set("challenge.check_dns", false);
    lab.primary().hooks().auth(&["a.site.test", "b.site.test"]).run().ok().silent();
    assert_eq!(said(), (2, 2), "hello, publish");
}
