//! A round on all nodes: everybody stages at once, one commits first, then the rest.

use std::collections::BTreeSet;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;

use crate::model::config::Require;
use crate::model::deadline::Deadline;
use crate::model::names::{LineageName, NodeName};
use crate::model::outcome::Outcome;
use crate::primary::line::{Line, Part, Patience};
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

enum Event {
    /// With the lineages that wait for the word.
    Staged(usize, Vec<LineageName>),
    Ended(usize, Part),
}

/// The word that a staged node waits for.
enum Word {
    Commit(Patience),
    Abort(String),
}

/// Rolls bundles out; `stage` opens a node's line and stages there. Results are in the lines' order.
///
/// The own node takes its part (`own`) while the peers stage. When it fails, its reason holds everybody back.
/// A canary that was refused, rolled back or stuck stops the rollout: those that wait are pending,
/// those that are done stay done, since two valid certificates side by side harm nobody. A canary that
/// is lost on the way is replaced by the next node; `is_doubtful` names those that were lost, or did not take it, the last time.
/// Half of the time that is then left until `turn` one of these waits for another one that may go first.
/// A node with a lineage that no canary had is a canary too.
pub fn roll_out(
    lines: Vec<&mut Line<'_>>,
    rules: Rules,
    turn: Deadline,
    is_doubtful: impl Fn(&NodeName) -> bool,
    stage: impl Fn(&mut Line<'_>) -> Result<(), Part> + Sync,
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
                _ = events.send(Event::Ended(index, Part::Ended(Outcome::Pending { cause })));
            }
        }
        drop(events);
        let seats = vec![Seat::Staging; words.len()];
        // Nobody is told anything before the own node is done.
        let held_back = own().err();
        let sound_until = turn.at_most(turn.left() / 2);
        let proven = BTreeSet::new();
        let doubtful = &doubtful;
        let names = &names;
        Coordinator { rules, names, doubtful, sound_until, words, seats, canary: None, proven, held_back }.run(&inbox)
    });
    names.into_iter().zip(parts).collect()
}

fn node_part(
    index: usize,
    line: &mut Line<'_>,
    stage: &(impl Fn(&mut Line<'_>) -> Result<(), Part> + Sync),
    events: &Sender<Event>,
    wait: &Receiver<Word>,
) -> Part {
    if let Err(part) = stage(line) {
        return part;
    }
    _ = events.send(Event::Staged(index, line.waiting().to_vec()));
    match wait.recv() {
        Ok(Word::Commit(patience)) => Part::Concluded(line.commit(patience)),
        Ok(Word::Abort(why)) => {
            line.forget();
            Part::HeldBack(why)
        }
        Err(_) => Part::Ended(line.abort("the rollout ended")),
    }
}

/// Where a node is.
#[derive(Clone, PartialEq, Eq)]
enum Seat {
    Staging,
    /// With these lineages, for the word.
    Waiting(Vec<LineageName>),
    /// Has heard its word about these.
    Told(Vec<LineageName>),
    Done,
}

struct Coordinator<'n> {
    rules: Rules,
    names: &'n [NodeName],
    /// Of which of them `is_doubtful` is true.
    doubtful: &'n [bool],
    /// When these wait for others no longer.
    sound_until: Deadline,
    words: Vec<Sender<Word>>,
    seats: Vec<Seat>,
    /// The node that goes first.
    canary: Option<usize>,
    /// Of these lineages a canary went well.
    proven: BTreeSet<LineageName>,
    /// Why nobody goes on; everybody who has staged hears it.
    held_back: Option<String>,
}

impl Coordinator<'_> {
    fn run(mut self, inbox: &Receiver<Event>) -> Vec<Part> {
        let mut parts: Vec<Option<Part>> = self.names.iter().map(|_| None).collect();
        loop {
            let event = match self.sound_until.left() {
                left if left.is_zero() => inbox.recv().map_err(RecvTimeoutError::from),
                left => inbox.recv_timeout(left),
            };
            match event {
                Ok(Event::Staged(index, lineages)) => self.seats[index] = Seat::Waiting(lineages),
                Ok(Event::Ended(index, part)) => {
                    self.judge(index, &part);
                    parts[index] = Some(part);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.go_on();
        }
        let lost = || Part::Ended(Outcome::Pending { cause: "this node's part was lost".into() });
        parts.into_iter().map(|part| part.unwrap_or_else(lost)).collect()
    }

    /// What a node's end means for the others.
    fn judge(&mut self, index: usize, part: &Part) {
        let seat = std::mem::replace(&mut self.seats[index], Seat::Done);
        let name = &self.names[index];
        match seat {
            Seat::Told(lineages) if self.canary == Some(index) => {
                self.canary = None;
                match part {
                    part if part.is_in_sync() => self.proven.extend(lineages),
                    Part::Concluded(Outcome::Pending { .. }) => {}
                    _ => self.hold_back(format!("{HELD_BACK}the first node, {name}, failed")),
                }
            }
            Seat::Staging if self.rules.require == Require::All && !part.is_in_sync() => {
                self.hold_back(format!("{HELD_BACK}{name} could not stage, and deploy.require is \"all\""));
            }
            _ => {}
        }
    }

    fn hold_back(&mut self, why: String) {
        self.held_back.get_or_insert(why);
    }

    fn go_on(&mut self) {
        if let Some(why) = self.held_back.clone() {
            let all: Vec<_> = self.waiting().map(|(index, _)| index).collect();
            for index in all {
                self.say(index, Word::Abort(why.clone()));
            }
            return;
        }
        if self.rules.require == Require::All && self.seats.contains(&Seat::Staging) {
            return;
        }
        let is_free = |lineages: &[LineageName]| {
            !self.rules.canary || lineages.iter().all(|lineage| self.proven.contains(lineage))
        };
        let free: Vec<_> = self.waiting().filter(|(_, lineages)| is_free(lineages)).map(|(index, _)| index).collect();
        for index in free {
            self.say(index, Word::Commit(Patience::Whole));
        }
        if self.canary.is_none() {
            self.canary = self.next_canary();
            if let Some(index) = self.canary {
                self.say(index, Word::Commit(Patience::Half));
            }
        }
    }

    /// The first that waits. A doubtful one only when there is no other, now or soon: it would hold all back at every run.
    fn next_canary(&self) -> Option<usize> {
        let is_sound = |index: &usize| !self.doubtful[*index];
        let waiting = || self.waiting().map(|(index, _)| index);
        let mut staging = (0..self.seats.len()).filter(|index| self.seats[*index] == Seat::Staging);
        let sound = waiting().find(is_sound);
        let is_one_to_come = !self.sound_until.has_passed() && staging.any(|index| is_sound(&index));
        if sound.is_some() || is_one_to_come { sound } else { waiting().next() }
    }

    /// Those that wait for the word, with their lineages.
    fn waiting(&self) -> impl Iterator<Item = (usize, &[LineageName])> {
        self.seats.iter().enumerate().filter_map(|(index, seat)| match seat {
            Seat::Waiting(lineages) => Some((index, lineages.as_slice())),
            _ => None,
        })
    }

    fn say(&mut self, index: usize, word: Word) {
        if let Seat::Waiting(lineages) = &mut self.seats[index] {
            self.seats[index] = Seat::Told(std::mem::take(lineages));
        }
        // A node's thread waits until it has heard.
        _ = self.words[index].send(word);
    }
}

#[cfg(test)]
mod tests;
