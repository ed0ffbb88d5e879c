//! The proof, before the CA is asked, that every address serves every challenge.
//!
//! The CA may ask any address that DNS names and fails the validation over one wrong answer, which
//! costs a try of very few; so each is asked here first, and the same way.

mod ask;
mod failure;
pub mod redirect;
mod summary;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use ask::{Asker, Fault, Ports};
pub use failure::{Failure, Kind};
pub use redirect::RedirectFault;
pub use summary::summary;

use crate::model::challenge::Challenge;
use crate::model::deadline::Deadline;
use crate::model::escape::escaped;
use crate::model::names::{Identifier, NodeName};
use crate::sys::parallel::in_parallel;

/// How many questions are under way at once.
const PARALLEL: usize = 32;
/// The pauses between the rounds in which what failed is asked again; what answers clearly and
/// wrongly after the last of them is final.
const PAUSES: [Duration; 3] = [Duration::from_millis(150), Duration::from_millis(450), Duration::from_secs(1)];
/// The pause between later rounds, which are for what may pass by itself.
const LATER: Duration = Duration::from_secs(2);
/// How long a refused connection or a failing web server may pass by itself, as in a restart.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a front is asked, over a new connection each time: it has several servers behind it.
const FRONT_ASKED: usize = 4;

/// How often an address that never answers is waited for in one round.
const SLOW_AT_MOST: usize = 3;

/// What an address is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// A node's own.
    Node(NodeName),
    /// A load balancer's or a floating one: several servers may answer there.
    Front,
}

/// An address that must serve every challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Whose it is.
    pub role: Role,
    /// Where it is asked.
    pub address: IpAddr,
    /// Where the public asks, and the CA: the same, but for `challenge.prove_at`.
    pub public: IpAddr,
}

impl Target {
    /// A node's address.
    pub fn node(name: NodeName, address: IpAddr) -> Self {
        Target::at(Role::Node(name), address)
    }

    /// A front's address.
    pub fn front(address: IpAddr) -> Self {
        Target::at(Role::Front, address)
    }

    fn at(role: Role, address: IpAddr) -> Self {
        let address = address.to_canonical();
        Target { role, address, public: address }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.role {
            Role::Node(name) => write!(f, "{name} ({})", self.address),
            Role::Front => write!(f, "the front {}", self.address),
        }
    }
}

/// What came of asking.
#[derive(Debug, Default)]
pub struct Proof {
    /// Empty means proven, as far as the targets go.
    pub failures: Vec<Failure>,
    /// Names whose challenge a target redirected to another host, with that host. It was asked at the same address; the CA
    /// asks wherever DNS has that host.
    pub detours: BTreeSet<(Identifier, Identifier)>,
}

/// Asks every target for every challenge that the CA may ask it for, and as the CA would.
///
/// All such pairs are asked in parallel, and in rounds: what failed is asked again after a short pause,
/// since a file may take a moment to show. What is clearly wrong is final after two seconds; a
/// refused connection or a failing server is waited for up to ten. Redirects are followed where the
/// CA follows them, but always at the same address.
pub fn prove(
    challenges: &[Challenge],
    targets: &[Target],
    may_ask: impl Fn(&Target, &Identifier) -> bool,
    deadline: Deadline,
) -> Proof {
    prove_at(Ports::PUBLIC, questions(challenges, targets, may_ask), deadline)
}

fn prove_at(ports: Ports, mut open: Vec<Question>, deadline: Deadline) -> Proof {
    let asker = match Asker::new(ports) {
        Ok(asker) => asker,
        Err(error) => {
            let kind = Kind::NotAsked(escaped(&error.to_string()));
            let failed = |question: &Question| question.failed(Fault { kind: kind.clone(), redirected_to: None });
            return Proof { failures: open.iter().map(failed).collect(), ..Proof::default() };
        }
    };
    let patience = deadline.at_most(PATIENCE);
    let mut failures: Vec<(usize, Failure)> = Vec::new();
    for round in 0.. {
        let mut again = Vec::new();
        for (mut question, fault) in ask_all(&asker, open, round, deadline) {
            // What was seen says more than that the time then ran out.
            let cut_short = deadline.has_passed() && matches!(fault.kind, Kind::NotAsked(_) | Kind::Slow);
            let fault = question.seen.take().filter(|_| cut_short).unwrap_or(fault);
            if worth_another(&fault.kind, round, patience) && !deadline.has_passed() {
                question.seen = Some(fault);
                again.push(question);
            } else {
                failures.push((question.number, question.failed(fault)));
            }
        }
        if again.is_empty() {
            break;
        }
        thread::sleep(PAUSES.get(round).copied().unwrap_or(LATER).min(deadline.left()));
        open = again;
    }
    failures.sort_by_key(|(number, _)| *number);
    Proof { failures: failures.into_iter().map(|(_, failure)| failure).collect(), detours: asker.detours() }
}

