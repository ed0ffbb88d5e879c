//! What thieves, liars and hostile neighbours try, and that it comes to nothing.

mod exposed_files;
mod frames;
mod hostile_webroot;
mod key_bytes;
mod lying_peer;
mod stolen_challenge_key;
mod stolen_deploy_key;
