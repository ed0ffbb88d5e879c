//! The integration tests: certcast and the parts it works with, on hosts of a lab.
//!
//! Run by `./tests/run`, which installs what the lab needs; every test wants root.

#[cfg(test)]
mod alerts;
#[cfg(test)]
mod attacks;
#[cfg(test)]
mod babble;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod calls;
#[cfg(test)]
mod challenges;
#[cfg(test)]
mod chaos;
#[cfg(test)]
mod check;
#[cfg(test)]
mod costs;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod elsewhere;
#[cfg(test)]
mod fleet;
#[cfg(test)]
mod full_disk;
#[cfg(test)]
mod hairpin;
#[cfg(test)]
mod healing;
#[cfg(test)]
mod hooks;
#[cfg(test)]
mod inert;
#[cfg(test)]
mod lab;
#[cfg(test)]
mod lab_ends;
#[cfg(test)]
mod lab_holds;
#[cfg(test)]
mod least_privilege;
#[cfg(test)]
mod page;
#[cfg(test)]
mod peers;
#[cfg(test)]
mod power_cut;
#[cfg(test)]
mod rehearse;
#[cfg(test)]
mod resync;
#[cfg(test)]
mod rollout;
#[cfg(test)]
mod services;
#[cfg(test)]
mod setup;
#[cfg(test)]
mod severed;
#[cfg(test)]
mod status;
#[cfg(test)]
mod step_back;
#[cfg(test)]
mod story;
#[cfg(test)]
#[cfg(target_arch = "x86_64")]
mod sweep;
#[cfg(test)]
mod together;
#[cfg(test)]
mod tree;
mod trust;
#[cfg(test)]
mod unfit;
#[cfg(test)]
mod unreached;
#[cfg(test)]
mod ways;
mod web_servers;
#[cfg(test)]
mod with_certbot;
