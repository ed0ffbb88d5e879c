//! The loop over all cuts of a scenario, and its figures.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::bench::Bench;
use super::cut::{Blow, Call, Cut, Failures, places};

/// How often the same state is judged while services are being moved: a reload may be under way and not yet be seen.
const MOVING: usize = 3;

/// A case takes seconds at most; after this there is nobody left who would do one.
const STUCK: Duration = Duration::from_secs(600);

/// What is cut.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The scenario, for people.
    pub name: String,
    /// A call that fails in every run.
    pub never: Option<Call>,
    /// Only cuts at these calls; all if there are none.
    pub only: &'static [Call],
    /// How calls of the disk fail.
    pub failures: &'static Failures,
    /// The same while a crash is recovered from.
    pub failures_again: &'static Failures,
    /// How much of all of this.
    pub size: Size,
}

/// How much is run, and how fast.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Every n-th case.
    pub every: usize,
    /// Before that, of the kills at calls that change nothing outside of the process, every n-th.
    pub silent: usize,
    /// How many benches work at once.
    pub benches: usize,
}

/// Figures.
#[derive(Debug, Default)]
pub struct Tally {
    /// How many runs were cut.
    pub cases: usize,
    /// How many came to their end before the call that was to be cut.
    pub missed: usize,
    /// How many kills were left out by the rule for calls that change nothing.
    pub left_out: usize,
    /// How many end states were judged.
    pub judged: usize,
    /// Unsafe end states, each in words.
    pub faults: Vec<String>,
}

impl Tally {
    /// Both.
    pub fn add(&mut self, other: Tally) {
        self.cases += other.cases;
        self.missed += other.missed;
        self.left_out += other.left_out;
        self.judged += other.judged;
        self.faults.extend(other.faults);
    }

    /// The same, unless so little was cut that it shows nothing.
    pub fn meant(self, scenario: &str) -> Tally {
        assert!(self.cases > self.missed, "{scenario}: {self}");
        self
    }

    /// Said at once, for the whole sweep takes long.
    #[expect(clippy::print_stderr, reason = "the harness shows it for failed tests, and when asked")]
    fn fault(&mut self, fault: String) {
        eprintln!("unsafe: {fault}");
        self.faults.push(fault);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { cases, missed, left_out, judged, faults } = self;
        write!(f, "{cases} cases, {judged} end states judged, {} unsafe", faults.len())?;
        write!(f, " ({missed} ended before their call, {left_out} kills at silent calls left out)")
    }
}

/// Cuts the program everywhere, then what recovers everywhere from the ends of each phase that a killed program left.
#[expect(clippy::print_stderr, reason = "a sweep takes long; the harness shows this when asked")]
pub fn sweep<B: Bench>(plan: &Plan, raise: impl Fn() -> B + Sync) -> Tally {
    let begun = Instant::now();
    let (jobs, inbox) = channel();
    let (tell, told) = channel();
    let inbox = Mutex::new(inbox);
    let shared = Shared { plan, seen: Mutex::default(), tally: Mutex::default() };
    std::thread::scope(|scope| {
        for _ in 0..plan.size.benches {
            let (tell, inbox, shared, raise) = (tell.clone(), &inbox, &shared, &raise);
            scope.spawn(move || {
                let mut bench = raise();
                while let Some(job) = next(inbox) {
                    // One that cannot even be brought to rest is unsafe, and its bench of no use any more.
                    let done = catch_unwind(AssertUnwindSafe(|| shared.work(&bench, &job))).unwrap_or_else(|_| {
                        bench = raise();
                        shared.tally().fault(format!("{}: {job}: the bench broke", plan.name));
                        Done::default()
                    });
                    _ = tell.send(done);
                }
            });
        }
        drop(tell);
        let level = |crash: Option<Cut>| {
            jobs.send(Job { crash: crash.clone(), cut: None }).unwrap();
            let calls = told.recv_timeout(STUCK).unwrap().calls;
            let cuts = shared.chosen(&calls, crash.is_some());
            for cut in &cuts {
                jobs.send(Job { crash: crash.clone(), cut: Some(cut.clone()) }).unwrap();
            }
            cuts.iter().filter_map(|_| told.recv_timeout(STUCK).unwrap().left).collect::<Vec<_>>()
        };
        let mut left = level(None);
        left.sort_by_key(|(_, cut)| cut.at);
        // For each phase a cut that left the first and one that left the last of it.
        let mut crashes = BTreeMap::new();
        for (phase, cut) in left {
            crashes.entry(format!("{phase} first")).or_insert_with(|| cut.clone());
            crashes.insert(format!("{phase} last"), cut);
        }
        for crash in crashes.into_values() {
            level(Some(crash));
        }
        drop(jobs);
    });
    let tally = shared.tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    eprintln!("sweep: {}: {tally}, {} s", plan.name, begun.elapsed().as_secs());
    tally
}

