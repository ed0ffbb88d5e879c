//! What the primary does.

pub mod link;
