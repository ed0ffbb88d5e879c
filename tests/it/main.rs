//! The integration tests: certcast and the parts it works with, on hosts of a lab.
//!
//! Run by `./tests/run`, which installs what the lab needs; every test wants root.

#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod challenges;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod hooks;
#[cfg(test)]
mod lab;
#[cfg(test)]
mod lab_ends;
#[cfg(test)]
mod lab_holds;
#[cfg(test)]
mod restricted;
#[cfg(test)]
mod resync;
#[cfg(test)]
mod rollout;
#[cfg(test)]
mod story;
#[cfg(all(test, target_arch = "x86_64"))]
mod sweep;
#[cfg(test)]
mod tree;
#[cfg(test)]
mod unfit;
#[cfg(test)]
mod unreached;
#[cfg(test)]
mod with_certbot;
