//! One conversation with one node, as the primary sees it.

use std::io::Write;
use std::time::Duration;

use thiserror::Error;
use zeroize::Zeroizing;

use crate::model::deadline::Deadline;
use crate::model::escape::escaped;
use crate::model::names::NodeName;
use crate::model::outcome::{Outcome, Step};
use crate::primary::fleet::Member;
use crate::primary::link::{self, LinkError, Stream};
use crate::wire::banner::{self, BannerError};
use crate::wire::frame::{self, FrameError};
use crate::wire::message::{Reply, Request};

/// A node gives up a little before we do, so that its word for it still arrives.
const PEER_GIVES_UP_EARLIER: Duration = Duration::from_secs(2);

/// Why a conversation failed. The node decides by itself what becomes of a transaction in it.
#[derive(Debug, Error)]
pub enum TalkError {
    /// No connection.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Connected, but no certcast there, or another release.
    #[error("{0}{1}")]
    Banner(BannerError, String),
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
    /// The outcome for a node that was not reached or would not.
    pub fn outcome(&self) -> Outcome {
        match self {
            TalkError::Rejected(cause) => Outcome::Refused { step: Step::Policy, cause: cause.clone() },
            TalkError::Link(error) => Outcome::Pending {
                cause: error.hint().map_or_else(|| error.to_string(), |hint| format!("{error}; {hint}")),
            },
            other => Outcome::Pending { cause: other.to_string() },
        }
    }
}

/// An open conversation. Dropping it ends it; the node then undoes what is not committed.
pub struct Conversation {
    stream: Box<dyn Stream>,
}

impl Conversation {
    /// Connects and says hello; the hello and the first requests travel in one flight.
    pub fn open(
        own: &NodeName,
        member: &Member,
        first: &[Request],
        deadline: Deadline,
    ) -> Result<Conversation, TalkError> {
        let mut conversation = Conversation { stream: link::open(&member.route(), deadline)? };
        let budget = deadline.left().saturating_sub(PEER_GIVES_UP_EARLIER).max(Duration::from_secs(1));
        let hello = Request::Hello {
            version: env!("CARGO_PKG_VERSION").into(),
            node: own.clone(),
            budget_ms: u64::try_from(budget.as_millis()).unwrap_or(u64::MAX),
        };
        let mut flight = Zeroizing::new(Vec::with_capacity(64 * 1024));
        let written = banner::write(&mut *flight).map_err(FrameError::from);
        let written = written.and_then(|()| {
            [&hello].into_iter().chain(first).try_for_each(|request| frame::write(&mut *flight, request))
        });
        // A far side that ends at once breaks the write; what it said tells more than that.
        let sent = written
            .and_then(|()| Ok(conversation.stream.write_all(&flight).and_then(|()| conversation.stream.flush())?));
        if let Err(error) = banner::read(&mut conversation.stream) {
            let said = conversation.said();
            return Err(TalkError::Banner(error, said));
        }
        sent.map_err(|error| conversation.broken(error))?;
        match conversation.receive()? {
            Reply::Hello { .. } => Ok(conversation),
            _ => Err(TalkError::Unexpected),
        }
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

    /// Reads one answer.
    pub fn receive(&mut self) -> Result<Reply, TalkError> {
        match frame::read(&mut self.stream) {
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
