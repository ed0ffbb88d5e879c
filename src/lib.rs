//! certcast: one certificate, many servers.
//!
//! The architecture, with one `auth` and one `deploy` followed from end to end, is in
//! `docs/architecture.md`. Dependencies point one way only:
//! `command` → `primary` *or* `peer` → `wire` → `sys` → `model`.

pub mod cli;
pub mod command;
pub mod model;
pub mod peer;
pub mod primary;
pub mod sys;
pub mod wire;
