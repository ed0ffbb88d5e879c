//! The first line each side writes: a magic and the range of protocol versions it speaks.

use std::io::{self, Read, Write};

use thiserror::Error;

use crate::model::escape::escaped_bytes;

const MAGIC: &[u8] = b"\0certcast-wire ";
/// A shell's start-up files may print before the receiver runs; so much of it is passed over.
const NOISE_AT_MOST: usize = 8 * 1024;
const LINE_AT_MOST: usize = 32;
/// The versions this program speaks.
const OWN: Range = Range { least: 1, most: 1 };

fn told(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!("; it said: \"{said}\"") }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    least: u32,
    most: u32,
}

/// Why no common protocol was found.
#[derive(Debug, Error)]
pub enum BannerError {
    /// The stream broke.
    #[error("the connection broke before the other side said hello")]
    Io(#[source] io::Error),
    /// Nobody spoke in time.
    #[error("the other side did not say hello in time")]
    Deadline,
    /// The stream ended; what came instead is shown, since it usually says why.
    #[error("the other side ended without saying hello{}", told(.0))]
    Ended(String),
    /// Something talks, but not this protocol.
    #[error("the other side does not speak certcast's protocol; it said: \"{0}\"")]
    Foreign(String),
    /// No version in common.
    #[error("the other side speaks protocol versions {0} to {1}, this program {2} to {3}; bring both to one release")]
    Versions(u32, u32, u32, u32),
}

/// Writes this program's banner.
pub fn write(out: &mut impl Write) -> io::Result<()> {
    let mut line = MAGIC.to_vec();
    line.extend(format!("{} {}\n", OWN.least, OWN.most).bytes());
    out.write_all(&line)
}

/// Finds the other side's banner, passing over at most 8 kB of noise, and a version in common.
///
/// Reads byte by byte up to the banner's end, so that no byte of the first frame is lost.
pub fn read(input: &mut impl Read) -> Result<(), BannerError> {
    let mut seen = Vec::new();
    while !seen.ends_with(MAGIC) {
        if seen.len() >= NOISE_AT_MOST + MAGIC.len() {
            return Err(BannerError::Foreign(escaped_bytes(&seen)));
        }
        match read_byte(input)? {
            Some(byte) => seen.push(byte),
            None => return Err(BannerError::Ended(escaped_bytes(&seen))),
        }
    }
    let mut line = Vec::new();
    loop {
        match read_byte(input)? {
            Some(b'\n') => break,
            Some(byte) if line.len() < LINE_AT_MOST => line.push(byte),
            _ => return Err(BannerError::Foreign(escaped_bytes(&line))),
        }
    }
    let theirs = parse(&line).ok_or_else(|| BannerError::Foreign(escaped_bytes(&line)))?;
    if OWN.most.min(theirs.most) < OWN.least.max(theirs.least) {
        return Err(BannerError::Versions(theirs.least, theirs.most, OWN.least, OWN.most));
    }
    Ok(())
}

fn read_byte(input: &mut impl Read) -> Result<Option<u8>, BannerError> {
    let mut byte = [0];
    loop {
        match input.read(&mut byte) {
            Ok(0) => return Ok(None),
            Ok(_) => return Ok(Some(byte[0])),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::TimedOut => return Err(BannerError::Deadline),
            Err(error) => return Err(BannerError::Io(error)),
        }
    }
}

fn parse(line: &[u8]) -> Option<Range> {
    let (least, most) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    let range = Range { least: least.parse().ok()?, most: most.parse().ok()? };
    (range.least <= range.most).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(stream: &[u8]) -> Result<(), BannerError> {
        read(&mut &*stream)
    }

    #[test]
    fn noise_before_the_banner_is_passed_over_and_no_frame_byte_is_lost() {
        let mut stream = "Willkommen!\nÄrger \u{1b}[0m certcast-wire\n".as_bytes().to_vec();
        write(&mut stream).unwrap();
        stream.extend(b"frame");
        let mut rest = stream.as_slice();
        read(&mut rest).unwrap();
        assert_eq!(rest, b"frame");
    }

    #[test]
    fn endless_noise_is_given_up_on() {
        let mut endless = io::repeat(b'x');
        assert!(matches!(read(&mut endless), Err(BannerError::Foreign(_))));
    }

    #[test]
    fn what_was_said_instead_is_shown_escaped() {
        let error = found(b"bash: certcast: \x1b[31mnot found\n").unwrap_err().to_string();
        assert!(error.contains("not found") && !error.contains('\u{1b}'), "{error}");
    }

    #[test]
    fn versions_must_overlap() {
        let banner = |range: &str| [MAGIC, range.as_bytes(), b"\n"].concat();
        for theirs in ["1 1", "1 9", "0 1"] {
            assert!(found(&banner(theirs)).is_ok(), "{theirs}");
        }
        assert!(matches!(found(&banner("2 9")), Err(BannerError::Versions(2, 9, 1, 1))));
        assert!(matches!(found(&banner("0 0")), Err(BannerError::Versions(0, 0, 1, 1))));
        for bad in ["", "1", "9 1", "x y", "1 1 1", "11111111111111111111111111111111111 2"] {
            assert!(matches!(found(&banner(bad)), Err(BannerError::Foreign(_))), "{bad}");
        }
    }

    #[test]
    fn noise_and_line_have_an_exact_limit() {
        let noisy = |noise: usize| [b"x".repeat(noise).as_slice(), MAGIC, b"1 1\n"].concat();
        assert!(found(&noisy(8192)).is_ok());
        assert!(matches!(found(&noisy(8193)), Err(BannerError::Foreign(_))));
        let line = |zeros: usize| [MAGIC, b"1 ", b"0".repeat(zeros).as_slice(), b"1\n"].concat();
        assert!(found(&line(29)).is_ok());
        assert!(matches!(found(&line(30)), Err(BannerError::Foreign(_))));
    }

    #[test]
    fn an_interrupted_read_is_repeated_and_a_late_one_told_from_a_broken_one() {
        struct Failing(Option<io::ErrorKind>, &'static [u8]);
        impl Read for Failing {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0.take().map_or_else(|| self.1.read(buffer), |kind| Err(kind.into()))
            }
        }
        let after = |kind| read(&mut Failing(Some(kind), b"\0certcast-wire 1 1\n"));
        assert!(after(io::ErrorKind::Interrupted).is_ok());
        assert!(matches!(after(io::ErrorKind::TimedOut), Err(BannerError::Deadline)));
        assert!(matches!(after(io::ErrorKind::ConnectionReset), Err(BannerError::Io(_))));
    }
}
