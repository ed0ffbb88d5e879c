//! The primary's side: where certbot runs and from where every node is reached.

pub mod account;
pub mod challenge;
pub mod conversation;
pub mod coverage;
pub mod delivery;
pub mod dns;
pub mod examination;
pub mod fleet;
pub mod hook_env;
pub mod leftover;
pub mod line;
pub mod lineage;
pub mod link;
pub mod own_key;
pub mod own_program;
pub mod proof;
pub mod publication;
pub mod readiness;
pub mod record;
pub mod register;
pub mod renewal;
pub mod renewal_conf;
pub mod rollout;
pub mod survey;
pub mod targets;
pub mod visit;
