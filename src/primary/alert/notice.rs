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
    /// What is wrong, or was; with `recovered` as its event when it is over.
    #[serde(flatten)]
    pub trouble: Trouble,
    /// With `recovered`: what is over. With a change: what it was before.
    pub before: Option<Trouble>,
    /// Of what.
    #[serde(flatten)]
    pub subject: Subject,
    /// Since when.
    pub since: Timestamp,
    /// Whether it was told before.
    pub is_reminder: bool,
}

/// A receiver may take no more; the rest of a cause is in the log.
const CAUSE_AT_MOST: usize = 1500;
/// With its names, or what to run on another node.
const COMMAND_AT_MOST: usize = 2500;
/// Of several in one message.
const BRIEF: usize = 100;
const NOTHING: &str = "nothing is to be done";

impl Trouble {
    /// The same with its texts as they may be stored and sent: escaped, and none of them large.
    #[must_use]
    pub fn harmless(&self) -> Trouble {
        Trouble {
            cause: escaped_up_to(&self.cause, CAUSE_AT_MOST),
            command: escaped_up_to(&self.command, COMMAND_AT_MOST),
            ..self.clone()
        }
    }
}

impl Notice {
    /// Of a trouble that began then.
    pub fn of(subject: &Subject, trouble: &Trouble, since: Timestamp, now: Timestamp) -> Notice {
        Notice {
            id: id(subject, trouble.event, 1, now),
            time: now,
            state: 1,
            trouble: trouble.clone(),
            before: None,
            subject: subject.clone(),
            since,
            is_reminder: false,
        }
    }

    /// Of its end.
    pub fn of_the_end(subject: &Subject, trouble: &Trouble, since: Timestamp, now: Timestamp) -> Notice {
        let end = Trouble {
            event: Event::Recovered,
            cause: String::new(),
            days_left: None,
            next: NOTHING.into(),
            command: String::new(),
            ..trouble.clone()
        };
        let id = id(subject, Event::Recovered, 0, now);
        Notice { id, state: 0, before: Some(trouble.clone()), ..Notice::of(subject, &end, since, now) }
    }

    /// That a node has a new certificate.
    pub fn of_an_application(subject: &Subject, now: Timestamp) -> Notice {
        Notice::well(subject, Event::Applied, "it has the new certificate", now)
    }

    /// A trial by a person.
    pub fn test(node: &NodeName) -> Notice {
        let subject = Subject { kind: Kind::Test, node: node.clone(), lineage: "test".to_owned() };
        Notice::well(&subject, Event::Recovered, "somebody typed 'certcast alert test'", Timestamp::now())
    }

    fn well(subject: &Subject, event: Event, cause: &str, now: Timestamp) -> Notice {
        let (severity, step, days_left) = (Severity::Info, None, None);
        let (cause, next, command) = (cause.to_owned(), NOTHING.to_owned(), String::new());
        let trouble = Trouble { event, severity, step, cause, days_left, next, command };
        Notice { id: id(subject, event, 0, now), state: 0, ..Notice::of(subject, &trouble, now, now) }
    }

    /// Some, for a person: one whole, several in brief.
    pub fn texts(notices: &[Notice]) -> String {
        match notices {
            [one] => one.text(),
            several => several.iter().map(Notice::brief).collect::<Vec<_>>().join("\n"),
        }
    }

    /// Of some: the one's title, or how many they are.
    pub fn titles(notices: &[Notice]) -> String {
        match notices {
            [one] => one.title(),
            several => format!("{} messages", several.len()),
        }
    }

    fn brief(&self) -> String {
        let cause: String = self.trouble.cause.chars().take(BRIEF).collect();
        if cause.is_empty() { self.title() } else { format!("{}: {cause}", self.title()) }
    }

    /// In one line.
    pub fn title(&self) -> String {
        let Subject { kind, node, lineage } = &self.subject;
        if *kind == Kind::Test {
            return format!("{node}: this is a test");
        }
        let reminder = if self.is_reminder { "still " } else { "" };
        match self.before.as_ref().filter(|_| self.trouble.event == Event::Recovered) {
            Some(over) => format!("{node}: {lineage}: over: {}", word(over.event)),
            None => format!("{node}: {lineage}: {reminder}{}", word(self.trouble.event)),
        }
    }

    /// All of it, for a person.
    pub fn text(&self) -> String {
        let mut lines = vec![self.title()];
        let since = self.since;
        if !self.trouble.cause.is_empty() {
            lines.push(self.trouble.cause.clone());
        }
        if self.trouble.event == Event::Recovered && self.before.is_some() {
            lines.push(format!("It lasted from {since:.0} to {:.0}.", self.time));
        } else if self.state == 1 {
            lines.push(format!("Since {since:.0}. What happens next: {}.", self.trouble.next));
        }
        if let Some(days) = self.trouble.days_left {
            lines.push(format!("Days left: {days}."));
        }
        if !self.trouble.command.is_empty() {
            lines.push(format!("To do: {}", self.trouble.command));
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

fn id(subject: &Subject, event: Event, state: u8, now: Timestamp) -> String {
    let text = format!("{}/{}/{state}/{}", subject.key(), word(event), now.as_nanosecond());
    Digest::of(text.as_bytes()).to_string()[..32].to_owned()
}
