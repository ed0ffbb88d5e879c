//! What is told: one change, for machines and for people.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::config::{Event, Severity};
use crate::model::digest::Digest;
use crate::model::escape::escaped_up_to;
use crate::model::names::NodeName;
use crate::model::outcome::Step;

/// What can be in order or not, for a node and a lineage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The node has and serves the primary's version.
    Delivery,
    /// The lineage on the primary is fit to be sent.
    Lineage,
    /// Challenges can be proven.
    Challenge,
    /// The certificate does not end soon.
    Expiry,
    /// An alert's route works.
    Route,
    /// Nothing: a trial by a person.
    Test,
}

impl Kind {
    /// Its word in messages and labels.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Delivery => "delivery",
            Kind::Lineage => "lineage",
            Kind::Challenge => "challenge",
            Kind::Expiry => "expiry",
            Kind::Route => "route",
            Kind::Test => "test",
        }
    }
}

/// What an observation is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Subject {
    /// Of what kind.
    pub kind: Kind,
    /// On which node.
    pub node: NodeName,
    /// The lineage; for a challenge the first name, for a route its label.
    pub lineage: String,
}

/// What was seen now.
#[derive(Clone, Debug)]
pub struct Observation {
    /// Of what.
    pub subject: Subject,
    /// What is wrong; none when all is well.
    pub trouble: Option<Trouble>,
    /// That it was changed for the better just now: told to whoever wants that too.
    pub is_applied: bool,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// What it is.
    pub event: Event,
    /// How bad that is.
    pub severity: Severity,
    /// At which step of a transaction it came up.
    pub step: Option<Step>,
    /// Why, with the last words of the command that failed.
    pub cause: String,
    /// Whole days until the certificate ends, where that is known.
    pub days_left: Option<i64>,
    /// What certcast does about it by itself.
    pub next: String,
    /// What a person can run.
    pub command: String,
}

/// One message. Its JSON is what `webhook` and `exec` get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The same however often it is sent.
    pub id: String,
    /// When it was seen.
    pub time: Timestamp,
    /// 1 while something is wrong, 0 when it is over, or was none.
    pub state: u8,
    /// What it is.
    pub event: Event,
    /// With `recovered`: what is over. With a change: what it was before.
    pub over: Option<Event>,
    /// How bad it is, or was.
    pub severity: Severity,
    /// With a change: how bad it was before.
    pub severity_before: Option<Severity>,
    /// Of what.
    #[serde(flatten)]
    pub subject: Subject,
    /// Since when.
    pub since: Timestamp,
    /// Whether it was told before.
    pub is_reminder: bool,
    /// At which step of a transaction it came up.
    pub step: Option<Step>,
    /// Why.
    pub cause: String,
    /// Whole days until the certificate ends, where that is known.
    pub days_left: Option<i64>,
    /// What certcast does about it by itself.
    pub next: String,
    /// What a person can run.
    pub command: String,
}

/// A receiver may take no more; the rest of a cause is in the log.
const CAUSE_AT_MOST: usize = 1500;

impl Notice {
    /// Of a trouble that began then.
    pub fn of(subject: &Subject, trouble: &Trouble, since: Timestamp, now: Timestamp, number: u64) -> Notice {
        Notice {
            id: id(subject, number),
            time: now,
            state: 1,
            event: trouble.event,
            over: None,
            severity: trouble.severity,
            severity_before: None,
            subject: subject.clone(),
            since,
            is_reminder: false,
            step: trouble.step,
            cause: escaped_up_to(&trouble.cause, CAUSE_AT_MOST),
            days_left: trouble.days_left,
            next: trouble.next.clone(),
            command: trouble.command.clone(),
        }
    }

    /// Of its end.
    pub fn of_the_end(subject: &Subject, trouble: &Trouble, since: Timestamp, now: Timestamp, number: u64) -> Notice {
        let next = "nothing is to be done".to_owned();
        let end = Trouble { cause: String::new(), days_left: None, next, command: String::new(), ..trouble.clone() };
        let notice = Notice::of(subject, &end, since, now, number);
        Notice { state: 0, event: Event::Recovered, over: Some(trouble.event), ..notice }
    }

    /// That a node has a new certificate.
    pub fn of_an_application(subject: &Subject, now: Timestamp, number: u64) -> Notice {
        let trouble = Trouble {
            event: Event::Applied,
            severity: Severity::Info,
            step: None,
            cause: "it has the new certificate".to_owned(),
            days_left: None,
            next: "nothing is to be done".to_owned(),
            command: String::new(),
        };
        Notice { state: 0, ..Notice::of(subject, &trouble, now, now, number) }
    }

    /// A trial by a person.
    pub fn test(node: &NodeName) -> Notice {
        let subject = Subject { kind: Kind::Test, node: node.clone(), lineage: "test".to_owned() };
        let trouble = Trouble {
            event: Event::Recovered,
            severity: Severity::Info,
            step: None,
            cause: "somebody typed 'certcast alert test'".to_owned(),
            days_left: None,
            next: "nothing is to be done".to_owned(),
            command: String::new(),
        };
        let now = Timestamp::now();
        let number = u64::try_from(now.as_nanosecond()).unwrap_or(0);
        Notice { state: 0, ..Notice::of(&subject, &trouble, now, now, number) }
    }

    /// In one line.
    pub fn title(&self) -> String {
        let Subject { kind, node, lineage } = &self.subject;
        if *kind == Kind::Test {
            return format!("{node}: this is a test");
        }
        let reminder = if self.is_reminder { "still " } else { "" };
        match self.over.filter(|_| self.event == Event::Recovered) {
            Some(over) => format!("{node}: {lineage}: over: {}", word(over)),
            None => format!("{node}: {lineage}: {reminder}{}", word(self.event)),
        }
    }

    /// All of it, for a person.
    pub fn text(&self) -> String {
        let mut lines = vec![self.title()];
        let since = self.since;
        if !self.cause.is_empty() {
            lines.push(self.cause.clone());
        }
        if self.event == Event::Recovered && self.over.is_some() {
            lines.push(format!("It lasted from {since:.0} to {:.0}.", self.time));
        } else if self.state == 1 {
            lines.push(format!("Since {since:.0}. What happens next: {}.", self.next));
        }
        if let Some(days) = self.days_left {
            lines.push(format!("Days left: {days}."));
        }
        if !self.command.is_empty() {
            lines.push(format!("To do: {}", self.command));
        }
        lines.join("\n")
    }
}

/// An event's word, as the configuration has it.
pub fn word(event: Event) -> &'static str {
    match event {
        Event::ChallengeFailed => "challenge-failed",
        Event::LineageUnfit => "lineage-unfit",
        Event::Applied => "applied",
        Event::Refused => "refused",
        Event::RolledBack => "rolled-back",
        Event::Pending => "pending",
        Event::Stuck => "stuck",
        Event::Expiring => "expiring",
        Event::RouteFailing => "route-failing",
        Event::Recovered => "recovered",
    }
}

/// A severity's word, as the configuration has it.
pub fn severity_word(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}

impl Subject {
    /// A name for it that is the same for ever: what receivers fold by.
    pub fn key(&self) -> String {
        format!("{}/{}/{}", self.kind.word(), self.node, self.lineage)
    }
}

fn id(subject: &Subject, number: u64) -> String {
    Digest::of(format!("{}/{number}", subject.key()).as_bytes()).to_string()[..32].to_owned()
}
