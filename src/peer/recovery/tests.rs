//! Every state that a transaction goes through on the disk, left as a crash leaves it, then recovered.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::model::bundle::{Number, Part, PemFiles};
use crate::model::config::Config;
use crate::model::deadline::Deadline;
use crate::model::digest::Digest;
use crate::model::names::LineageName;
use crate::peer::archive::Archive;
use crate::peer::joined::Joined;
use crate::peer::live::Live;
use crate::peer::state::{Before, Intent, JoinedFile, Record};
use crate::wire::message::{Ownership, TreeAttributes};
use crate::wire::transaction_id::TransactionId;

mod ends;
mod together;

/// One durable act, in the words of the files that do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Act {
    Begin,
    Archive(usize),
    StageLive,
    /// Killed in the middle of it.
    StageLiveInPart,
    StageJoined,
    Note(Line),
    Switch,
    /// Without an exchange: so many of the four links, and the next one waits for its rename.
    Relink(usize),
    SwitchJoined,
    UndoJoined,
    UndoLive,
    /// Killed in the middle of it.
    DiscardLiveInPart,
    DiscardLive,
    RemoveArchive,
    KeepJoined,
    DiscardJoined,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Line {
    Switching,
    Confirmed,
    Undoing,
    Undone,
    Stuck,
}

struct World {
    home: tempfile::TempDir,
    node: Node,
    lineages: Vec<LineageName>,
    /// Of which of them the next act is.
    at: usize,
    transaction: TransactionId,
    before: Before,
    journal: Option<Journal>,
}

fn number(number: u32) -> Number {
    number.try_into().unwrap()
}

fn files(number: u32) -> PemFiles {
    let text = |part: &str| format!("{part} of version {number}\n");
    PemFiles { cert: text("cert"), privkey: text("privkey").into(), chain: text("chain"), fullchain: text("fullchain") }
}

fn own(mode: u32) -> Ownership {
    Ownership { uid: nix::unistd::geteuid().as_raw(), gid: nix::unistd::getegid().as_raw(), mode }
}

fn attributes() -> TreeAttributes {
    TreeAttributes { directory: own(0o755), key: own(0o600), public: own(0o644) }
}

impl World {
    fn new(before: Before) -> World {
        World::of(&["a.example"], before)
    }

    fn of(lineages: &[&str], before: Before) -> World {
        // Every act syncs: in memory that is free.
        let home = tempfile::tempdir_in("/dev/shm").unwrap();
        fs::create_dir(home.path().join("joined")).unwrap();
        let place = |name: &str| home.path().join(name).display().to_string();
        let text = format!(
            "[node]\nname = \"web2\"\nletsencrypt = \"{}\"\nstate = \"{}\"\n[[service]]\nname = \"none\"\n\
             test = [\"true\"]\nreload = [\"true\"]\nprobe = []\njoined = \"{}/{{lineage}}.pem\"\n",
            place("letsencrypt"),
            place("state"),
            place("joined")
        );
        let node = Node::open(Config::parse(&text, Path::new("test.toml")).unwrap(), false).unwrap();
        let transaction = TransactionId::random().unwrap();
        let lineages = lineages.iter().map(|name| name.parse().unwrap()).collect::<Vec<_>>();
        let count = lineages.len();
        let mut world = World { home, node, lineages, at: 0, transaction, before, journal: None };
        for at in 0..count {
            world.at = at;
            world.install_the_first();
        }
        world.at = 0;
        world
    }

    fn install_the_first(&self) {
        let earlier = TransactionId::random().unwrap();
        if self.before == Before::Foreign {
            self.live();
            fs::create_dir(self.live().path()).unwrap();
            for part in Part::ALL {
                fs::write(self.live().path().join(part.link()), files(1).part(part)).unwrap();
            }
        } else if self.before != Before::Nothing {
            self.archive().write(number(1), &files(1), &Part::ALL, &attributes()).unwrap();
            self.live().stage(&earlier, number(1), own(0o755)).unwrap();
            self.live().switch(&earlier, Before::Nothing, number(1)).unwrap();
        }
        if self.before != Before::Nothing {
            self.joined().stage(&earlier, &files(1), own(0o600)).unwrap();
            self.joined().switch(&earlier).unwrap();
        }
    }

