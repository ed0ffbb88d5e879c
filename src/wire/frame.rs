//! Length-prefixed frames: four bytes, big endian, then that many bytes of JSON.

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::model::escape::escaped;

/// The largest frame, in bytes. A bundle has about 10 kB; an answer about 500 lineages about 100 kB.
pub const FRAME_AT_MOST: usize = 1024 * 1024;

/// Why no message could be read or written.
#[derive(Debug, Error)]
pub enum FrameError {
    /// The stream ended between two frames.
    #[error("the other side closed the conversation")]
    Closed,
    /// The stream ended inside a frame.
    #[error("the conversation was cut inside a message")]
    Torn,
    /// The deadline passed.
    #[error("the other side did not answer in time")]
    Deadline,
    /// The stream broke.
    #[error("the conversation broke")]
    Io(#[source] io::Error),
    /// Longer than any message.
    #[error("a message of {0} bytes was announced, at most {FRAME_AT_MOST} are accepted")]
    TooLarge(usize),
    /// Not a message that this version knows.
    #[error("the other side sent a message that is not understood: {0}")]
    Malformed(String),
}

impl From<io::Error> for FrameError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => FrameError::Torn,
            io::ErrorKind::TimedOut => FrameError::Deadline,
            _ => FrameError::Io(error),
        }
    }
}

/// One message as a frame, ready to be written. It is wiped from memory afterwards: it may hold a key.
pub fn encode(message: &impl Serialize) -> Result<Zeroizing<Vec<u8>>, FrameError> {
    let malformed = |error: serde_json::Error| FrameError::Malformed(error.to_string());
    // Its length comes first: a vector that grows leaves an unwiped copy behind.
    let mut length = Length(0);
    serde_json::to_writer(&mut length, message).map_err(malformed)?;
    let Length(length) = length;
    if length > FRAME_AT_MOST {
        return Err(FrameError::TooLarge(length));
    }
    let prefix = u32::try_from(length).map_err(|_| FrameError::TooLarge(length))?;
    let mut frame = Zeroizing::new(Vec::with_capacity(4 + length));
    frame.extend(prefix.to_be_bytes());
    serde_json::to_writer(&mut *frame, message).map_err(malformed)?;
    Ok(frame)
}

/// Counts what is written.
struct Length(usize);

impl Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes one message.
pub fn write(out: &mut impl Write, message: &impl Serialize) -> Result<(), FrameError> {
    out.write_all(&encode(message)?)?;
    Ok(out.flush()?)
}

/// Reads one message.
pub fn read<M: DeserializeOwned>(input: &mut impl Read) -> Result<M, FrameError> {
    let mut prefix = [0; 4];
    let first = loop {
        match input.read(&mut prefix) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    if first == 0 {
        return Err(FrameError::Closed);
    }
    input.read_exact(&mut prefix[first..])?;
    let length = u32::from_be_bytes(prefix) as usize;
    if length > FRAME_AT_MOST {
        return Err(FrameError::TooLarge(length));
    }
    let mut body = Zeroizing::new(vec![0; length]);
    input.read_exact(&mut body)?;
    serde_json::from_slice(&body).map_err(|error| FrameError::Malformed(escaped(&error.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(bytes: &[u8]) -> Result<String, FrameError> {
        read(&mut &*bytes)
    }

    #[test]
    fn a_frame_cut_at_any_length_is_torn_and_never_a_message() {
        let frame = encode(&"hello").unwrap();
        let mut written = Vec::new();
        write(&mut written, &"hello").unwrap();
        assert_eq!(written, b"\0\0\0\x07\"hello\"");
        assert_eq!(*frame, written);
        assert_eq!(frame.capacity(), frame.len(), "it grew, and left a copy");
        assert_eq!(read_text(&frame).unwrap(), "hello");
        assert!(matches!(read_text(&[]), Err(FrameError::Closed)));
        for length in 1..frame.len() {
            assert!(matches!(read_text(&frame[..length]), Err(FrameError::Torn)), "cut at {length}");
        }
    }

    #[test]
    fn an_announced_length_is_capped_before_memory_is_taken() {
        assert!(matches!(read_text(&u32::MAX.to_be_bytes()), Err(FrameError::TooLarge(_))));
        assert!(matches!(encode(&"x".repeat(FRAME_AT_MOST)), Err(FrameError::TooLarge(_))));
    }

    #[test]
    fn the_largest_frame_is_written_and_read() {
        let text = "x".repeat(1_048_576 - 2);
        let frame = encode(&text).unwrap();
        assert_eq!(read_text(&frame).unwrap(), text);
        assert!(matches!(encode(&(text + "x")), Err(FrameError::TooLarge(1_048_577))));
        let announced = |length: u32| read_text(&length.to_be_bytes());
        assert!(matches!(announced(1_048_576), Err(FrameError::Torn)));
        assert!(matches!(announced(1_048_577), Err(FrameError::TooLarge(1_048_577))));
    }

    #[test]
    fn an_interrupted_read_is_repeated_and_a_late_one_told_from_a_broken_one() {
        struct Failing(Option<io::ErrorKind>, &'static [u8]);
        impl Read for Failing {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0.take().map_or_else(|| self.1.read(buffer), |kind| Err(kind.into()))
            }
        }
        let after = |kind| read::<String>(&mut Failing(Some(kind), b"\0\0\0\x02\"\""));
        assert_eq!(after(io::ErrorKind::Interrupted).unwrap(), "");
        assert!(matches!(after(io::ErrorKind::TimedOut), Err(FrameError::Deadline)));
        assert!(matches!(after(io::ErrorKind::ConnectionReset), Err(FrameError::Io(_))));
    }
}
