//! What a key for some lineages only (`--only`) hears of how things went here: of those lineages, and of no other.
//!
//! What a service's command says is about all of its sites, so such a key never hears it. What is kept from it is in this
//! node's log.

use crate::model::config::Service;
use crate::model::outcome::{Outcome, Step};
use crate::peer::policy::Grant;
use crate::peer::service::NOT_RELOADED;

const OF_ANOTHER: &str = "an earlier transaction of another lineage has not ended here, and this key is not for that one \
                          (--only): which and why is in this server's log alone, see 'journalctl -t certcast'";
const OF_SERVICES: &str = "what the services say is in this server's log alone, see 'journalctl -t certcast': this key is \
                           for some lineages only (--only)";

/// The outcome of a transaction of the key's own.
pub fn of_own(grant: &Grant, outcome: Outcome) -> Outcome {
    if grant.only.is_empty() {
        return outcome;
    }
    let told = match outcome.clone() {
        Outcome::Applied { notes } => Outcome::Applied { notes: notes.into_iter().map(note).collect() },
        Outcome::Refused { step, .. } if is_of_services(step) => Outcome::Refused { step, cause: OF_SERVICES.into() },
        Outcome::RolledBack { step, .. } if is_of_services(step) => {
            Outcome::RolledBack { step, cause: OF_SERVICES.into() }
        }
        Outcome::Stuck { .. } => stuck(OF_SERVICES),
        other => other,
    };
    if told != outcome {
        tracing::warn!(%outcome, "not all of it is told to this key");
    }
    told
}

/// The outcome of an earlier transaction that stands in the way of the key's own and is not of a lineage of the key's.
pub fn of_another(outcome: &Outcome) -> Outcome {
    tracing::warn!(%outcome, "not all of it is told to this key");
    match outcome {
        Outcome::Stuck { .. } => stuck(OF_ANOTHER),
        _ => Outcome::Refused { step: Step::Recovery, cause: OF_ANOTHER.into() },
    }
}

/// The commands to run are partly the services' own, and they may name anything: `recover` says them all, to root there.
fn stuck(cause: &str) -> Outcome {
    Outcome::Stuck { cause: cause.into(), remedy: vec!["certcast recover".into()] }
}

/// What would be run of a service.
pub fn commands(grant: &Grant, service: &Service) -> String {
    if grant.only.is_empty() {
        return format!("run {}; {}", service.test.join(" "), service.reload.join(" "));
    }
    format!("run the test and the reload of {}", service.name)
}

fn is_of_services(step: Step) -> bool {
    // What an earlier run left is told with what had failed in it.
    matches!(step, Step::Baseline | Step::PreFlight | Step::Test | Step::Reload | Step::Recovery)
}

fn note(note: String) -> String {
    match note.split_once(NOT_RELOADED) {
        Some((service, _)) => format!("{service}{NOT_RELOADED}{OF_SERVICES}"),
        None => note,
    }
}
