//! What the product talks about, as types that cannot be wrong. Nothing is read or written here but the configuration.

pub mod bundle;
pub mod call;
pub mod certificate;
pub mod challenge;
pub mod claims;
pub mod config;
pub mod deadline;
pub mod digest;
pub mod escape;
pub mod exit_code;
pub mod expiry;
pub mod exposure;
pub mod finding;
pub mod names;
pub mod outcome;
pub mod pasteable;
pub mod public_key;
pub mod some_of;
