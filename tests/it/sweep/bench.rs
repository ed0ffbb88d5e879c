//! What a sweep is made of: a place where the same program runs again and again from the same start.

use std::path::PathBuf;

use super::cut::{Call, Cut};

/// One such place. A sweep raises several of them, which must not differ.
pub trait Bench {
    /// What is remembered of a run for the judge.
    type Ran;

    /// As before the program: files and services; with what a run that was cut has left, if one is given.
    fn begin(&self, crash: Option<&Cut>);

    /// Runs the program, and waits until all that it started has come to rest. With a crash to be recovered from, the
    /// program is the one that recovers.
    fn run(&self, crash: Option<&Cut>, cut: Option<&Cut>) -> Run<Self::Ran>;

    /// What the run has left.
    fn end(&self, ran: &Self::Ran) -> End;

    /// What a run claims that cannot be, whatever it has left; asked after every run.
    fn claims_wrongly(&self, _: &Run<Self::Ran>) -> Option<String> {
        None
    }

    /// Has the rest done, and says what is wrong then, in words; nothing when all is well.
    fn judge(&self, ran: &Self::Ran) -> Vec<String>;
}

/// One run.
pub struct Run<R> {
    /// The program's calls.
    pub calls: Vec<Call>,
    /// Whether it came to where it was to be cut.
    pub is_cut: bool,
    /// What it was not let write or sync before it made anything staged visible.
    pub unwritten: Vec<PathBuf>,
    /// For the judge.
    pub ran: R,
}

/// What a run has left.
pub struct End {
    /// Equal where nothing differs that could matter for what follows.
    pub key: u64,
    /// Whether services may be on the move, which the key cannot tell.
    pub is_moving: bool,
    /// How far it came, if a crash there is to be recovered from under cuts too.
    pub phase: Option<String>,
}
