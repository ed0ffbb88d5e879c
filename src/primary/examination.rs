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

/// Asks all nodes at once; in their order.
pub fn of_all(courier: &Courier<'_>, lineages: &[Lineage], deadline: Deadline) -> io::Result<Vec<Examined>> {
    let places = Places::new(courier.config.deploy.parallel);
    for_each(courier.fleet.all().collect(), |member| {
        let names = wanted(courier, member, lineages);
        match places.with(|| ask(courier, member, names, deadline)) {
            Ok(findings) => Examined { node: member.name.clone(), is_reached: true, findings },
            Err(error) => {
                let is_reached = matches!(error, TalkError::Rejected(_) | TalkError::Unexpected);
                Examined { node: member.name.clone(), is_reached, findings: vec![unanswered(member, &error)] }
            }
        }
    })
}

fn wanted(courier: &Courier<'_>, member: &Member, lineages: &[Lineage]) -> Vec<LineageName> {
    if member.is_own() {
        return lineages.iter().map(|lineage| lineage.name.clone()).collect();
    }
    let wanted = lineages.iter().filter(|lineage| courier.wants(member, lineage));
    wanted.map(|lineage| courier.name_on_peers(lineage)).collect()
}

fn ask(
    courier: &Courier<'_>,
    member: &Member,
    lineages: Vec<LineageName>,
    deadline: Deadline,
) -> Result<Vec<Finding>, TalkError> {
    let own = &courier.config.node.name;
    let mut talk = Conversation::open(own, member, &[Request::Examine { lineages }], deadline)?;
    let mut findings = asides(member, &talk);
    match talk.receive()? {
        Reply::Examined { findings: there } => findings.extend(there),
        _ => return Err(TalkError::Unexpected),
    }
    Ok(findings)
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
        findings.push(Finding::warning(what, "what only one of them knows is not done", upgrade(member)));
    }
    findings
}

fn unanswered(member: &Member, error: &TalkError) -> Finding {
    const WHY: &str = "it gets no challenges and no certificates: a CA that asks it fails the renewal";
    match error {
        TalkError::Rejected(_) | TalkError::Unexpected => {
            let what = format!("it does not say what is wrong there: {}", error.explained());
            Finding::warning(what, "an older certcast does not know the question", upgrade(member))
        }
        _ => {
            let remedy = member.host().map_or_else(
                || pasteable(&["certcast", "status"]),
                |host| format!("on the primary, once it answers: certcast resync --peer {} # {host}", member.name),
            );
            Finding::error(error.explained(), WHY, remedy)
        }
    }
}

fn upgrade(member: &Member) -> String {
    format!("on the primary: {}", pasteable(&["certcast", "peer", "upgrade", member.name.as_str()]))
}
