//! What travels between the primary and a peer: a banner, then frames, each one typed message.
//!
//! The wire carries names and bundles, never a path or a command. `docs/protocol.md` describes it.

pub mod banner;
pub mod enrolment;
pub mod frame;
pub mod message;
pub mod presence;
pub mod survey;
pub mod transaction_id;
