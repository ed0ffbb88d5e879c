//! What was seen in a run, as it is compared with what was told.

use crate::model::config::{Event, Severity};
use crate::model::expiry;
use crate::model::names::{Identifier, LineageName, NodeName};
use crate::model::outcome::{Outcome, on_one_line};
use crate::model::pasteable::pasteable;
use crate::primary::alert::notice::{Kind, Observation, Subject, Trouble};
use crate::primary::delivery::Delivery;
use crate::primary::lineage::Lineage;

/// So much of names makes a command that can still be pasted; whoever runs it sees what is wrong with these.
const NAMES_AT_MOST: usize = 2000;
const BY_TIMER: &str = "it keeps what it has, and 'certcast resync' tries again, by hand or by its timer";

/// How a delivery ended; nothing where another node held it back, which is told of that one.
pub fn of_delivery(delivery: &Delivery) -> Option<Observation> {
    let subject = Subject { kind: Kind::Delivery, node: delivery.node.clone(), lineage: delivery.lineage.to_string() };
    let resync = || pasteable(&["certcast", "resync", delivery.lineage.as_str()]);
    let trouble = |event, severity, step, cause: &String, next: &str, command| {
        Some(Trouble { event, severity, step, cause: cause.clone(), days_left: None, next: next.to_owned(), command })
    };
    if delivery.is_held_back {
        return None;
    }
    let trouble = match delivery.outcome.as_ref()? {
        Outcome::Applied { .. } | Outcome::Unchanged => None,
        Outcome::Pending { cause } => trouble(Event::Pending, Severity::Warning, None, cause, BY_TIMER, resync()),
        Outcome::Refused { step, cause } => {
            trouble(Event::Refused, Severity::Warning, Some(*step), cause, BY_TIMER, resync())
        }
        Outcome::RolledBack { step, cause } => {
            trouble(Event::RolledBack, Severity::Warning, Some(*step), cause, BY_TIMER, resync())
        }
        Outcome::Stuck { cause, remedy } => {
            let next = "nothing more is brought there until somebody has looked";
            let command = format!("on {}: {}", delivery.node, on_one_line(remedy));
            trouble(Event::Stuck, Severity::Critical, None, cause, next, command)
        }
    };
    let is_applied = matches!(delivery.outcome, Some(Outcome::Applied { .. }));
    Some(Observation { subject, trouble, is_applied })
}

/// That nothing could be delivered at all; over as soon as something was.
pub fn of_failure(own: &NodeName, lineage: &LineageName, cause: String) -> Observation {
    let trouble = Trouble {
        event: Event::Pending,
        severity: Severity::Warning,
        step: None,
        cause,
        days_left: None,
        next: BY_TIMER.to_owned(),
        command: pasteable(&["certcast", "resync", lineage.as_str()]),
    };
    observed(Kind::Delivery, own, lineage.as_str(), Some(trouble))
}

/// Whether a lineage on the primary is fit to be sent, and whether its certificate ends soon.
pub fn of_lineage(own: &NodeName, lineage: &Lineage, now: i64) -> [Observation; 2] {
    let (begin, end) = (lineage.bundle.not_before(), lineage.bundle.not_after());
    let (wanted, days) = (expiry::days_at_least(expiry::days(begin, end)), expiry::days(now, end));
    let name = lineage.name.as_str();
    let trouble = (days < wanted).then(|| Trouble {
        event: Event::Expiring,
        severity: if days < wanted / 2 { Severity::Critical } else { Severity::Warning },
        step: None,
        cause: format!("{name} ends in {days} days, and certbot should have renewed it by now"),
        days_left: Some(days),
        next: "certbot's timer tries again".to_owned(),
        command: pasteable(&["certbot", "renew", "--cert-name", name, "--dry-run"]),
    });
    [of_fitness(own, &lineage.name, None), observed(Kind::Expiry, own, name, trouble)]
}

/// That a lineage on the primary is fit to be sent, or why not.
pub fn of_fitness(own: &NodeName, lineage: &LineageName, cause: Option<String>) -> Observation {
    let trouble = cause.map(|cause| Trouble {
        event: Event::LineageUnfit,
        severity: Severity::Critical,
        step: None,
        cause,
        days_left: None,
        next: "no node gets it; what they have stays".to_owned(),
        command: "certbot certificates".to_owned(),
    });
    observed(Kind::Lineage, own, lineage.as_str(), trouble)
}

/// Whether the challenges for these names were proven. A failure is told of the first name, an end of each.
pub fn of_challenges(own: &NodeName, names: &[&Identifier], complaints: &[String]) -> Vec<Observation> {
    if complaints.is_empty() {
        return names.iter().map(|name| observed(Kind::Challenge, own, &name.to_string(), None)).collect();
    }
    let all: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut length = 0;
    let so_many = all.iter().map(String::as_str).take_while(|name| {
        length += name.len() + 1;
        length <= NAMES_AT_MOST
    });
    let words: Vec<&str> = ["certcast", "rehearse"].into_iter().chain(so_many).collect();
    let trouble = Trouble {
        event: Event::ChallengeFailed,
        severity: Severity::Critical,
        step: None,
        cause: complaints.join("; "),
        days_left: None,
        next: "the CA may ask just there, and then the renewal fails; certbot's timer tries again".to_owned(),
        command: pasteable(&words),
    };
    all.first().map(|first| observed(Kind::Challenge, own, first, Some(trouble))).into_iter().collect()
}

/// Whether another route takes alerts.
pub fn of_route(own: &NodeName, label: &str, cause: Option<String>) -> Observation {
    let trouble = cause.map(|cause| Trouble {
        event: Event::RouteFailing,
        severity: Severity::Warning,
        step: None,
        cause,
        days_left: None,
        next: "what it did not take waits, and is sent in its order".to_owned(),
        command: "certcast alert test".to_owned(),
    });
    observed(Kind::Route, own, label, trouble)
}

fn observed(kind: Kind, node: &NodeName, lineage: &str, trouble: Option<Trouble>) -> Observation {
    Observation {
        subject: Subject { kind, node: node.clone(), lineage: lineage.to_owned() },
        trouble,
        is_applied: false,
    }
}

#[cfg(test)]
mod tests;
