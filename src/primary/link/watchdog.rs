//! Cuts a connection at the deadline, whatever a call on it is doing.

use std::convert::Infallible;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};

use crate::model::deadline::Deadline;

/// Shuts the socket down at the deadline; dropped before that, it ends at once and does nothing.
///
/// The waits themselves are bounded by poll; this is for a far side that never lets libssh2 get as far as a wait,
/// because it sends without end.
pub struct Watchdog {
    alive: Option<Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Begins to watch.
    pub fn over(socket: &Arc<TcpStream>, deadline: Deadline) -> io::Result<Self> {
        let (alive, told) = mpsc::channel();
        let socket = Arc::clone(socket);
        let watch = move || {
            if matches!(told.recv_timeout(deadline.left()), Err(RecvTimeoutError::Timeout)) {
                // Fails only for a connection that is already gone.
                let _ = socket.shutdown(Shutdown::Both);
            }
        };
        let thread = thread::Builder::new().name("ssh deadline".to_owned()).spawn(watch)?;
        Ok(Watchdog { alive: Some(alive), thread: Some(thread) })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.alive.take());
        if let Some(thread) = self.thread.take() {
            // The thread cannot panic, and a drop has nobody to tell.
            let _ = thread.join();
        }
    }
}
