//! How every node stands to the primary's lineages: asked, compared, and nothing changed.

use std::io;

use jiff::Timestamp;
use serde::Serialize;

use crate::model::bundle::Number;
use crate::model::deadline::Deadline;
use crate::model::escape::escaped_up_to;
use crate::model::expiry;
use crate::model::names::{LineageName, NodeName};
use crate::model::outcome::Outcome;
use crate::primary::conversation::{Conversation, TalkError};
use crate::primary::delivery::Courier;
use crate::primary::fleet::{Member, Places, for_each};
use crate::primary::lineage::Lineage;
use crate::primary::record;
use crate::wire::message::{LINEAGES_AT_MOST, Reply, Request, Version};
use crate::wire::presence::Presence;
use crate::wire::survey::{Served, Survey};

/// One lineage on one node.
#[derive(Debug, Serialize)]
pub struct Row {
    /// The node.
    pub node: NodeName,
    /// The lineage, by its name on the primary.
    pub lineage: LineageName,
    /// How it stands.
    #[serde(flatten)]
    pub state: State,
    /// The number that the node has; none where none is whole, or the node does not say.
    pub number: Option<Number>,
    /// The number that the primary has.
    pub expected: Number,
    /// The end of the certificate's validity.
    pub not_after: Option<Timestamp>,
    /// Whole days until then; below zero when it is over.
    pub days_left: Option<i64>,
    /// What the services show; none where the node does not say.
    pub served: Option<Served>,
    /// Since when deliveries to it fail.
    pub pending_since: Option<Timestamp>,
    /// When a delivery last brought or found it in line.
    pub last_success: Option<Timestamp>,
    /// How the last delivery to it ended, and when.
    pub last_outcome: Option<String>,
    /// When that was.
    pub last_delivery: Option<Timestamp>,
    /// The version of certcast that answered.
    pub receiver: Option<String>,
    /// For how many days the primary's certificate is made.
    #[serde(skip)]
    pub life: i64,
}

/// Of an outcome, for a line in a table.
const OUTCOME_AT_MOST: usize = 300;

/// How a node stands to a lineage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum State {
    /// It has the primary's version, and its services show it as far as they are probed.
    InLine,
    /// A transaction is under way, or was cut off.
    Unfinished,
    /// Neither version could be made to work there: a person is needed.
    Stuck {
        /// Why.
        cause: String,
    },
    /// It has the primary's version, and a service shows another one.
    ServesOlder {
        /// Which service, for which name and where.
        place: String,
    },
    /// It has the primary's version, and a service that should show it does not.
    NotServed {
        /// Which service, for which name and where, and what it shows.
        place: String,
    },
    /// It has the primary's version, and the time was up before all places were asked what they show.
    PartlySeen,
    /// It has another version, or the same one in part.
    Behind,
    /// It has none.
    Missing,
    /// It was not reached, or did not say.
    Unknown {
        /// Why, with the remedy.
        cause: String,
    },
}

/// Asks all nodes at once; rows in the order of nodes, then of lineages. Lineages that are not for a node have no row there.
pub fn find(courier: &Courier<'_>, lineages: &[Lineage], deadline: Deadline) -> io::Result<Vec<Row>> {
    let places = Places::new(courier.config.deploy.parallel, courier.fleet.all().count());
    let now = Timestamp::now();
    let rows = for_each(courier.fleet.all().collect(), |member| {
        let is_own = member.name == courier.fleet.own.name;
        let wanted: Vec<_> = lineages.iter().filter(|lineage| is_own || courier.wants(member, &lineage.name)).collect();
        let name = |lineage: &&Lineage| {
            if is_own { lineage.name.clone() } else { courier.name_on_peers(&lineage.name) }
        };
        let names: Vec<_> = wanted.iter().map(name).collect();
        if names.is_empty() {
            places.one_less();
            return Vec::new();
        }
        let answer = places.share(deadline, |turn| ask(courier, member, &names, turn));
        let rows =
            wanted.into_iter().zip(&names).map(|(lineage, name)| row(courier, member, lineage, name, &answer, now));
        rows.collect()
    });
    Ok(rows?.into_iter().flatten().collect())
}

struct Answer {
    receiver: String,
    surveys: Vec<Survey>,
}