    fn lineage(&self) -> &LineageName {
        &self.lineages[self.at]
    }

    fn archive(&self) -> Archive {
        // Both directories are made before anything is written.
        self.live();
        Archive::create(self.node.letsencrypt(), self.lineage(), own(0o755)).unwrap()
    }

    fn live(&self) -> Live {
        Live::create(self.node.letsencrypt(), self.lineage()).unwrap()
    }

    fn joined(&self) -> Joined {
        Joined::open(&self.joined_path(self.lineage())).unwrap()
    }

    fn joined_path(&self, lineage: &LineageName) -> PathBuf {
        self.home.path().join(format!("joined/{lineage}.pem"))
    }

    fn intent(&self) -> Intent {
        self.intent_of(self.lineage())
    }

    fn intent_of(&self, lineage: &LineageName) -> Intent {
        let existed = self.before != Before::Nothing;
        Intent {
            transaction: self.transaction.clone(),
            lineage: lineage.clone(),
            before: self.before,
            to: number(2),
            writes: Part::ALL.to_vec(),
            joined: vec![JoinedFile { path: self.joined_path(lineage), existed }],
            keep: vec![number(1), number(2)],
            tests_passed: true,
            digest: Digest::of(b"2"),
            old_leaf: None,
            expectations: Vec::new(),
            ahead: Vec::new(),
        }
    }

    fn act(&mut self, act: Act) {
        let (id, two) = (self.transaction.clone(), number(2));
        match act {
            Act::Begin => {
                let intents = self.lineages.iter().map(|lineage| self.intent_of(lineage)).collect();
                self.journal = Some(Journal::begin(self.node.state(), &id, intents).unwrap());
            }
            Act::Archive(part) => self.archive().write(two, &files(2), &[Part::ALL[part]], &attributes()).unwrap(),
            Act::StageLive => self.live().stage(&id, two, own(0o755)).unwrap(),
            Act::StageLiveInPart => {
                self.live().stage(&id, two, own(0o755)).unwrap();
                self.act(Act::DiscardLiveInPart);
            }
            Act::StageJoined => self.joined().stage(&id, &files(2), own(0o600)).unwrap(),
            Act::Note(line) => {
                let (step, cause) = (Step::Probe, "still the old one".to_owned());
                let record = match line {
                    Line::Switching => Record::Switching,
                    Line::Confirmed => Record::Confirmed,
                    Line::Undoing => Record::Undoing { step, cause },
                    Line::Undone => Record::Undone,
                    Line::Stuck => Record::Stuck { cause },
                };
                self.journal.as_mut().unwrap().write(&record).unwrap();
            }
            Act::Switch => self.live().switch(&id, self.before, two).unwrap(),
            Act::Relink(count) => {
                let link = |part: Part, name: PathBuf| {
                    let target = format!("../../archive/{}/{}", self.lineage(), part.file(two));
                    std::os::unix::fs::symlink(target, name).unwrap();
                };
                for part in &Part::ALL[..count] {
                    let name = self.live().path().join(part.link());
                    fs::remove_file(&name).unwrap();
                    link(*part, name);
                }
                if let Some(next) = Part::ALL.get(count) {
                    link(*next, self.live().path().join(format!(".certcast-{}.link", next.stem())));
                }
            }
            Act::SwitchJoined => self.joined().switch(&id).unwrap(),
            Act::UndoJoined => self.joined().undo(&id, self.before != Before::Nothing).unwrap(),
            Act::UndoLive => self.live().undo(&id, self.before, two).unwrap(),
            Act::DiscardLiveInPart => {
                for gone in ["README", "privkey.pem", "fullchain.pem"] {
                    fs::remove_file(self.live().stage_path(&id).join(gone)).unwrap();
                }
            }
            Act::DiscardLive => _ = self.live().discard(&id).unwrap(),
            Act::RemoveArchive => self.archive().remove(two, &Part::ALL).unwrap(),
            Act::KeepJoined if self.before == Before::Foreign => _ = self.joined().keep(&id).unwrap(),
            Act::KeepJoined => {}
            Act::DiscardJoined => self.joined().discard(&id).unwrap(),
        }
    }

