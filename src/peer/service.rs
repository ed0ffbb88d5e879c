//! The services that use certificates on this node: test, reload, and see that the new leaf is served.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::model::config::Service;
use crate::model::deadline::Deadline;
use crate::model::digest::Digest;
use crate::model::names::Identifier;
use crate::model::outcome::Step;
use crate::peer::probe::{self, Expectation, Shown};
use crate::sys::process::{Run, RunError};

/// A slow configuration reloads slowly too: probes wait this many times as long as its test took.
const RELOAD_PER_TEST: u32 = 3;
const PROBE_AT_LEAST: Duration = Duration::from_secs(10);
/// Each place is asked several times, and very many of them take their time.
const PROBE_PER_PLACE: Duration = Duration::from_millis(10);
/// Whether a service is up is asked for so long; one that nobody came to counts as one that is.
const LISTEN: Duration = Duration::from_secs(10);
/// Old workers of a service that took the new files, and could not be told to go back, show the old leaf for so long more
/// than its new workers take to begin.
const UNTOLD: Duration = Duration::from_millis(250);

/// In a note: what follows is what a service's command said.
pub const NOT_RELOADED: &str = " was not reloaded: ";

/// A service did not go along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unwilling {
    /// What failed.
    pub step: Step,
    /// Which service and why, with the last words of its command.
    pub cause: String,
}

/// All services' own tests pass; how long they took.
pub fn test(services: &[Service]) -> Result<Duration, Unwilling> {
    let mut took = Duration::ZERO;
    for service in services {
        took += run(service, &service.test).map_err(|cause| Unwilling { step: Step::Test, cause })?;
    }
    Ok(took)
}

/// Whether a service's own test says that it is ill. A kernel or a disk that did not let the test run says nothing of it.
pub fn is_ill(service: &Service) -> bool {
    match Run::new(&service.test, Deadline::after(service.timeout)).run() {
        Ok(finished) => !finished.status.success(),
        Err(RunError::Io { source, .. }) => source.kind() == io::ErrorKind::PermissionDenied,
        Err(RunError::NotFound { .. } | RunError::Deadline { .. }) => true,
    }
}

/// Where any of these leafs is served now for these names.
pub fn served(
    services: &[Service],
    names: &[Identifier],
    leafs: &[Digest],
    deadline: Deadline,
) -> Vec<(Expectation, Digest)> {
    let mut found = Vec::new();
    for service in services {
        for (place, shown) in probe::look(&probe::places(service), names, deadline) {
            match shown {
                Shown::Leaf(leaf) if leafs.contains(&leaf) => found.push((place, leaf)),
                _ => {}
            }
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found.dedup();
    found
}

/// Which services are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// All: they were up a moment ago.
    All,
    /// All, on the way back: one that the new files killed is not passed over.
    Back,
    /// Those that listen, and those of which that cannot be seen: after a crash or a reboot a service may be down, and then reads the files when it starts.
    Running,
}

/// Tests and reloads services, then waits until every expectation shows the leaf.
///
/// A reload that fails where the service runs is a failure, whether or not this lineage was served there: the service
/// did not read the new files. Where nothing listens it is a note. On the way back it is a note too: the service
/// may be the very one that never took the new files. Then the old leaf is seen to be served for longer: it may have taken them.
pub fn settle(
    services: &[Service],
    expectations: &[Expectation],
    leaf: Digest,
    reload: Reload,
) -> Result<Vec<String>, Unwilling> {
    let mut told = services.to_vec();
    let mut expectations = expectations.to_vec();
    if reload == Reload::Running {
        let places: Vec<_> = services.iter().map(probe::places).collect();
        let expected = expectations.iter().map(|expectation| expectation.address);
        let asked: BTreeSet<_> = places.iter().flatten().copied().chain(expected).collect();
        let up = probe::listening(&Vec::from_iter(asked), Deadline::after(LISTEN));
        let may_run = |(service, places): &(&Service, Vec<_>)| may_run(service, places, &up);
        told = services.iter().zip(places).filter(may_run).map(|(service, _)| service.clone()).collect();
        expectations.retain(|expectation| up.contains(&expectation.address));
    }
    let took = test(&told)?;
    let (mut notes, mut row) = (Vec::new(), Duration::ZERO);
    for service in &told {
        if let Err(cause) = run(service, &service.reload) {
            let places = probe::places(service);
            let expected = || expectations.iter().any(|expectation| places.contains(&expectation.address));
            let up = || probe::listening(&places, Deadline::after(LISTEN));
            if reload == Reload::All && (expected() || may_run(service, &places, &up())) {
                return Err(Unwilling { step: Step::Reload, cause });
            }
            row = UNTOLD + took * RELOAD_PER_TEST;
            notes.push(format!("installed, but {}{NOT_RELOADED}{cause}", service.name));
        }
    }
    let many = PROBE_PER_PLACE * u32::try_from(expectations.len()).unwrap_or(u32::MAX);
    let deadline = Deadline::after(PROBE_AT_LEAST.max(took * RELOAD_PER_TEST) + many);
    probe::wait_for(&expectations, leaf, row, deadline).map_err(|(place, shown)| Unwilling {
        step: Step::Probe,
        cause: format!("{} at {}: {}", place.name, place.address, self::told(&shown)),
    })?;
    if expectations.is_empty() && services.iter().any(|service| !service.probe.is_empty()) {
        notes.push("not served here".into());
    }
    Ok(notes)
}

/// Whether a service may be running: something listens at one of its places, or that cannot be seen.
fn may_run(service: &Service, places: &[SocketAddr], up: &[SocketAddr]) -> bool {
    service.probe.is_empty() || places.iter().any(|place| up.contains(place))
}

fn told(shown: &Shown) -> String {
    match shown {
        Shown::Leaf(leaf) => format!("still another certificate is served (sha256 {leaf})"),
        Shown::NoCertificate(why) => format!("no certificate is served any more: {why}"),
        Shown::NoListener => "nothing listens any more".into(),
        Shown::NotAsked => "the time was up before it was asked".into(),
    }
}

fn run(service: &Service, argv: &[String]) -> Result<Duration, String> {
    let command = argv.join(" ");
    match Run::new(argv, Deadline::after(service.timeout)).run() {
        Ok(finished) if finished.status.success() => Ok(finished.took),
        Ok(finished) => Err(format!("'{command}' failed ({}): {}", finished.status, last_words(&finished.output))),
        Err(RunError::Deadline { output, .. }) => Err(format!(
            "'{command}' did not end within {} s and was killed: {}",
            service.timeout.as_secs(),
            last_words(&output)
        )),
        Err(error) => Err(format!("'{command}' cannot be run: {:#}", anyhow::Error::from(error))),
    }
}

/// The end of a command's output, where the error is, on one line.
fn last_words(output: &str) -> String {
    let lines: Vec<_> = output.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.get(lines.len().saturating_sub(3)..).unwrap_or_default().join(" | ")
}
