//! The end of a transaction before it changed anything.

use crate::model::outcome::{Outcome, Step};

/// Why a transaction goes no further, as the outcome that the primary is told.
///
/// Any error on the way (the disk, the journal) becomes a refusal, so `?` is enough where nothing
/// has been changed yet.
#[derive(Debug)]
pub struct Halt(pub Outcome);

impl Halt {
    /// This node will not.
    pub fn refused(step: Step, cause: impl Into<String>) -> Halt {
        Halt(Outcome::Refused { step, cause: cause.into() })
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Halt {
    fn from(error: E) -> Halt {
        Halt::refused(Step::Stage, format!("{:#}", anyhow::Error::from(error)))
    }
}
