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
const OF_EARLIER: &str = "an earlier run was cut off here, or what it left is in the way: what it is, and what the disk or the \
                          services say, is in this server's log alone, see 'journalctl -t certcast': this key is for some lineages \
                          only (--only)";
const OF_STUCK: &str = "this server needs a person: what the disk or the services say is in this server's log alone, see 'journalctl -t certcast': this key is for some lineages only (--only)";

/// The outcome of a transaction of the key's own.
pub fn of_own(grant: &Grant, outcome: Outcome) -> Outcome {
    if grant.only.is_empty() {
        return outcome;
    }
    let told = match outcome.clone() {
        Outcome::Applied { notes } => Outcome::Applied { notes: notes.into_iter().map(note).collect() },
        Outcome::Refused { step, cause } => Outcome::Refused { step, cause: heard(step, cause) },
        Outcome::RolledBack { step, cause } => Outcome::RolledBack { step, cause: heard(step, cause) },
        Outcome::Stuck { .. } => stuck(OF_STUCK),
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

fn heard(step: Step, cause: String) -> String {
    match step {
        Step::Recovery => OF_EARLIER.into(),
        Step::Baseline | Step::PreFlight | Step::Test | Step::Reload => OF_SERVICES.into(),
        _ => cause,
    }
}

fn note(note: String) -> String {
    match note.split_once(NOT_RELOADED) {
        Some((service, _)) => format!("{service}{NOT_RELOADED}{OF_SERVICES}"),
        None => note,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::policy::Role;

    #[test]
    fn what_a_disk_or_an_earlier_run_did_is_not_laid_upon_the_services() {
        let only = vec!["www.site.test".parse().unwrap()];
        let grant = Grant { role: Role::Deploy, only, accounts: Vec::new(), allow_force: false };
        let cause = || "shop.test: the disk is full".to_owned();
        let told = |outcome| of_own(&grant, outcome).to_string();
        let earlier = [
            Outcome::Refused { step: Step::Recovery, cause: cause() },
            Outcome::RolledBack { step: Step::Recovery, cause: cause() },
        ];
        for said in earlier.map(told) {
            assert!(said.contains(": an earlier run was cut off here, or what it left is in the way: "), "{said}");
            assert!(!said.contains("shop.test"), "{said}");
        }
        let said = told(Outcome::Stuck { cause: cause(), remedy: vec!["shop.test".into()] });
        assert!(said.starts_with("stuck: this server needs a person: "), "{said}");
        assert!(said.ends_with("; run there: certcast recover") && !said.contains("shop.test"), "{said}");
        let said = told(Outcome::RolledBack { step: Step::Reload, cause: cause() });
        assert!(said.contains(": what the services say is in this server's log alone"), "{said}");
        // A disk's words about the key's own transaction are the key's.
        for own in [
            Outcome::Refused { step: Step::Stage, cause: cause() },
            Outcome::RolledBack { step: Step::Switch, cause: cause() },
        ] {
            assert_eq!(of_own(&grant, own.clone()), own);
        }
    }
}
