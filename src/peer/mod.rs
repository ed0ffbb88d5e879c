//! A peer's side: what `receive` does on the node that gets challenges and bundles.
//!
//! The primary's own services are served by the same code, through a local conversation.

pub mod admission;
pub mod archive;
pub mod authorized_keys;
pub mod baseline;
pub mod brought;
pub mod ending;
pub mod enrol;
pub mod examination;
pub mod found;
pub mod halt;
pub mod hearing;
pub mod history;
pub mod joined;
pub mod journal;
pub mod ledger;
pub mod live;
pub mod login;
pub mod memo;
pub mod missing;
pub mod nginx;
pub mod node;
pub mod policy;
pub mod preflight;
pub mod presence;
pub mod probe;
pub mod recovery;
pub mod service;
pub mod session;
pub mod settled;
pub mod share;
pub mod staging;
pub mod state;
pub mod sudo;
pub mod survey;
pub mod transaction;
pub mod trust;
pub mod webroot;
pub mod written;
