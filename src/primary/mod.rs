//! The primary's side: where certbot runs and from where every node is reached.

pub mod coverage;
pub mod dns;
pub mod proof;
