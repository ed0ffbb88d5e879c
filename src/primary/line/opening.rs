//! Opening a node's line, and hearing what the node has.

use crate::model::deadline::Deadline;
use crate::model::names::LineageName;
use crate::model::outcome::Outcome;
use crate::primary::conversation::{Conversation, TalkError};
use crate::primary::line::{Line, Talk};
use crate::wire::message::{LINEAGES_AT_MOST, Reply, Request};

impl Line<'_> {
    /// Opens it to hear what the node has, unless that was tried before, or nothing is to be asked: then what is sent first opens
    /// it. What is said is waited for until `by`, and [`Line::until`] says what follows.
    pub fn open(&mut self, by: Deadline) {
        match &mut self.talk {
            Talk::Open(talk) => return talk.until(by),
            Talk::Unopened if !self.asks.is_empty() => {}
            Talk::Unopened | Talk::Broken(_) => return,
        }
        let some = |some: &[LineageName]| Request::Compare { lineages: some.to_vec() };
        let requests: Vec<_> = self.asks.chunks(LINEAGES_AT_MOST).map(some).collect();
        if let Err(outcome) = self.compare(&requests, by) {
            self.breaks(outcome);
        }
    }

    /// Sends a request. The first one opens the line, and travels with the hello.
    pub(super) fn say(&mut self, request: &Request, by: Deadline) -> Result<(), Outcome> {
        if !matches!(self.talk, Talk::Unopened) {
            return self.talk()?.send(request).map_err(|error| error.outcome());
        }
        let first = std::slice::from_ref(request);
        let opened = Conversation::open_for_a_turn(self.own, self.member, first, by, self.deadline);
        self.talk = Talk::Open(opened.map_err(|error| error.outcome())?);
        Ok(())
    }

    fn compare(&mut self, requests: &[Request], by: Deadline) -> Result<(), Outcome> {
        for request in requests {
            self.say(request, by)?;
            let Reply::Compared { lineages } = self.receive()? else { return Err(TalkError::Unexpected.outcome()) };
            self.installed.extend(lineages.into_iter().map(|entry| (entry.lineage, entry.presence)));
        }
        Ok(())
    }

    /// Has a line that broke after its node had answered opened anew when it is next used, some times in a run. What the node
    /// did in the meantime is compared then.
    pub fn mend(&mut self) {
        if let (Talk::Broken(_), false, 1..) = (&self.talk, self.installed.is_empty(), self.mends) {
            self.mends -= 1;
            self.talk = Talk::Unopened;
            self.installed.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::model::bundle::Number;
    use crate::model::config::Config;
    use crate::model::digest::Digest;
    use crate::model::names::NodeName;
    use crate::primary::fleet::Fleet;
    use crate::primary::watcher::{Phase, Watcher};
    use crate::wire::message::{Installed, Version};
    use crate::wire::presence::Presence;
    use crate::wire::{banner, frame};

    struct Nobody;

    impl Watcher for Nobody {
        fn begins(&self, _: &[&LineageName], _: Vec<NodeName>) {}
        fn reaches(&self, _: &NodeName, _: Phase) {}
    }

    #[test]
    fn more_lineages_than_one_question_has_are_compared_by_several() {
        let names: Vec<LineageName> = (0..=LINEAGES_AT_MOST).map(|n| format!("site{n}").parse().unwrap()).collect();
        let version = Version { number: Number::new(1).unwrap(), digest: Digest::of(b"x") };
        let has = |lineage: &LineageName| Installed {
            lineage: lineage.clone(),
            presence: Presence::Here { version: Some(version) },
        };
        // What the node says to it all, in its order.
        let mut said = Vec::new();
        banner::write(&mut said).unwrap();
        frame::write(&mut said, &Reply::Hello { version: "1".into(), node: "web2".parse().unwrap(), clock: 0 })
            .unwrap();
        for some in names.chunks(LINEAGES_AT_MOST) {
            frame::write(&mut said, &Reply::Compared { lineages: some.iter().map(has).collect() }).unwrap();
        }
        let root = tempfile::tempdir().unwrap();
        let answers = root.path().join("answers");
        std::fs::write(&answers, said).unwrap();
        let receive = format!("cat {}; cat >/dev/null", answers.display());
        let text = format!(
            "[node]\nname = \"web1\"\naddresses = [\"192.0.2.1\"]\n\n[[peer]]\nname = \"web2\"\ntransport = \"local\"\n\
             receive = [\"sh\", \"-c\", {receive:?}]\naddresses = [\"192.0.2.2\"]\n"
        );
        let config = Config::parse(&text, Path::new("config.toml")).unwrap();
        let fleet = Fleet::of(&config, Path::new("config.toml")).unwrap();
        let deadline = Deadline::after(Duration::from_secs(60));
        let mut line = Line::new(&config.node.name, &fleet.peers[0], &Nobody, names.clone(), deadline);
        line.open(deadline);
        assert!(names.iter().all(|name| line.has(name, version)));
    }
}
