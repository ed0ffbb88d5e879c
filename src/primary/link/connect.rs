//! A TCP connection to one of a host's addresses, within a time.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

use crate::model::deadline::Deadline;

use super::error::{LinkError, Stage};

const ADDRESSES_AT_MOST: usize = 8;

/// Connects to the first address that answers. `shown` names the host in errors.
pub fn connect(host: &str, port: u16, shown: &str, deadline: Deadline) -> Result<TcpStream, LinkError> {
    let addresses = resolve(host, port, shown, deadline)?;
    let mut worst: Option<LinkError> = None;
    for (tried, address) in addresses.iter().enumerate() {
        // An equal share for each: one silent address must not use up what the others need.
        let share = deadline.left() / u32::try_from(addresses.len() - tried).unwrap_or(1);
        if share.is_zero() {
            break;
        }
        match TcpStream::connect_timeout(address, share) {
            Ok(stream) => {
                // Every frame is one write and waits for an answer: nothing is gained by waiting to send.
                stream.set_nodelay(true).map_err(|source| LinkError::Local { host: shown.to_owned(), source })?;
                return Ok(stream);
            }
            Err(error) => {
                let error = as_link_error(error, shown, *address);
                if worst.as_ref().is_none_or(|known| telling(&error) >= telling(known)) {
                    worst = Some(error);
                }
            }
        }
    }
    Err(worst.unwrap_or_else(|| LinkError::Deadline { host: shown.to_owned(), stage: Stage::Connecting }))
}

fn as_link_error(error: io::Error, shown: &str, address: SocketAddr) -> LinkError {
    let host = shown.to_owned();
    match error.kind() {
        io::ErrorKind::ConnectionRefused => LinkError::Refused { host, address },
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => LinkError::Deadline { host, stage: Stage::Connecting },
        _ => LinkError::Unreachable { host, address, source: error },
    }
}

/// Of several addresses' errors the one that says most: a refusal comes from a host that lives.
fn telling(error: &LinkError) -> u8 {
    match error {
        LinkError::Refused { .. } => 2,
        LinkError::Deadline { .. } => 1,
        _ => 0,
    }
}

/// The host's addresses. The resolver knows no deadline, so it runs on a thread that is left behind if need be.
fn resolve(host: &str, port: u16, shown: &str, deadline: Deadline) -> Result<Vec<SocketAddr>, LinkError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let failed = |source| LinkError::Resolve { host: shown.to_owned(), source };
    let (sender, receiver) = mpsc::sync_channel(1);
    let target = (host.to_owned(), port);
    let ask = move || {
        let found = target.to_socket_addrs().map(|all| all.take(ADDRESSES_AT_MOST).collect::<Vec<_>>());
        // Nobody listens any more when the deadline has passed.
        let _ = sender.send(found);
    };
    thread::Builder::new().name("resolve".to_owned()).spawn(ask).map_err(failed)?;
    match receiver.recv_timeout(deadline.left()) {
        Ok(Ok(found)) if found.is_empty() => Err(failed(io::Error::new(io::ErrorKind::NotFound, "no address"))),
        Ok(found) => found.map_err(failed),
        Err(RecvTimeoutError::Timeout) => Err(LinkError::Deadline { host: shown.to_owned(), stage: Stage::Resolving }),
        Err(RecvTimeoutError::Disconnected) => Err(failed(io::Error::other("the resolver's thread ended"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::time::Duration;

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(5))
    }

    #[test]
    fn a_zone_id_becomes_the_interface_of_the_address() {
        let found = resolve("fe80::1%lo", 22, "fe80::1%lo", soon()).unwrap();
        let [SocketAddr::V6(address)] = found[..] else { panic!("{found:?}") };
        assert_eq!(address.scope_id(), nix::net::if_::if_nametoindex("lo").unwrap());
    }

    #[test]
    fn names_and_both_families_are_connected_to() {
        for (listen, host) in [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1")] {
            let listener = TcpListener::bind(listen).unwrap();
            let port = listener.local_addr().unwrap().port();
            assert!(connect(host, port, host, soon()).is_ok(), "{host}");
        }
        // ::1 comes first for this name on most machines and refuses here: the next address is tried.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(connect("localhost", listener.local_addr().unwrap().port(), "localhost", soon()).is_ok());
    }

    #[test]
    fn a_closed_port_is_refused_and_a_name_of_nobody_does_not_resolve() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        assert!(matches!(connect("127.0.0.1", port, "a", soon()), Err(LinkError::Refused { .. })));
        let nobody = connect("nobody.invalid", 22, "nobody.invalid", Deadline::after(Duration::from_secs(30)));
        assert!(matches!(nobody, Err(LinkError::Resolve { .. })), "{nobody:?}");
    }
}
