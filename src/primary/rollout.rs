//! One bundle to all nodes: everybody stages at once, one commits first, then the rest.

use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use crate::model::config::Require;
use crate::model::names::NodeName;
use crate::model::outcome::Outcome;
use crate::primary::line::{Line, Patience, Staged};
use crate::primary::watcher::Phase;

/// How the cause of a node begins that waits because of another one.
pub const HELD_BACK: &str = "held back: ";

/// The rules of a rollout.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Whether nobody switches unless everybody has staged.
    pub require: Require,
    /// Whether one node goes first.
    pub canary: bool,
}

/// How one node's part ended.
#[derive(Debug)]
pub enum Part {
    /// For real.
    Concluded(Outcome),
    /// Only asked.
    Planned(Vec<String>),
}

impl Part {
    fn is_in_sync(&self) -> bool {
        match self {
            Part::Concluded(outcome) => outcome.is_in_sync(),
            Part::Planned(_) => true,
        }
    }
}

enum Event {
    Staged(usize),
    Ended(usize, Part),
}

/// The word that a staged node waits for.
enum Word {
    Commit(Patience),
    Abort(String),
}

/// Rolls a bundle out; `stage` opens a node's line and stages there. Results are in the lines' order.
///
/// The own node takes its part (`own`) while the peers stage. When it fails, its reason holds everybody back.
/// A canary that was refused, rolled back or stuck stops the rollout: those that wait are pending,
/// those that are done stay done, since two valid certificates side by side harm nobody. A canary that
/// is lost on the way is replaced by the next node; `is_doubtful` names those that were lost the last time.
pub fn roll_out(
    lines: Vec<&mut Line<'_>>,
    rules: Rules,
    is_doubtful: impl Fn(&NodeName) -> bool,
    stage: impl Fn(&mut Line<'_>) -> Staged + Sync,
    own: impl FnOnce() -> Result<(), String>,
) -> Vec<(NodeName, Part)> {
    let names: Vec<_> = lines.iter().map(|line| line.name().clone()).collect();
    let doubtful: Vec<_> = names.iter().map(is_doubtful).collect();
    let (events, inbox) = mpsc::channel();
    let parts = thread::scope(|scope| {
        let mut words = Vec::new();
        for (index, line) in lines.into_iter().enumerate() {
            let (word, wait) = mpsc::channel();
            words.push(word);
            let (ours, stage) = (events.clone(), &stage);
            let node = thread::Builder::new().spawn_scoped(scope, move || {
                let part = node_part(index, line, stage, &ours, &wait);
                line.reaches(Phase::Done);
                // The coordinator outlives every node's thread.
                _ = ours.send(Event::Ended(index, part));
            });
            if let Err(error) = node {
                let cause = format!("no thread could be started for it: {error}");
                _ = events.send(Event::Ended(index, Part::Concluded(Outcome::Pending { cause })));
            }
        }
        drop(events);
        let seats = vec![Seat::Staging; words.len()];
        // Nobody is told anything before the own node is done.
        let verdict = own().err().map(Err);
        Coordinator { rules, names: &names, doubtful: &doubtful, words, seats, canary: None, verdict }.run(&inbox)
    });
    names.into_iter().zip(parts).collect()
}

fn node_part(
    index: usize,
    line: &mut Line<'_>,
    stage: &(impl Fn(&mut Line<'_>) -> Staged + Sync),
    events: &Sender<Event>,
    wait: &Receiver<Word>,
) -> Part {
    match stage(line) {
        Staged::Ended(outcome) => Part::Concluded(outcome),
        Staged::Planned(changes) => Part::Planned(changes),
        Staged::Waiting => {
            _ = events.send(Event::Staged(index));
            Part::Concluded(match wait.recv() {
                Ok(Word::Commit(patience)) => line.commit(patience),
                Ok(Word::Abort(why)) => line.abort(&why),
                Err(_) => line.abort("the rollout ended"),
            })
        }
    }
}

/// Where a node is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seat {
    Staging,
    Waiting,
    Committing,
    Done,
}

struct Coordinator<'n> {
    rules: Rules,
    names: &'n [NodeName],
    /// Which of them were lost the last time.
    doubtful: &'n [bool],
    words: Vec<Sender<Word>>,
    seats: Vec<Seat>,
    canary: Option<usize>,
    /// Once known, everybody who has staged hears it: go, or why not.
    verdict: Option<Result<(), String>>,
}

impl Coordinator<'_> {
    fn run(mut self, inbox: &Receiver<Event>) -> Vec<Part> {
        let mut parts: Vec<Option<Part>> = self.names.iter().map(|_| None).collect();
        for event in inbox {
            match event {
                Event::Staged(index) => self.seats[index] = Seat::Waiting,
                Event::Ended(index, part) => {
                    self.judge(index, &part);
                    parts[index] = Some(part);
                }
            }
            self.go_on();
        }
        let lost = || Part::Concluded(Outcome::Pending { cause: "this node's part was lost".into() });
        parts.into_iter().map(|part| part.unwrap_or_else(lost)).collect()
    }

    /// What a node's end means for the others.
    fn judge(&mut self, index: usize, part: &Part) {
        let never_staged = self.seats[index] == Seat::Staging;
        self.seats[index] = Seat::Done;
        let name = &self.names[index];
        if self.canary == Some(index) {
            self.canary = None;
            match part {
                part if part.is_in_sync() => self.verdict = Some(Ok(())),
                Part::Concluded(Outcome::Pending { .. }) => {}
                _ => self.verdict = Some(Err(format!("{HELD_BACK}the first node, {name}, failed"))),
            }
        } else if never_staged && self.rules.require == Require::All && self.verdict.is_none() && !part.is_in_sync() {
            self.verdict = Some(Err(format!("{HELD_BACK}{name} could not stage, and deploy.require is \"all\"")));
        }
    }

    fn go_on(&mut self) {
        if self.verdict.is_none() && self.rules.require == Require::All && self.seats.contains(&Seat::Staging) {
            return;
        }
        if self.verdict.is_none() && !self.rules.canary {
            self.verdict = Some(Ok(()));
        }
        match &self.verdict {
            None if self.canary.is_none() => {
                self.canary = self.next_canary();
                if let Some(index) = self.canary {
                    self.say(index, Word::Commit(Patience::Half));
                }
            }
            None => {}
            Some(verdict) => {
                let verdict = verdict.clone();
                for index in 0..self.seats.len() {
                    if self.seats[index] == Seat::Waiting {
                        let word = verdict.clone().map_or_else(Word::Abort, |()| Word::Commit(Patience::Whole));
                        self.say(index, word);
                    }
                }
            }
        }
    }

    /// The first that waits. One that was lost the last time only when there is no other, now or soon.
    fn next_canary(&self) -> Option<usize> {
        let find = |wanted, doubtful| {
            let mut seats = self.seats.iter().zip(self.doubtful);
            seats.position(|(seat, is_doubtful)| *seat == wanted && *is_doubtful == doubtful)
        };
        let sound = find(Seat::Waiting, false);
        if sound.is_some() || find(Seat::Staging, false).is_some() { sound } else { find(Seat::Waiting, true) }
    }

    fn say(&mut self, index: usize, word: Word) {
        self.seats[index] = Seat::Committing;
        // A node's thread waits until it has heard.
        _ = self.words[index].send(word);
    }
}

#[cfg(test)]
mod tests;
