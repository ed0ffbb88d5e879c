//! Where the time goes, by perf and strace. Run by `./benches/profile`.

use std::fmt::Write as _;
use std::fs;

use super::{DEADLINE, Fleet, NAME, TREE, list, results_path};

/// Lines of each tool's table that are worth a look.
const LINES: usize = 30;
/// One run of some milliseconds is too short for samples.
const RUNS: u32 = 30;

#[test]
#[ignore = "takes its time and wants the machine for itself: ./benches/profile"]
fn where_it_goes() {
    let peers = usize::try_from(list("CERTCAST_PROFILE_PEERS")[0]).unwrap();
    let fleet = Fleet::raise(peers, 0);
    let primary = fleet.lab.primary();
    let run = |words: &str| primary.command(["sh", "-ec", words]).deadline(DEADLINE).run().ok().stdout();
    let recording = primary.hooks().auth_one("certcast auth", "n0.site.test", 1).lines();
    let deploy = format!("sh /root/next; RENEWED_LINEAGE={TREE}/live/{NAME} certcast deploy");
    let mut report = String::new();
    for (what, line) in
        [("calls that record", recording.as_str()), ("resync, nothing to do", "certcast resync"), ("deploy", &deploy)]
    {
        primary.write("/root/line", line);
        primary.write("/root/lines", format!("for run in $(seq {RUNS}); do sh -e /root/line; done\n"));
        run(&line.replace("certcast ", "strace -f -c -o /root/calls certcast "));
        let calls = primary.text("/root/calls");
        let samples = run("perf record -q -F 9999 -o /root/samples sh -e /root/lines >/dev/null; \
             perf report --stdio -i /root/samples --comm certcast --sort symbol,dso");
        for (tool, table) in [("strace", calls), ("perf", samples)] {
            let is_row = |line: &&str| !line.is_empty() && !line.starts_with('#');
            let table: Vec<_> = table.lines().filter(is_row).take(LINES).collect();
            assert!(table.len() > 5, "{what}: {table:?}");
            _ = writeln!(report, "== {what}, {peers} peers: {tool}\n{}\n", table.join("\n"));
        }
    }
    fs::write(results_path("profile.txt"), report).unwrap();
}
