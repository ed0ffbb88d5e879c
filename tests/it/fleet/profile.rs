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
    let recording = |hook: &str| primary.hooks().auth_one(hook, "n0.site.test", 1).lines();
    let deploy = |under: &str| format!("sh /root/next; RENEWED_LINEAGE={TREE}/live/{NAME} {under} certcast deploy");
    let run = |line: &str| primary.command(["sh", "-ec", line]).deadline(DEADLINE).run().ok().stdout();
    let mut report = String::new();
    for (what, line) in [
        (
            "a call that records",
            &(|under: &str| recording(&format!("{under} certcast auth"))) as &dyn Fn(&str) -> String,
        ),
        ("resync, nothing to do", &|under| format!("{under} certcast resync")),
        ("deploy", &deploy),
    ] {
        run(&line("strace -f -c -o /root/calls"));
        run(&line("valgrind --quiet --tool=callgrind --callgrind-out-file=/root/instructions"));
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