/// One challenge at one target.
struct Question<'a> {
    number: usize,
    challenge: &'a Challenge,
    target: &'a Target,
    /// What came of it in the round before.
    seen: Option<Fault>,
}

impl Question<'_> {
    fn ask(&self, asker: &Asker, round: usize, deadline: Deadline) -> Result<(), Fault> {
        let address = self.target.address;
        match self.target.role {
            Role::Node(_) => asker.ask(self.challenge, address, false, deadline),
            // After a failure the front is asked more often, lest luck hides one server of several.
            Role::Front => (0..FRONT_ASKED * if round == 0 { 1 } else { 2 })
                .try_for_each(|_| asker.ask(self.challenge, address, true, deadline)),
        }
    }

    fn failed(&self, fault: Fault) -> Failure {
        Failure {
            name: self.challenge.name().clone(),
            target: self.target.clone(),
            url: ask::url(self.challenge),
            redirected_to: fault.redirected_to,
            kind: fault.kind,
        }
    }
}

fn questions<'a>(
    challenges: &'a [Challenge],
    targets: &'a [Target],
    may_ask: impl Fn(&Target, &Identifier) -> bool,
) -> Vec<Question<'a>> {
    let mut questions = Vec::new();
    for challenge in challenges {
        for target in targets.iter().filter(|target| may_ask(target, challenge.name())) {
            questions.push(Question { number: questions.len(), challenge, target, seen: None });
        }
    }
    questions
}

/// Whether a fault may be gone in the round after this one.
fn worth_another(kind: &Kind, round: usize, patience: Deadline) -> bool {
    match kind {
        Kind::NotAsked(_) => false,
        // Each of these has already waited for seconds.
        Kind::NoConnection | Kind::Slow => round == 0,
        Kind::Refused | Kind::Unreachable(_) | Kind::Broken(_) | Kind::Status(500..) => {
            round < PAUSES.len() || !patience.has_passed()
        }
        Kind::Tls(_) | Kind::Status(_) | Kind::WrongBody { .. } | Kind::Redirect { .. } => round < PAUSES.len(),
    }
}

/// One round: every question once, in parallel; those that failed, with the fault.
fn ask_all<'a>(
    asker: &Asker,
    questions: Vec<Question<'a>>,
    round: usize,
    deadline: Deadline,
) -> Vec<(Question<'a>, Fault)> {
    let silent = Silent::default();
    let faults = in_parallel(&questions, PARALLEL, |question| silent.or_ask(question, asker, round, deadline).err());
    questions.into_iter().zip(faults).filter_map(|(question, fault)| Some((question, fault?))).collect()
}

/// The addresses that took no connection in this round, and those that took several and answered none.
///
/// Each costs seconds to find out, so it is found out once or a few times a round and not once a name.
#[derive(Default)]
struct Silent(Mutex<HashMap<IpAddr, Heard>>);

/// What came from an address in this round.
#[derive(Default)]
struct Heard {
    has_answered: bool,
    slow: usize,
    unreachable: Option<Kind>,
}

impl Heard {
    /// Why it need not be asked again.
    fn silence(&self) -> Option<Kind> {
        let hangs = !self.has_answered && self.slow >= SLOW_AT_MOST;
        self.unreachable.clone().or(hangs.then_some(Kind::Slow))
    }

    fn hear(&mut self, answer: &Result<(), Fault>) {
        match answer {
            Err(Fault { kind: kind @ (Kind::NoConnection | Kind::Unreachable(_)), redirected_to: None }) => {
                self.unreachable = Some(kind.clone());
            }
            Err(Fault { kind: Kind::Slow, redirected_to: None }) => self.slow += 1,
            Err(Fault { kind: Kind::NotAsked(_), .. }) => {}
            _ => self.has_answered = true,
        }
    }
}

impl Silent {
    fn or_ask(&self, question: &Question, asker: &Asker, round: usize, deadline: Deadline) -> Result<(), Fault> {
        let address = question.target.address;
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&address).and_then(Heard::silence);
        if let Some(kind) = known {
            return Err(Fault { kind, redirected_to: None });
        }
        if deadline.has_passed() {
            return Err(Fault { kind: Kind::NotAsked("the time ran out".to_owned()), redirected_to: None });
        }
        let answer = question.ask(asker, round, deadline);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(address).or_default().hear(&answer);
        answer
    }
}
