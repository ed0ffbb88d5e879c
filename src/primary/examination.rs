//! Every node asked what is wrong there, and what only the asking shows: who answers, with which clock and program.

use std::io;

use crate::model::deadline::Deadline;
use crate::model::finding::Finding;
use crate::model::names::{LineageName, NodeName};
use crate::model::pasteable::pasteable;
use crate::primary::conversation::{Conversation, TalkError};
use crate::primary::delivery::Courier;
use crate::primary::fleet::{Member, Places, for_each};
use crate::primary::lineage::Lineage;
use crate::wire::message::{Reply, Request};

/// More is no matter of a slow network or of whole seconds.
const SKEW_AT_MOST: i64 = 60;

/// What one node says.
pub struct Examined {
    /// Which.
    pub node: NodeName,
    /// Whether it answered at all.
    pub is_reached: bool,
    /// What is wrong there.
    pub findings: Vec<Finding>,
}

/// Asks all nodes at once about these of all the lineages that the primary has; in the nodes' order.
pub fn of_all(
    courier: &Courier<'_>,
    lineages: &[Lineage],
    all: &[LineageName],
    deadline: Deadline,
) -> io::Result<Vec<Examined>> {
    let places = Places::new(courier.config.deploy.parallel, courier.fleet.all().count());
    for_each(courier.fleet.all().collect(), |member| {
        let lineages = wanted(courier, member, lineages.iter().map(|lineage| &lineage.name));
        let sent = wanted(courier, member, all.iter());
        let own = &courier.config.node.name;
        let (is_reached, findings) = places.share(deadline, |turn| {
            match Conversation::open(own, member, &[Request::Examine { lineages, sent: sent.clone() }], turn) {
                Ok(talk) => (true, heard(member, talk, sent.is_empty())),
                Err(error) => (false, vec![unreached(member, &error)]),
            }
        });
        Examined { node: member.name.clone(), is_reached, findings }
    })
}

fn wanted<'l>(
    courier: &Courier<'_>,
    member: &Member,
    lineages: impl Iterator<Item = &'l LineageName>,
) -> Vec<LineageName> {
    if member.is_own() {
        return lineages.cloned().collect();
    }
    let wanted = lineages.filter(|lineage| courier.wants(member, lineage));
    wanted.map(|lineage| courier.name_on_peers(lineage)).collect()
}

/// One that gets challenges only may have a key that is for nothing else (`--role challenge`).
fn heard(member: &Member, mut talk: Conversation, is_for_challenges: bool) -> Vec<Finding> {
    let mut findings = asides(member, &talk);
    match talk.receive() {
        Ok(Reply::Examined { findings: there }) => findings.extend(there),
        Err(TalkError::Rejected(_)) if is_for_challenges => {}
        Ok(_) => findings.push(unanswered(member, &TalkError::Unexpected)),
        Err(error) => findings.push(unanswered(member, &error)),
    }
    findings
}

fn asides(member: &Member, talk: &Conversation) -> Vec<Finding> {
    let mut findings = Vec::new();
    let ahead = talk.clock_ahead();
    if ahead.abs() > SKEW_AT_MOST {
        let direction = if ahead > 0 { "ahead of" } else { "behind" };
        let what = format!("its clock is {} seconds {direction} the primary's", ahead.unsigned_abs());
        let why = "by a wrong clock a certificate has ended too early, or is not valid yet";
        findings.push(Finding::warning(what, why, "timedatectl set-ntp true"));
    }
    let own = env!("CARGO_PKG_VERSION");
    if talk.version() != own && !member.is_own() {
        let what = format!("it has certcast {}, and the primary {own}", talk.version());
        let remedy = if is_newer(talk.version(), own) {
            format!("on the primary: install certcast {} there too", talk.version())
        } else {
            upgrade(member)
        };
        findings.push(Finding::warning(what, "what only one of them knows is not done", remedy));
    }
    findings
}

/// Whether of two versions such as 1.10.0 the first is the later one; what is none is not.
fn is_newer(one: &str, other: &str) -> bool {
    let parts = |version: &str| version.split('.').map(str::parse::<u32>).collect::<Result<Vec<_>, _>>().ok();
    parts(one).is_some_and(|one| parts(other).is_some_and(|other| one > other))
}

fn unreached(member: &Member, error: &TalkError) -> Finding {
    const WHY: &str = "it gets no challenges and no certificates: a CA that asks it fails the renewal";
    let remedy = member.host().map_or_else(
        || pasteable(&["certcast", "status"]),
        |host| format!("on the primary, once it answers: certcast resync --peer {} # {host}", member.name),
    );
    Finding::error(error.explained(), WHY, remedy)
}

/// It was there, and has another release's ways, or had no time.
fn unanswered(member: &Member, error: &TalkError) -> Finding {
    let what = format!("it does not say what is wrong there: {}", error.explained());
    let mut again = vec!["certcast", "resync", "--dry-run"];
    if !member.is_own() {
        again.extend(["--peer", member.name.as_str()]);
    }
    let remedy = format!("on the primary: {}", pasteable(&again));
    Finding::warning(what, "something may be, and nobody is told", remedy)
}

fn upgrade(member: &Member) -> String {
    format!("on the primary: {}", pasteable(&["certcast", "peer", "upgrade", member.name.as_str()]))
}
