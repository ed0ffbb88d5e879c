//! For `benches/fleet`: the floor that no way over ssh is below, and a cable that takes its time.
//!
//! usage: tool floor KEY COMMAND HOST:PORT…     authenticate at each at once, and run a command there
//!        tool cable MILLISECONDS PORT HOST…    ports PORT, PORT+1, … lead to each host's port 22, each way so late

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::SockRef;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["floor", key, command, places @ ..] => floor(Path::new(key), command, places),
        ["cable", milliseconds, port, hosts @ ..] => {
            cable(Duration::from_millis(milliseconds.parse()?), port.parse()?, hosts)
        }
        _ => Err("usage: tool floor KEY COMMAND HOST:PORT… | tool cable MILLISECONDS PORT HOST…".into()),
    }
}

fn floor(key: &Path, command: &str, places: &[&str]) -> Result<(), Failure> {
    thread::scope(|scope| {
        let visits: Vec<_> = places.iter().map(|place| scope.spawn(|| visit(key, command, place))).collect();
        visits.into_iter().try_for_each(|visit| visit.join().map_err(|_| Failure::from("a thread panicked"))?)
    })
}

/// What comes is acknowledged at once, as certcast does it: else each connection takes 40 ms longer, and the floor is none.
fn visit(key: &Path, command: &str, place: &str) -> Result<(), Failure> {
    let stream = TcpStream::connect(place)?;
    stream.set_nodelay(true)?;
    let mut session = ssh2::Session::new()?;
    session.set_tcp_stream(stream.try_clone()?);
    session.set_blocking(false);
    let mut handshaken = session.clone();
    patiently(&stream, || Ok(handshaken.handshake()?))?;
    patiently(&stream, || Ok(session.userauth_pubkey_file("root", None, key, None)?))?;
    let mut channel = patiently(&stream, || Ok(session.channel_session()?))?;
    patiently(&stream, || Ok(channel.exec(command)?))?;
    patiently(&stream, || channel.read_to_end(&mut Vec::new()))?;
    patiently(&stream, || Ok(channel.wait_close()?))?;
    match channel.exit_status()? {
        0 => Ok(()),
        code => Err(format!("{place}: '{command}' ended with {code}").into()),
    }
}

fn patiently<T>(stream: &TcpStream, mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                SockRef::from(stream).set_tcp_quickack(true)?;
                poll(&mut [PollFd::new(stream.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE)?;
            }
            done => return done,
        }
    }
}

fn cable(delay: Duration, port: u16, hosts: &[&str]) -> Result<(), Failure> {
    thread::scope(|scope| {
        for (port, host) in (port..).zip(hosts) {
            let listener = TcpListener::bind(("127.0.0.1", port))?;
            scope.spawn(move || {
                for client in listener.incoming().flatten() {
                    let Ok(server) = TcpStream::connect((*host, 22)) else { continue };
                    for (one, other) in [(&client, &server), (&server, &client)] {
                        if let (Ok(one), Ok(other)) = (one.try_clone(), other.try_clone()) {
                            carry(one, other, delay);
                        }
                    }
                }
            });
        }
        Ok(())
    })
}

/// What is read now is written after the delay, whatever is read meanwhile.
fn carry(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let (sender, receiver) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        _ = to.set_nodelay(true);
        for (due, bytes) in receiver {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                return;
            }
        }
        _ = to.shutdown(Shutdown::Write);
    });
    thread::spawn(move || {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(read @ 1..) = from.read(&mut bytes) {
            if sender.send((Instant::now() + delay, bytes[..read].to_vec())).is_err() {
                return;
            }
        }
    });
}
