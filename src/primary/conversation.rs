//! One conversation with one node, as the primary sees it.

use std::error::Error as _;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use thiserror::Error;
use zeroize::Zeroizing;

use crate::model::deadline::Deadline;
use crate::model::escape::escaped;
use crate::model::finding::Finding;
use crate::model::names::NodeName;
use crate::model::outcome::{Outcome, Step, escaped_lines};
use crate::primary::fleet::Member;
use crate::primary::link::{self, LinkError, Stream};
use crate::wire::banner::{self, BannerError};
use crate::wire::frame::{self, FrameError};
use crate::wire::message::{CHALLENGES_AT_MOST, Ended, Installed, LINEAGES_AT_MOST, Reply, Request, TokenFailure};
use crate::wire::survey::Survey;

/// A node gives up a little before we do, so that its word for it still arrives.
const PEER_GIVES_UP_EARLIER: Duration = Duration::from_secs(2);

/// Why a conversation failed. The node decides by itself what becomes of a transaction in it.
#[derive(Debug, Error)]
pub enum TalkError {
    /// No connection.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Connected, but no certcast there, or another release.
    #[error("{error}{said}")]
    Banner {
        /// How it failed.
        error: BannerError,
        /// What was said on standard error, introduced.
        said: String,
        /// How a person sees for himself.
        trial: String,
        /// Whether it is because the node is away.
        is_away: bool,
    },
    /// It broke on the way.
    #[error("{0}{1}")]
    Frame(FrameError, String),
    /// The node does not allow or understand it.
    #[error("{}", escaped(.0))]
    Rejected(String),
    /// An answer to something else.
    #[error("the node's answer does not fit the question")]
    Unexpected,
}

impl TalkError {
    /// Whether the node may just be away; not where it is there and refuses, or has no receiver that speaks to us.
    pub fn is_absence(&self) -> bool {
        match self {
            TalkError::Link(error) => error.is_transient(),
            TalkError::Banner { is_away, .. } => *is_away,
            TalkError::Frame(error, _) => match error {
                FrameError::Closed | FrameError::Torn | FrameError::Deadline | FrameError::Io(_) => true,
                FrameError::TooLarge(_) | FrameError::Malformed(_) => false,
            },
            TalkError::Rejected(_) | TalkError::Unexpected => false,
        }
    }

    /// The outcome for a node that was not reached or would not.
    pub fn outcome(&self) -> Outcome {
        match self {
            TalkError::Rejected(cause) => Outcome::Refused { step: Step::Policy, cause: cause.clone() },
            other => Outcome::Pending { cause: other.explained() },
        }
    }

    /// The error with its causes and the remedy. Its parts are escaped and bounded each.
    pub fn explained(&self) -> String {
        let mut text = self.to_string();
        let cause = match self {
            TalkError::Banner { error, .. } => error.source(),
            TalkError::Frame(inner, _) => inner.source(),
            other => other.source(),
        };
        for cause in std::iter::successors(cause, |&cause| cause.source()) {
            _ = write!(text, ": {cause}");
        }
        let hint = match self {
            TalkError::Link(link) => link.hint(),
            TalkError::Banner {
                error: BannerError::Ended(_) | BannerError::Foreign(_) | BannerError::Deadline,
                trial,
                ..
            } => Some(trial.clone()),
            _ => None,
        };
        if let Some(hint) = hint {
            _ = write!(text, "; {hint}");
        }
        text
    }
}

/// How long a node may take over what we wait for until then, in milliseconds.
pub fn budget_ms(deadline: Deadline) -> u64 {
    let budget = deadline.left().saturating_sub(PEER_GIVES_UP_EARLIER).max(Duration::from_secs(1));
    u64::try_from(budget.as_millis()).unwrap_or(u64::MAX)
}

/// An open conversation. Dropping it ends it; the node then undoes what is not committed.
pub struct Conversation {
    stream: Box<dyn Stream>,
    version: String,
    clock_ahead: i64,
}

