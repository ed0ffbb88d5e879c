//! What the product talks about, as types that cannot be wrong. No input or output here.

pub mod challenge;
pub mod config;
pub mod deadline;
pub mod escape;
pub mod exit_code;
pub mod names;