    fn journal_path(&self) -> PathBuf {
        self.node.state().join("transaction.journal")
    }

    /// Recovers; then this version of each lineage is shown in full, or none, and nothing else is left.
    fn recovers_to(self, version: Option<u32>, left: &str) {
        let World { home, node, transaction, before, lineages, .. } = self;
        let is_foreign = before == Before::Foreign;
        let held = node.lock(Deadline::after(std::time::Duration::from_secs(20))).unwrap();
        recover(&node, &held, false).unwrap_or_else(|halt| panic!("{left}: {halt:?}"));
        assert!(recover(&node, &held, false).unwrap().is_none(), "{left}: recovered a second time");
        let list = |place: &str| {
            let entries = fs::read_dir(home.path().join(place)).into_iter().flatten();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.retain(|name| name != "README");
            names.sort();
            names
        };
        let is_back = is_foreign && version == Some(1);
        let least = if matches!(before, Before::Number(_)) { 1 } else { 2 };
        let kept: Vec<_> = (least..=version.unwrap_or(0)).collect();
        let names = |number: &u32| Part::ALL.map(|part| part.file((*number).try_into().unwrap()));
        let mut archived: Vec<_> = kept.iter().flat_map(names).collect();
        archived.sort();
        for lineage in &lineages {
            let [live, archive] = ["live", "archive"].map(|place| format!("letsencrypt/{place}/{lineage}"));
            if is_back {
                for part in Part::ALL {
                    let path = home.path().join(&live).join(part.link());
                    assert!(!path.is_symlink(), "{left}");
                    assert_eq!(fs::read_to_string(path).unwrap(), files(1).part(part), "{left}");
                }
            } else {
                let shown = Live::open(node.letsencrypt(), lineage).unwrap().and_then(|live| live.number().unwrap());
                assert_eq!(shown, version.map(number), "{left}");
            }
            assert_eq!(list(&archive), archived, "{left}");
            for number in &kept {
                for part in Part::ALL {
                    let path = home.path().join(&archive).join(part.file((*number).try_into().unwrap()));
                    assert_eq!(fs::read_to_string(path).unwrap(), files(*number).part(part), "{left}");
                }
            }
            let joined = Joined::open(&home.path().join(format!("joined/{lineage}.pem"))).unwrap();
            assert!(
                version.is_none_or(|number| joined.holds(&files(number))),
                "{left}: the joined file is of another version"
            );
        }
        let all = |name: &dyn Fn(&LineageName) -> String| {
            let mut names: Vec<_> = version.map(|_| lineages.iter().map(name).collect()).unwrap_or_default();
            names.sort();
            names
        };
        let (mut live, mut archive) = (all(&LineageName::to_string), all(&LineageName::to_string));
        let mut joined = all(&|lineage| format!("{lineage}.pem"));
        if is_back {
            archive.clear();
        } else if is_foreign {
            live.extend(all(&|lineage| format!(".{lineage}.replaced-{transaction}")));
            joined.extend(all(&|lineage| format!(".{lineage}.pem.replaced-{transaction}")));
            live.sort();
            joined.sort();
        }
        assert_eq!(list("letsencrypt/live"), live, "{left}");
        assert_eq!(list("letsencrypt/archive"), archive, "{left}");
        assert_eq!(list("joined"), joined, "{left}");
    }
}

/// All that is made before the switch.
fn staged() -> Vec<Act> {
    [&[Act::Begin], &[0, 1, 2, 3].map(Act::Archive)[..], &[Act::StageLive, Act::StageJoined]].concat()
}