impl Conversation {
    /// Connects and says hello; the hello and the first requests travel in one flight.
    pub fn open(
        own: &NodeName,
        member: &Member,
        first: &[Request],
        deadline: Deadline,
    ) -> Result<Conversation, TalkError> {
        Conversation::open_for_a_turn(own, member, first, deadline, deadline)
    }

    /// The same, where the first answers are waited for until `turn` only, and [`Conversation::until`] says what follows.
    pub fn open_for_a_turn(
        own: &NodeName,
        member: &Member,
        first: &[Request],
        turn: Deadline,
        deadline: Deadline,
    ) -> Result<Conversation, TalkError> {
        let stream = link::open_for_a_turn(&member.route(), turn, deadline)?;
        let mut conversation = Conversation { stream, version: String::new(), clock_ahead: 0 };
        conversation.until(turn);
        let hello = Request::Hello {
            version: env!("CARGO_PKG_VERSION").into(),
            node: own.clone(),
            budget_ms: budget_ms(deadline),
        };
        // A far side that ends at once breaks the write; what it said tells more than that.
        let sent = flight([&hello].into_iter().chain(first)).and_then(|flight| {
            Ok(conversation.stream.write_all(&flight).and_then(|()| conversation.stream.flush())?)
        });
        if let Err(error) = banner::read(&mut conversation.stream) {
            let is_away = match error {
                BannerError::Ended(_) => conversation.stream.is_away(),
                BannerError::Io(_) | BannerError::Deadline => true,
                BannerError::Foreign(_) | BannerError::Versions(..) => false,
            };
            let (said, trial) = (conversation.said(), member.route().trial());
            return Err(TalkError::Banner { error, said, trial, is_away });
        }
        sent.map_err(|error| conversation.broken(error))?;
        match conversation.receive()? {
            Reply::Hello { version, clock, .. } => {
                let clock_ahead = clock.saturating_sub(jiff::Timestamp::now().as_second());
                Ok(Conversation { version, clock_ahead, ..conversation })
            }
            _ => Err(TalkError::Unexpected),
        }
    }

    /// Which certcast answers there; escaped.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// By how many seconds the node's clock is ahead of ours.
    pub fn clock_ahead(&self) -> i64 {
        self.clock_ahead
    }

    /// Sends one request and reads its answer.
    pub fn ask(&mut self, request: &Request) -> Result<Reply, TalkError> {
        self.send(request)?;
        self.receive()
    }

    /// Sends one request.
    pub fn send(&mut self, request: &Request) -> Result<(), TalkError> {
        frame::write(&mut self.stream, request).map_err(|error| self.broken(error))
    }

    /// Waits for answers until then, and no longer.
    pub fn until(&mut self, deadline: Deadline) {
        self.stream.until(deadline);
    }

    /// Reads one answer. Its texts are escaped and bounded from here on.
    pub fn receive(&mut self) -> Result<Reply, TalkError> {
        match frame::read(&mut self.stream).map(harmless) {
            Ok(Reply::Rejected { cause }) => Err(TalkError::Rejected(cause)),
            Ok(reply) => Ok(reply),
            Err(error) => Err(self.broken(error)),
        }
    }

    fn broken(&mut self, error: FrameError) -> TalkError {
        TalkError::Frame(error, self.said())
    }

    fn said(&mut self) -> String {
        let said = self.stream.said();
        if said.is_empty() { said } else { format!(" (it said: \"{said}\")") }
    }
}

/// The banner and these requests, in memory that does not grow: that would leave a copy of a key.
fn flight<'r>(requests: impl Iterator<Item = &'r Request>) -> Result<Zeroizing<Vec<u8>>, FrameError> {
    let frames: Vec<_> = requests.map(frame::encode).collect::<Result<_, _>>()?;
    let mut banner = Vec::new();
    banner::write(&mut banner)?;
    let length = frames.iter().fold(banner.len(), |sum, frame| sum + frame.len());
    let mut flight = Zeroizing::new(Vec::with_capacity(length));
    flight.extend(banner);
    for frame in frames {
        flight.extend_from_slice(&frame);
    }
    Ok(flight)
}

