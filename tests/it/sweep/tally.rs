//! The loop over all cuts of a scenario, and its figures.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use certcast::model::outcome::Outcome;

use super::bench::{Bench, Victim, told};
use super::cut::{self, Cut};
use super::scenario::Scenario;
use super::verdict::judge;

/// How often the same state is judged while services are being moved: a reload may be under way and not yet be seen.
const MOVING: usize = 3;

/// How much is run.
#[derive(Clone, Copy, Debug)]
pub enum Size {
    /// Every n-th case.
    Every(usize),
}

/// Figures.
#[derive(Debug, Default)]
pub struct Tally {
    /// How many runs were cut.
    pub cases: usize,
    /// How many end states were judged.
    pub judged: usize,
    /// Unsafe end states, each in words.
    pub faults: Vec<String>,
}

impl Tally {
    /// Both.
    pub fn add(&mut self, other: Tally) {
        self.cases += other.cases;
        self.judged += other.judged;
        self.faults.extend(other.faults);
    }
}

impl Tally {
    /// Said at once, for the whole sweep takes long.
    #[expect(clippy::print_stderr, reason = "the harness shows it for failed tests, and when asked")]
    fn fault(&mut self, fault: String) {
        eprintln!("unsafe: {fault}");
        self.faults.push(fault);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sweep: {} cases, {} end states judged, {} unsafe", self.cases, self.judged, self.faults.len())
    }
}

/// Cuts `receive` everywhere, then `recover` everywhere from the ends of each phase that a cut `receive` left.
pub fn sweep(scenario: Scenario, size: Size) -> Tally {
    let bench = Bench::raise(scenario);
    let mut sweep = Sweep { bench, seen: HashMap::new(), left: BTreeMap::new(), tally: Tally::default() };
    let begun = std::time::Instant::now();
    sweep.cut_all(None, Victim::Receive, size);
    let crashes: Vec<_> = std::mem::take(&mut sweep.left).into_values().collect();
    for crash in &crashes {
        sweep.cut_all(Some(crash), Victim::Recover, size);
    }
    sweep.say(begun);
    sweep.tally
}

/// Kills the naive script everywhere.
pub fn sweep_naive(scenario: Scenario) -> Tally {
    let bench = Bench::raise(scenario);
    let mut sweep = Sweep { bench, seen: HashMap::new(), left: BTreeMap::new(), tally: Tally::default() };
    sweep.cut_all(None, Victim::Naive, Size::Every(1));
    sweep.tally
}

struct Sweep {
    bench: Bench,
    seen: HashMap<(u64, usize, Option<String>, String), usize>,
    /// For each phase of the journal, a cut that left the first and one that left the last of it.
    left: BTreeMap<String, Cut>,
    tally: Tally,
}

impl Sweep {
    fn cut_all(&mut self, crash: Option<&Cut>, victim: Victim, size: Size) {
        let no_exchange = self.bench.scenario.no_exchange;
        self.begin(crash);
        let record = self.bench.record(victim);
        let cuts = match victim {
            Victim::Receive => cut::places(&record, no_exchange, &cut::FAILURES),
            Victim::Recover => cut::places(&record, no_exchange, &cut::FAILURES_AGAIN),
            // Between its commands: inside of them is not the shell.
            Victim::Naive => {
                cut::places(&record, no_exchange, &[]).into_iter().filter(|cut| cut.is_at("wait4")).collect()
            }
        };
        let Size::Every(stride) = size;
        for cut in cuts.iter().step_by(stride) {
            let before = self.begin(crash);
            let ended = self.bench.run(cut.words(no_exchange), victim, '1');
            self.tally.cases += 1;
            let said = told(&ended);
            let (state, journal) = self.bench.state();
            let records: Vec<_> =
                journal.lines().filter_map(|line| line.split("\"record\":\"").nth(1)?.split('"').next()).collect();
            let phase = records.last().copied().unwrap_or("none");
            if cut.kills() && victim == Victim::Receive && phase != "none" {
                self.left.entry(format!("{phase} first")).or_insert_with(|| cut.clone());
                self.left.insert(format!("{phase} last"), cut.clone());
            }
            let key = (state, self.bench.host().nginx_reloads(), self.bench.served_since_reset(), format!("{said:?}"));
            let seen = self.seen.entry(key).or_default();
            *seen += 1;
            if *seen > if ["switching", "undoing"].contains(&phase) { MOVING } else { 1 } {
                continue;
            }
            self.tally.judged += 1;
            let name = self.bench.scenario.name;
            let after =
                crash.map(|crash| format!(" after receive at {crash}, which said {before:?},")).unwrap_or_default();
            let faults = judge(&self.bench, said.as_ref());
            if !faults.is_empty() {
                self.tally.fault(format!("{name}: {victim:?} at {cut}{after} ({phase}): {}", faults.join("; ")));
            }
        }
    }

    fn begin(&self, crash: Option<&Cut>) -> Option<Outcome> {
        self.bench.reset();
        if let Some(crash) = crash {
            // What is killed where services were asked meanwhile may come out elsewhere this time: told with the fault.
            let ended = self.bench.run(crash.words(self.bench.scenario.no_exchange), Victim::Receive, '1');
            return told(&ended);
        }
        None
    }

    #[expect(clippy::print_stderr, reason = "a sweep takes long; the harness shows this when asked")]
    fn say(&self, begun: std::time::Instant) {
        let Tally { cases, judged, faults } = &self.tally;
        let (name, took) = (self.bench.scenario.name, begun.elapsed().as_secs());
        eprintln!("sweep: {name}: {cases} cases, {judged} end states judged, {} unsafe, {took} s", faults.len());
    }
}
