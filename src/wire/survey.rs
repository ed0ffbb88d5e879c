//! What a node says of a lineage when a person asks how things are.

use serde::{Deserialize, Serialize};

use crate::model::digest::Digest;
use crate::model::escape::escaped;
use crate::model::names::LineageName;
use crate::wire::presence::Presence;

/// One lineage on one node.
#[derive(Debug, Serialize, Deserialize)]
pub struct Survey {
    /// Which.
    pub lineage: LineageName,
    /// What is there.
    pub presence: Presence,
    /// What can be said of its certificate, also where the version is not whole.
    pub certificate: Option<Certificate>,
    /// Whether a transaction is under way, or waits for `certcast recover`.
    pub unfinished: bool,
    /// What the services show.
    pub served: Served,
}

/// An installed certificate.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Certificate {
    /// The SHA-256 of its DER form.
    pub leaf: Digest,
    /// The end of its validity, in seconds since 1970.
    pub not_after: i64,
}

/// What was shown at the places where services listen, for each of the certificate's names: so many answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// The installed certificate.
    pub current: u32,
    /// Another version of this lineage.
    pub older: u32,
    /// A certificate that is none of this lineage's: a name that is not hosted there.
    pub other: u32,
    /// No certificate; once for a service of which nothing listens.
    pub none: u32,
    /// Not asked: the time was up.
    pub unasked: u32,
    /// Which service shows an older one, for which name and where: one of them.
    pub example: Option<String>,
    /// Where neither it nor an older one is shown, although it is expected there: one such place, with what is shown.
    ///
    /// The counts do not tell that: a service may well have nothing to do with this lineage.
    pub missed: Option<String>,
}

impl Survey {
    /// With its text as it may be shown.
    #[must_use]
    pub fn harmless(mut self) -> Self {
        self.presence = self.presence.harmless();
        self.served.example = self.served.example.map(|example| escaped(&example));
        self.served.missed = self.served.missed.map(|missed| escaped(&missed));
        self
    }
}
