//! A libssh2 session whose every call ends by a deadline.

use std::io;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::sync::Arc;

use nix::poll::{PollFd, PollFlags};
use socket2::SockRef;
use ssh2::{BlockDirections, ErrorCode, Session};

use crate::model::deadline::Deadline;
use crate::sys::ready::ready;

const EAGAIN: i32 = -37;

/// The deadline passed while waiting.
struct Late;

/// Why a call did not succeed.
#[derive(Debug)]
pub enum Halt<E = ssh2::Error> {
    /// The deadline passed.
    Deadline,
    /// libssh2 says no.
    Ssh(E),
}

/// An error that may only mean "not yet".
pub trait WouldBlock {
    /// Whether it does.
    fn would_block(&self) -> bool;
}

impl WouldBlock for ssh2::Error {
    fn would_block(&self) -> bool {
        number(self) == EAGAIN
    }
}

impl WouldBlock for io::Error {
    fn would_block(&self) -> bool {
        self.kind() == io::ErrorKind::WouldBlock
    }
}

/// libssh2's number for an error (`LIBSSH2_ERROR_…` in libssh2.h).
pub fn number(error: &ssh2::Error) -> i32 {
    match error.code() {
        ErrorCode::Session(number) | ErrorCode::SFTP(number) => number,
    }
}

/// The session is non-blocking: libssh2's own timeout is for each wait, and its blocking mode leaves no way to
/// acknowledge at once.
#[derive(Clone)]
pub struct Bounded {
    session: Session,
    socket: Arc<TcpStream>,
}

impl Bounded {
    /// Takes over a connected socket, before the handshake.
    pub fn new(socket: &Arc<TcpStream>) -> Result<Self, ssh2::Error> {
        let mut session = Session::new()?;
        session.set_blocking(false);
        session.set_tcp_stream(Arc::clone(socket));
        Ok(Bounded { session, socket: Arc::clone(socket) })
    }

    /// The session, for what needs no wait.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The connection below.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Repeats a call until libssh2 no longer says that it would block.
    pub fn run<T, E: WouldBlock>(
        &self,
        deadline: Deadline,
        mut call: impl FnMut(&mut Session) -> Result<T, E>,
    ) -> Result<T, Halt<E>> {
        let mut session = self.session.clone();
        loop {
            // Also between successful calls: a far side that sends without end must not keep one alive.
            if deadline.has_passed() {
                return Err(Halt::Deadline);
            }
            match call(&mut session) {
                Ok(value) => return Ok(value),
                Err(error) if error.would_block() => self.wait(deadline).map_err(|Late| Halt::Deadline)?,
                // The watchdog makes a call fail in many ways.
                Err(_) if deadline.has_passed() => return Err(Halt::Deadline),
                Err(error) => return Err(Halt::Ssh(error)),
            }
        }
    }

    /// Waits until the socket may let the last call go on.
    fn wait(&self, deadline: Deadline) -> Result<(), Late> {
        // libssh2 sends some requests as two small packets; the far side's Nagle then holds its answer back until our
        // delayed acknowledgement, 40 ms later. The kernel forgets the wish, so it is renewed. Only a matter of speed.
        let _ = SockRef::from(&*self.socket).set_tcp_quickack(true);
        let events = match self.session.block_directions() {
            BlockDirections::Outbound => PollFlags::POLLOUT,
            BlockDirections::Both => PollFlags::POLLIN | PollFlags::POLLOUT,
            BlockDirections::Inbound | BlockDirections::None => PollFlags::POLLIN,
        };
        let mut fds = [PollFd::new(self.socket.as_fd(), events)];
        match ready(&mut fds, deadline) {
            Ok(false) => Err(Late),
            // The call itself shows what an error here is about; `run` checks the deadline before it comes back.
            Ok(true) | Err(_) => Ok(()),
        }
    }
}