fn ask(
    courier: &Courier<'_>,
    member: &Member,
    names: &[LineageName],
    deadline: Deadline,
) -> Result<Answer, (Option<String>, TalkError)> {
    let own = &courier.config.node.name;
    let survey = |some: &[LineageName]| Request::Survey { lineages: some.to_vec() };
    let mut requests = names.chunks(LINEAGES_AT_MOST).map(survey);
    let first: Vec<_> = requests.next().into_iter().collect();
    let mut talk = Conversation::open(own, member, &first, deadline).map_err(|error| (None, error))?;
    let receiver = talk.version().to_owned();
    let mut surveys = Vec::new();
    let mut reply = talk.receive();
    loop {
        match reply {
            Ok(Reply::Surveyed { lineages }) => surveys.extend(lineages),
            Ok(_) => return Err((Some(receiver), TalkError::Unexpected)),
            Err(error) => return Err((Some(receiver), error)),
        }
        let Some(request) = requests.next() else { return Ok(Answer { receiver, surveys }) };
        reply = talk.ask(&request);
    }
}

fn row(
    courier: &Courier<'_>,
    member: &Member,
    lineage: &Lineage,
    name: &LineageName,
    answer: &Result<Answer, (Option<String>, TalkError)>,
    now: Timestamp,
) -> Row {
    let record = record::read(&courier.config.node.state, &member.name, &lineage.name);
    let mut row = Row {
        node: member.name.clone(),
        lineage: lineage.name.clone(),
        state: State::Missing,
        number: None,
        expected: lineage.number,
        not_after: None,
        days_left: None,
        served: None,
        pending_since: record.as_ref().and_then(|record| record.pending_since),
        last_success: record.as_ref().filter(|record| record.outcome.is_in_sync()).map(|record| record.at),
        last_outcome: record.as_ref().map(|record| escaped_up_to(&record.outcome.to_string(), OUTCOME_AT_MOST)),
        last_delivery: record.as_ref().map(|record| record.at),
        receiver: None,
        life: expiry::days(lineage.bundle.not_before(), lineage.bundle.not_after()),
    };
    let stuck = match record.map(|record| record.outcome) {
        Some(Outcome::Stuck { cause, .. }) => Some(State::Stuck { cause }),
        _ => None,
    };
    match answer {
        Err((receiver, error)) => {
            row.receiver.clone_from(receiver);
            row.state = State::Unknown { cause: error.explained() };
        }
        Ok(answer) => {
            row.receiver = Some(answer.receiver.clone());
            match answer.surveys.iter().find(|survey| survey.lineage == *name) {
                Some(survey) => {
                    tell(&mut row, lineage, survey, now);
                    if let (State::Unfinished, Some(stuck)) = (&row.state, stuck) {
                        row.state = stuck;
                    }
                }
                None => {
                    row.state = State::Unknown { cause: "the key is not for this lineage there (--only)".to_owned() }
                }
            }
        }
    }
    row
}

fn tell(row: &mut Row, lineage: &Lineage, survey: &Survey, now: Timestamp) {
    let version = survey.presence.version();
    row.number = version.map(|version| version.number);
    row.served = Some(survey.served.clone());
    if let Some(certificate) = survey.certificate {
        row.not_after = Timestamp::from_second(certificate.not_after).ok();
        row.days_left = Some(expiry::days(now.as_second(), certificate.not_after));
    }
    row.state = if survey.unfinished {
        State::Unfinished
    } else {
        let is_the_primarys =
            |version: &Version| version.digest == lineage.digest() && version.number == lineage.number;
        match &survey.presence {
            Presence::Here { version } if version.as_ref().is_some_and(is_the_primarys) => shown(&survey.served),
            Presence::Here { .. } => State::Behind,
            Presence::Gone => State::Missing,
            Presence::Unknown { cause } => State::Unknown { cause: cause.clone() },
        }
    };
}

/// How a node stands that has the primary's version.
fn shown(served: &Served) -> State {
    // The count decides: a node that names no place is not in line for that.
    if served.older > 0 {
        State::ServesOlder { place: served.example.clone().unwrap_or_else(|| "a service".to_owned()) }
    } else if let Some(place) = &served.missed {
        State::NotServed { place: place.clone() }
    } else if served.unasked > 0 {
        State::PartlySeen
    } else {
        State::InLine
    }
}

#[cfg(test)]
mod tests;
