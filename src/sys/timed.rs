//! Reading and writing that end at a deadline.
//!
//! Over pipes, sockets and terminals alike: each call waits for its descriptor no longer than the
//! deadline in force when it began, and fails with `TimedOut` after it, also when the other side
//! drips a byte at a time or never reads. The deadline is shared by all ends of a conversation
//! and may be moved at any time.

use super::ready::ready;
use crate::model::deadline::Deadline;
use nix::libc;
use nix::poll::{PollFd, PollFlags};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};

/// A deadline that several readers and writers obey; clones are the same deadline.
#[derive(Clone, Debug)]
pub struct SharedDeadline(Arc<Mutex<Deadline>>);

impl SharedDeadline {
    /// To begin with.
    pub fn new(deadline: Deadline) -> Self {
        SharedDeadline(Arc::new(Mutex::new(deadline)))
    }

    /// The deadline from now on; a wait that has begun keeps the one it began with.
    pub fn set(&self, deadline: Deadline) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = deadline;
    }

    /// The deadline now.
    pub fn get(&self) -> Deadline {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reader whose every read ends at the deadline.
///
/// What it reads from must not buffer, or data already fetched would be waited for: use [`stdin`]
/// and not [`std::io::Stdin`], and put a `BufReader` outside, not inside.
#[derive(Debug)]
pub struct TimedReader<R> {
    inner: R,
    deadline: SharedDeadline,
}

/// A writer whose every write ends at the deadline; not around something that buffers.
#[derive(Debug)]
pub struct TimedWriter<W> {
    inner: W,
    deadline: SharedDeadline,
}

impl<R: AsFd + Read> TimedReader<R> {
    /// Reads from there, until then.
    pub fn new(inner: R, deadline: &SharedDeadline) -> Self {
        TimedReader { inner, deadline: deadline.clone() }
    }
}

impl<W: AsFd + Write> TimedWriter<W> {
    /// Writes there, until then.
    pub fn new(inner: W, deadline: &SharedDeadline) -> Self {
        TimedWriter { inner, deadline: deadline.clone() }
    }
}

impl<R: AsFd + Read> Read for TimedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let deadline = self.deadline.get();
        loop {
            wait(&self.inner, PollFlags::POLLIN, deadline, "nothing came")?;
            match self.inner.read(buffer) {
                // Ready and yet nothing there: a descriptor that is shared, or non-blocking.
                Err(error) if is_again(&error) => {}
                answer => return answer,
            }
        }
    }
}

impl<W: AsFd + Write> Write for TimedWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let deadline = self.deadline.get();
        // Ready to be written means room for this much; more could block in the call itself.
        let part = &bytes[..bytes.len().min(libc::PIPE_BUF)];
        loop {
            wait(&self.inner, PollFlags::POLLOUT, deadline, "nothing was taken")?;
            match self.inner.write(part) {
                Err(error) if is_again(&error) => {}
                answer => return answer,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Our standard input without the buffer of [`std::io::Stdin`].
pub fn stdin() -> io::Result<File> {
    Ok(File::from(io::stdin().as_fd().try_clone_to_owned()?))
}

/// Our standard output without the buffer of [`std::io::Stdout`].
pub fn stdout() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

fn wait(on: &impl AsFd, events: PollFlags, deadline: Deadline, missed: &str) -> io::Result<()> {
    // Errors and hang-ups count as ready: the call that follows says which. The deadline once more: a process that was
    // stopped meanwhile finds its wait over and what came for it there, however late it is.
    if ready(&mut [PollFd::new(on.as_fd(), events)], deadline)? && !deadline.has_passed() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, format!("{missed} before the deadline")))
}

fn is_again(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::{SharedDeadline, TimedReader, TimedWriter};
    use crate::model::deadline::Deadline;
    use std::io::{self, ErrorKind, Read, Write};
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    fn after(milliseconds: u64) -> SharedDeadline {
        SharedDeadline::new(Deadline::after(Duration::from_millis(milliseconds)))
    }

    /// Runs it on a thread of its own, so that what hangs fails and does not hang the tests.
    fn bounded<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = mpsc::channel();
        thread::spawn(move || tell.send(work()));
        told.recv_timeout(Duration::from_secs(20)).expect("it hung")
    }

    #[test]
    fn a_silent_writer_times_out_and_a_closed_one_is_the_end() {
        let (read, write) = io::pipe().unwrap();
        let deadline = after(50);
        let mut timed = TimedReader::new(read, &deadline);
        let (answer, mut timed) = bounded(move || (timed.read(&mut [0; 8]), timed));
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::TimedOut);
        deadline.set(Deadline::after(Duration::from_secs(20)));
        drop(write);
        assert_eq!(timed.read(&mut [0; 8]).unwrap(), 0);
    }

    #[test]
    fn a_deadline_that_has_passed_counts_even_when_there_is_data() {
        let (read, mut write) = io::pipe().unwrap();
        write.write_all(b"drip").unwrap();
        let deadline = after(0);
        let mut timed = TimedReader::new(read, &deadline);
        assert_eq!(timed.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::TimedOut);
        deadline.set(Deadline::after(Duration::from_secs(20)));
        assert_eq!(timed.read(&mut [0; 8]).unwrap(), 4);
    }

    #[test]
    fn a_reader_that_never_reads_times_out_the_writer_on_pipe_and_socket() {
        let (read, write) = io::pipe().unwrap();
        let mut timed = TimedWriter::new(write, &after(100));
        let answer = bounded(move || timed.write_all(&vec![0; 4 << 20]));
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::TimedOut);
        drop(read);

        let (here, there) = UnixStream::pair().unwrap();
        let mut timed = TimedWriter::new(here, &after(100));
        let answer = bounded(move || timed.write_all(&vec![0; 4 << 20]));
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::TimedOut);
        drop(there);
    }

    #[test]
    fn much_passes_whole_also_through_a_non_blocking_end() {
        let sent: Vec<u8> = (0..1u32 << 20).map(|n| n.to_le_bytes()[n as usize % 3]).collect();
        let (here, there) = UnixStream::pair().unwrap();
        here.set_nonblocking(true).unwrap();
        there.set_nonblocking(true).unwrap();
        let deadline = after(20_000);
        let mut writer = TimedWriter::new(here, &deadline);
        let mut reader = TimedReader::new(there, &deadline);
        let copy = sent.clone();
        let writing = thread::spawn(move || writer.write_all(&copy));
        let mut got = Vec::new();
        reader.read_to_end(&mut got).unwrap();
        writing.join().unwrap().unwrap();
        assert!(got == sent);
    }

    #[test]
    fn a_gone_reader_is_a_broken_pipe() {
        let (read, write) = io::pipe().unwrap();
        drop(read);
        let mut timed = TimedWriter::new(write, &after(20_000));
        assert_eq!(timed.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}
