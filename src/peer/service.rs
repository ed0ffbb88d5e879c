//! The services that use certificates on this node: test, reload, and see that the new leaf is served.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use nix::errno::Errno;

use crate::model::config::Service;
use crate::model::deadline::Deadline;
use crate::model::digest::Digest;
use crate::model::names::Identifier;
use crate::model::outcome::Step;
use crate::peer::halt::Halt;
use crate::peer::probe::{self, Expectation, Expected, Shown};
use crate::sys::process::{Run, RunError};

/// A slow configuration reloads slowly too: probes wait this many times as long as its test took.
const RELOAD_PER_TEST: u32 = 3;
const PROBE_AT_LEAST: Duration = Duration::from_secs(10);
/// Each place is asked several times, and very many of them take their time.
const PROBE_PER_PLACE: Duration = Duration::from_millis(10);
/// All places together are asked for so long whether anything listens; one that was not reached in time counts as one that does.
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

impl From<Unwilling> for Halt {
    fn from(Unwilling { step, cause }: Unwilling) -> Halt {
        Halt::refused(step, cause)
    }
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
        Err(RunError::Io { source, .. }) => !is_passing(&source),
        Err(RunError::NotFound { .. } | RunError::Deadline { .. } | RunError::Failed { .. }) => true,
    }
}

/// Whether an error is of a disk or a kernel in need, and not of what was to be run.
fn is_passing(error: &io::Error) -> bool {
    use Errno::{EAGAIN, EINTR, EIO, EMFILE, ENFILE, ENOMEM, ETXTBSY};
    let errno = error.raw_os_error().map(Errno::from_raw);
    errno.is_some_and(|errno| [EAGAIN, EINTR, EIO, EMFILE, ENFILE, ENOMEM, ETXTBSY].contains(&errno))
}

/// Where any of these leafs is served now for these names; else a place that there was no time to ask.
pub fn served(
    services: &[Service],
    names: &[Identifier],
    leafs: &[Digest],
    deadline: Deadline,
) -> Result<Vec<(Expectation, Digest)>, Expectation> {
    let mut found = Vec::new();
    for service in services {
        for (place, shown) in probe::look(&probe::places(service), names, deadline) {
            match shown {
                Shown::Leaf(leaf) if leafs.contains(&leaf) => found.push((place, leaf)),
                Shown::NotAsked => return Err(place),
                Shown::Leaf(_) | Shown::NoCertificate(_) | Shown::NoListener => {}
            }
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found.dedup();
    Ok(found)
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

/// Tests and reloads services, then waits until every place shows the leaf that is expected of it.
///
/// A reload that fails where the service runs is a failure, whether or not any of these lineages was served there: the service
/// did not read the new files. Where nothing listens it is a note. On the way back it is a note too: the service
/// may be the very one that never took the new files. Then the old leaf is seen to be served for longer: it may have taken them.
pub fn settle(services: &[Service], expected: &[Expected], reload: Reload) -> Result<Vec<String>, Unwilling> {
    let mut told = services.to_vec();
    let mut expected = expected.to_vec();
    if reload == Reload::Running {
        let places: Vec<_> = services.iter().map(probe::places).collect();
        let shown = expected.iter().map(|(expectation, _)| expectation.address);
        let asked: BTreeSet<_> = places.iter().flatten().copied().chain(shown).collect();
        let up = probe::listening(&Vec::from_iter(asked), Deadline::after(LISTEN));
        let may_run = |(service, places): &(&Service, Vec<_>)| may_run(service, places, &up);
        told = services.iter().zip(places).filter(may_run).map(|(service, _)| service.clone()).collect();
        expected.retain(|(expectation, _)| up.contains(&expectation.address));
    }
    let took = test(&told)?;
    let (mut notes, mut row) = (Vec::new(), Duration::ZERO);
    for service in &told {
        if let Err(cause) = run(service, &service.reload) {
            let places = probe::places(service);
            let is_expected = || expected.iter().any(|(expectation, _)| places.contains(&expectation.address));
            let up = || probe::listening(&places, Deadline::after(LISTEN));
            if reload == Reload::All && (is_expected() || may_run(service, &places, &up())) {
                return Err(Unwilling { step: Step::Reload, cause });
            }
            // One that is down has no old workers.
            if reload != Reload::All {
                row = UNTOLD + took * RELOAD_PER_TEST;
            }
            notes.push(format!("installed, but {}{NOT_RELOADED}{cause}", service.name));
        }
    }
    let deadline = Deadline::after(time_to_show(took, row, expected.len()));
    probe::wait_for(&expected, row, deadline).map_err(|(place, shown)| Unwilling {
        step: Step::Probe,
        cause: format!("{} at {}: {}", place.name, place.address, self::told(&shown)),
    })?;
    Ok(notes)
}

/// How long services whose tests took so long may take until so many places show the leaf, for such a row.
fn time_to_show(tests: Duration, row: Duration, places: usize) -> Duration {
    let many = PROBE_PER_PLACE * u32::try_from(places).unwrap_or(u32::MAX);
    PROBE_AT_LEAST.max(tests * RELOAD_PER_TEST) + row + many
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_more_time_than_the_row_that_it_is_to_show() {
        for tests in [0, 1, 4, 60].map(Duration::from_secs) {
            let row = UNTOLD + tests * RELOAD_PER_TEST;
            assert!(time_to_show(tests, row, 1) >= row + PROBE_AT_LEAST, "{tests:?}");
        }
    }

    #[test]
    fn a_test_that_can_never_be_run_is_no_passing_fault() {
        let is_passing = |errno: Errno| is_passing(&errno.into());
        assert!(is_passing(Errno::EIO) && is_passing(Errno::ENOMEM) && is_passing(Errno::EAGAIN));
        assert!(!is_passing(Errno::EACCES) && !is_passing(Errno::ENOEXEC) && !is_passing(Errno::E2BIG));
    }
}