/// The ways a transaction can go, each act by act.
fn ways(before: Before) -> Vec<Vec<Act>> {
    let staged = [&staged()[..], &[Act::Note(Line::Switching)]].concat();
    let put_away =
        [Act::RemoveArchive, Act::Note(Line::Undone), Act::DiscardLiveInPart, Act::DiscardLive, Act::DiscardJoined];
    let ends: [&[Act]; 3] = [
        &[Act::Note(Line::Confirmed), Act::DiscardLive, Act::KeepJoined, Act::DiscardJoined],
        &[&[Act::Note(Line::Undoing), Act::UndoJoined, Act::UndoLive, Act::UndoLive], &put_away[..]].concat(),
        &[Act::Note(Line::Undoing), Act::Note(Line::Stuck), Act::UndoJoined, Act::UndoLive, Act::Note(Line::Undone)],
    ];
    let mut switches = vec![vec![Act::Switch, Act::SwitchJoined]];
    if matches!(before, Before::Number(_)) {
        switches.extend((0..=4).map(|links| vec![Act::Relink(links)]));
        switches.push(vec![Act::Relink(4), Act::SwitchJoined]);
    }
    let mut ways = vec![vec![
        Act::Begin,
        Act::Archive(0),
        Act::Archive(1),
        Act::Archive(2),
        Act::Archive(3),
        Act::StageLiveInPart,
    ]];
    for switch in switches {
        let is_whole = switch.contains(&Act::SwitchJoined);
        for end in ends {
            // What was cut off in the switch can be undone, but is never confirmed.
            if is_whole || end[0] != Act::Note(Line::Confirmed) {
                ways.push([&staged[..], &switch, end].concat());
            }
        }
    }
    ways
}

/// Each state of each way, by the acts that lead to it.
fn states(before: Before) -> BTreeSet<Vec<Act>> {
    ways(before).iter().flat_map(|way| (1..=way.len()).map(|done| way[..done].to_vec())).collect()
}

fn cut(journal: &Path, length: u64) {
    fs::File::options().write(true).open(journal).unwrap().set_len(length).unwrap();
}

#[test]
fn every_state_of_every_way_recovers_whole_wherever_the_journals_last_line_is_cut() {
    let mut cases = 0;
    for before in [Before::Number(number(1)), Before::Nothing, Before::Foreign] {
        let old = (before != Before::Nothing).then_some(1);
        for acts in states(before) {
            let done = acts.len();
            let is_note = matches!(acts[done - 1], Act::Note(_) | Act::Begin);
            // Where the last act was a line, it may have been torn: at its begin, in it, before its newline.
            for torn in 0..if is_note { 4 } else { 1 } {
                let mut world = World::new(before);
                for act in &acts[..done - 1] {
                    world.act(*act);
                }
                let length = fs::metadata(world.journal_path()).map_or(0, |metadata| metadata.len());
                world.act(acts[done - 1]);
                let whole = fs::metadata(world.journal_path()).unwrap().len();
                let kept = [whole, length, u64::midpoint(length, whole), whole - 1][torn];
                cut(&world.journal_path(), kept);
                let noted = &acts[..if torn == 0 { done } else { done - 1 }];
                let version = if noted.contains(&Act::Note(Line::Confirmed)) { Some(2) } else { old };
                world.recovers_to(version, &format!("{acts:?}, the journal cut at {kept} of {whole}"));
                cases += 1;
            }
        }
    }
    assert!(cases > 200, "{cases}");
}

/// A disk that called durable what it had not written loses the last record, and not what was done after it. What was taken
/// apart on the word of that record is beyond this.
#[test]
fn every_state_of_every_way_recovers_whole_though_the_last_record_is_lost() {
    for before in [Before::Number(number(1)), Before::Nothing, Before::Foreign] {
        let mut cases = 0;
        for acts in states(before) {
            let Some(last) = acts.iter().rposition(|act| matches!(act, Act::Note(_))) else { continue };
            let is_apart = |act: &Act| {
                matches!(act, Act::DiscardLiveInPart | Act::DiscardLive | Act::KeepJoined | Act::DiscardJoined)
            };
            if acts[last..].iter().any(is_apart) {
                continue;
            }
            let mut world = World::new(before);
            acts[..last].iter().for_each(|act| world.act(*act));
            let kept = fs::metadata(world.journal_path()).unwrap().len();
            acts[last..].iter().for_each(|act| world.act(*act));
            cut(&world.journal_path(), kept);
            let version = (before != Before::Nothing).then_some(1);
            world.recovers_to(version, &format!("{acts:?} without its last record"));
            cases += 1;
        }
        assert!(cases > 10, "{cases}");
    }
}
