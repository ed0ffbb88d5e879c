//! Where the time goes, by callgrind and strace. Run by `./benches/profile`.

use std::fmt::Write as _;
use std::fs;

use super::{DEADLINE, Fleet, NAME, TREE, list, results_path};

/// Lines of each tool's table that are worth a look.
const LINES: usize = 30;

#[test]
#[ignore = "takes its time and wants the machine for itself: ./benches/profile"]
fn where_it_goes() {
    let peers = usize::try_from(list("CERTCAST_PROFILE_PEERS")[0]).unwrap();
    let fleet = Fleet::raise(peers, 0);
    let primary = fleet.lab.primary();
    let recording = primary.hooks().auth_one("UNDER certcast auth", "n0.site.test", 1).lines();
    let deploy = format!("sh /root/next; RENEWED_LINEAGE={TREE}/live/{NAME} UNDER certcast deploy");
    let run = |line: &str| primary.command(["sh", "-ec", line]).deadline(DEADLINE).run().ok().stdout();
    let mut report = String::new();
    for (what, line) in [
        ("a call that records", recording.as_str()),
        ("resync, nothing to do", "UNDER certcast resync"),
        ("deploy", &deploy),
    ] {
        run(&line.replace("UNDER", "strace -f -c -o /root/calls"));
        run(&line.replace("UNDER", "valgrind --quiet --tool=callgrind --callgrind-out-file=/root/instructions"));
        let calls = primary.text("/root/calls");
        let instructions = run("callgrind_annotate --inclusive=yes /root/instructions");
        for (tool, table) in [("strace", calls), ("callgrind", instructions)] {
            let table: Vec<_> = table.lines().filter(|line| !line.is_empty()).take(LINES).collect();
            assert!(table.len() > 5, "{what}: {table:?}");
            _ = writeln!(report, "== {what}, {peers} peers: {tool}\n{}\n", table.join("\n"));
        }
    }
    fs::write(results_path("profile.txt"), report).unwrap();
}