/// The node's texts as they may be shown and stored.
pub fn harmless(reply: Reply) -> Reply {
    let failures = |failures: Vec<TokenFailure>| {
        let some = failures.into_iter().take(CHALLENGES_AT_MOST);
        some.map(|TokenFailure { name, cause }| TokenFailure { name, cause: escaped(&cause) }).collect()
    };
    let ended = |lineages: Vec<Ended>| {
        let each = lineages.into_iter();
        each.map(|Ended { lineage, outcome }| Ended { lineage, outcome: outcome.harmless() }).collect()
    };
    match reply {
        Reply::Hello { version, node, clock } => Reply::Hello { version: escaped(&version), node, clock },
        Reply::Published { failures: all } => Reply::Published { failures: failures(all) },
        Reply::Withdrawn { failures: all } => Reply::Withdrawn { failures: failures(all) },
        Reply::Planned { changes } => Reply::Planned { changes: escaped_lines(&changes) },
        Reply::Rejected { cause } => Reply::Rejected { cause: escaped(&cause) },
        Reply::Surveyed { lineages } => {
            let some = lineages.into_iter().take(LINEAGES_AT_MOST);
            Reply::Surveyed { lineages: some.map(Survey::harmless).collect() }
        }
        Reply::Examined { findings } => Reply::Examined { findings: Finding::harmless(findings) },
        Reply::Compared { lineages } => {
            let some = lineages.into_iter().take(LINEAGES_AT_MOST);
            let harmless = |Installed { lineage, presence }| Installed { lineage, presence: presence.harmless() };
            Reply::Compared { lineages: some.map(harmless).collect() }
        }
        Reply::Prepared { transaction, apart } => Reply::Prepared { transaction, apart: ended(apart) },
        Reply::Concluded { lineages } => Reply::Concluded { lineages: ended(lineages) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primary::link::LinkError;

    #[test]
    fn an_outcome_tells_the_cause_behind_the_error_and_the_remedy() {
        let source = std::io::Error::other("no such key");
        let lost = TalkError::Frame(FrameError::Io(source), " (it said: \"bye\")".into());
        let Outcome::Pending { cause } = lost.outcome() else { panic!() };
        assert_eq!(cause, "the conversation broke (it said: \"bye\"): no such key");
        let missing = TalkError::Link(LinkError::IdentityMissing { path: format!("/{}", "x".repeat(450)).into() });
        assert!(missing.outcome().to_string().contains("or set [ssh] identity"), "the remedy is cut off");
    }

    #[test]
    fn a_flight_is_whole_and_leaves_no_copy() {
        let large = || Request::Compare { lineages: vec!["a.example".parse().unwrap(); 9000] };
        let flight = flight([large(), large()].iter()).unwrap();
        assert_eq!(flight.capacity(), flight.len(), "it grew");
        let mut rest = flight.as_slice();
        banner::read(&mut rest).unwrap();
        for _ in 0..2 {
            assert!(matches!(frame::read(&mut rest), Ok(Request::Compare { lineages }) if lineages.len() == 9000));
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn what_a_node_says_is_harmless_and_bounded_when_it_is_received() {
        let loud = "\u{1b}[31m".to_owned() + &"x".repeat(100_000);
        let ended = |outcome| Ended::all(["a.example".parse().unwrap()], &outcome);
        let lineages = ended(Outcome::Applied { notes: vec![loud.clone(); 1000] });
        let apart = ended(Outcome::Pending { cause: loud.clone() });
        for reply in [
            Reply::Concluded { lineages },
            Reply::Prepared { transaction: "0".repeat(32).try_into().unwrap(), apart },
            Reply::Planned { changes: vec![loud; 1000] },
        ] {
            let said = serde_json::to_string(&harmless(reply)).unwrap();
            assert!(said.contains("\\u{1b}[31mxx") && !said.contains("\\u001b"), "{said}");
            assert!(said.len() < 200 * 500, "{} bytes", said.len());
        }
    }
}