struct Job {
    crash: Option<Cut>,
    /// None: only recorded.
    cut: Option<Cut>,
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cut {
            Some(cut) => write!(f, "at {cut}")?,
            None => write!(f, "uncut")?,
        }
        self.crash.iter().try_for_each(|crash| write!(f, " after a crash at {crash}"))
    }
}

#[derive(Default)]
struct Done {
    calls: Vec<Call>,
    left: Option<(String, Cut)>,
}

fn next(inbox: &Mutex<Receiver<Job>>) -> Option<Job> {
    inbox.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

struct Shared<'p> {
    plan: &'p Plan,
    seen: Mutex<HashMap<u64, usize>>,
    tally: Mutex<Tally>,
}

impl Shared<'_> {
    fn tally(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn chosen(&self, calls: &[Call], again: bool) -> Vec<Cut> {
        assert!(!calls.is_empty(), "{}: nothing was recorded", self.plan.name);
        let failures = if again { self.plan.failures_again } else { self.plan.failures };
        let mut all = places(calls, self.plan.never, failures);
        all.retain(|cut| self.plan.only.is_empty() || self.plan.only.contains(&cut.call));
        let count = all.len();
        let is_silent = |cut: &Cut| cut.blow == Blow::Kill && cut.call.is_silent();
        let (silent, mut chosen): (Vec<_>, Vec<_>) = all.into_iter().partition(is_silent);
        chosen.extend(silent.into_iter().step_by(self.plan.size.silent));
        self.tally().left_out += count - chosen.len();
        // Not each scenario's first: those are alike.
        let first = self.plan.name.bytes().map(usize::from).sum::<usize>() % self.plan.size.every;
        chosen.into_iter().skip(first).step_by(self.plan.size.every).collect()
    }

    fn work<B: Bench>(&self, bench: &B, job: &Job) -> Done {
        let Job { crash, cut } = job;
        bench.begin(crash.as_ref());
        let run = bench.run(crash.as_ref(), cut.as_ref());
        let Some(cut) = cut else { return Done { calls: run.calls, left: None } };
        let end = bench.end(&run.ran);
        let is_new = {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let times = seen.entry(end.key).or_default();
            *times += 1;
            *times <= if end.is_moving { MOVING } else { 1 }
        };
        {
            let mut tally = self.tally();
            *(if run.is_cut { &mut tally.cases } else { &mut tally.missed }) += 1;
            tally.judged += usize::from(is_new);
        }
        let phase = end.phase.filter(|_| run.is_cut && cut.blow == Blow::Kill && crash.is_none());
        let left = phase.clone().map(|phase| (phase, cut.clone()));
        let mut faults: Vec<_> = bench.claims_wrongly(&run).into_iter().collect();
        if is_new {
            faults.extend(bench.judge(&run.ran));
        }
        if !faults.is_empty() {
            let phase = phase.map(|phase| format!(" ({phase})")).unwrap_or_default();
            self.tally().fault(format!("{}: {job}{phase}: {}", self.plan.name, faults.join("; ")));
        }
        Done { calls: Vec::new(), left }
    }
}
