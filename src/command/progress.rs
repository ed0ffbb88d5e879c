//! What is under way, in one line on a terminal: who is waited for, and for how long. Elsewhere nothing is shown.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::model::names::{LineageName, NodeName};
use crate::primary::watcher::{Phase, Watcher};

/// The time that is shown goes on by it.
const TICK: Duration = Duration::from_millis(200);

/// Shows what is being done while it is done.
pub fn during<T>(what: &str, act: impl FnOnce() -> T) -> T {
    let line = Line::new();
    line.0.set_message(what.to_owned());
    act()
}

/// The line on standard error; gone when dropped.
struct Line(ProgressBar);

impl Line {
    fn new() -> Line {
        let bar = ProgressBar::new_spinner();
        // It is a constant, and right: without it the line would look another way.
        if let Ok(style) = ProgressStyle::with_template("{elapsed:>4}  {wide_msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(TICK);
        Line(bar)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// How far a rollout is.
pub struct Progress {
    line: Line,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    what: String,
    nodes: Vec<(NodeName, Phase)>,
}

impl Progress {
    /// Nothing is known yet.
    pub fn new() -> Progress {
        Progress { line: Line::new(), seen: Mutex::default() }
    }

    fn see(&self, change: impl FnOnce(&mut Seen)) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut seen);
        self.line.0.set_message(seen.words());
    }
}

impl Watcher for Progress {
    fn begins(&self, lineages: &[&LineageName], nodes: Vec<NodeName>) {
        let nodes = nodes.into_iter().map(|node| (node, Phase::Connecting)).collect();
        let what = match lineages {
            [] => String::new(),
            [one] => one.to_string(),
            [first, others @ ..] => format!("{first} and {} more", others.len()),
        };
        self.see(|seen| *seen = Seen { what, nodes });
    }

    fn reaches(&self, node: &NodeName, phase: Phase) {
        self.see(|seen| seen.nodes.iter_mut().filter(|(name, _)| name == node).for_each(|(_, was)| *was = phase));
    }
}

impl Seen {
    /// Those that the others wait for come first: the line is cut where the terminal ends.
    fn words(&self) -> String {
        let of = |phase| self.nodes.iter().filter(move |(_, is)| *is == phase);
        let awaited = [Phase::Switching, Phase::Connecting, Phase::Staging, Phase::Staged].into_iter().flat_map(of);
        let awaited: Vec<_> = awaited.map(|(node, phase)| format!("{node} {phase}")).collect();
        format!("{}: {} of {} done  {}", self.what, of(Phase::Done).count(), self.nodes.len(), awaited.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_waited_for_is_named_first() {
        let progress = Progress::new();
        let nodes = ["web1", "web2", "web3"].map(|name| name.parse().unwrap());
        let [www, mail, shop] = ["www", "mail", "shop"].map(|name| name.parse().unwrap());
        progress.begins(&[&www], nodes.to_vec());
        progress.reaches(&nodes[0], Phase::Done);
        progress.reaches(&nodes[1], Phase::Staged);
        progress.reaches(&nodes[2], Phase::Switching);
        assert_eq!(progress.line.0.message(), "www: 1 of 3 done  web3 switching, web2 staged");
        progress.begins(&[&mail, &www, &shop], vec![nodes[0].clone()]);
        assert_eq!(progress.line.0.message(), "mail and 2 more: 0 of 1 done  web1 connecting");
    }
}
