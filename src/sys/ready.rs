//! Waits for file descriptors, never longer than a deadline.

use crate::model::deadline::Deadline;
use nix::errno::Errno;
use nix::poll::{PollFd, PollTimeout, poll};
use std::io;
use std::time::Duration;

/// Whether one of them became ready before the deadline.
///
/// A deadline that has passed answers `false` even when something is ready: whoever drips a byte
/// at a time cannot keep us past it.
pub fn ready(fds: &mut [PollFd<'_>], deadline: Deadline) -> io::Result<bool> {
    while !deadline.has_passed() {
        // poll counts whole milliseconds; rounding down would spin through the last one.
        let wait = PollTimeout::try_from(deadline.left() + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        match poll(fds, wait) {
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(false)
}
