//! What thieves, liars and hostile neighbours try, and that it comes to nothing.

mod exposed_files;
pub mod frames;
mod hostile_webroot;
mod key_bytes;
mod key_for_some;
mod lying_peer;
mod refused_again;
mod stolen_challenge_key;
mod stolen_deploy_key;
