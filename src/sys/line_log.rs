//! A file that grows by whole lines, each of them durable or never written.
//!
//! A failed append is cut back at once. Where that fails too, the log is in doubt: the line may be read after a crash, in
//! whole or in part. Nothing is appended to it before the cut has succeeded, so nothing is ever glued to a part of a line.
//! A crash in an append may leave a torn last line: a reader takes a line without its newline as never written.

use std::fs::File;
use std::io::{self, Write};

/// What lines are appended to.
pub trait Medium {
    /// Writes at the end.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Cuts it to a length.
    fn cut(&mut self, length: u64) -> io::Result<()>;
    /// Makes content and length durable.
    fn sync(&mut self) -> io::Result<()>;
}

/// Opened for appending.
impl Medium for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

/// The lines of one owner, who lets nobody else write.
#[derive(Debug)]
pub struct LineLog<M> {
    medium: M,
    /// The length of the durable lines.
    whole: u64,
    in_doubt: bool,
}

impl<M: Medium> LineLog<M> {
    /// Of what was just made and holds nothing.
    pub fn empty(medium: M) -> LineLog<M> {
        LineLog { medium, whole: 0, in_doubt: false }
    }

    /// Of what an earlier process left: so many bytes of whole lines. What is behind them is cut away.
    pub fn found(medium: M, whole: u64) -> io::Result<LineLog<M>> {
        let mut log = LineLog { medium, whole, in_doubt: true };
        log.make_sure()?;
        Ok(log)
    }

    /// Appends one line, given with its newline; durable on return. On an error it is not there, or the log is in doubt.
    pub fn append(&mut self, line: &[u8]) -> io::Result<()> {
        self.make_sure()?;
        self.in_doubt = true;
        match self.medium.append(line).and_then(|()| self.medium.sync()) {
            Ok(()) => {
                self.whole += line.len() as u64;
                self.in_doubt = false;
                Ok(())
            }
            Err(error) => {
                // The first cause is what is told; this one stays as `in_doubt`.
                let _ = self.make_sure();
                Err(error)
            }
        }
    }

    /// Cuts away what is not known to be whole; an error means that it may still be there.
    pub fn make_sure(&mut self) -> io::Result<()> {
        if self.in_doubt {
            self.medium.cut(self.whole).and_then(|()| self.medium.sync())?;
            self.in_doubt = false;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{LineLog, Medium};
    use std::fs::{self, OpenOptions};
    use std::io;

    /// Takes only so many bytes of an append, and fails as it is told.
    #[derive(Debug, Default)]
    struct Frail {
        bytes: Vec<u8>,
        takes: Option<usize>,
        syncs: bool,
        cuts: bool,
    }

    impl Medium for Frail {
        fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
            self.bytes.extend(&bytes[..self.takes.unwrap_or(bytes.len())]);
            self.takes.map_or(Ok(()), |_| Err(io::ErrorKind::StorageFull.into()))
        }

        fn cut(&mut self, length: u64) -> io::Result<()> {
            if !self.cuts {
                return Err(io::Error::other("cannot be cut"));
            }
            self.bytes.truncate(usize::try_from(length).unwrap());
            Ok(())
        }

        fn sync(&mut self) -> io::Result<()> {
            if self.syncs { Ok(()) } else { Err(io::Error::other("cannot be synced")) }
        }
    }

    fn sound() -> Frail {
        Frail { syncs: true, cuts: true, ..Frail::default() }
    }

    #[test]
    fn lines_are_appended_and_a_failed_one_is_cut_off() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("log");
        let file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
        let mut log = LineLog::empty(file);
        log.append(b"one\n").unwrap();
        log.append(b"two\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one\ntwo\n");

        let mut log = LineLog::empty(sound());
        log.append(b"one\n").unwrap();
        log.medium.takes = Some(2);
        assert_eq!(log.append(b"two\n").unwrap_err().kind(), io::ErrorKind::StorageFull);
        log.make_sure().unwrap();
        assert_eq!(log.medium.bytes, b"one\n");
    }

    #[test]
    fn nothing_is_appended_behind_what_could_not_be_cut_off() {
        for taken in 0..=4 {
            let mut log = LineLog::empty(sound());
            log.append(b"one\n").unwrap();
            log.medium = Frail { bytes: b"one\n".into(), takes: Some(taken), syncs: false, cuts: false };
            assert_eq!(log.append(b"two\n").unwrap_err().kind(), io::ErrorKind::StorageFull);
            log.make_sure().unwrap_err();
            log.medium.takes = None;
            log.medium.syncs = true;
            assert!(log.append(b"three\n").unwrap_err().to_string().contains("cut"), "{taken}");
            assert_eq!(log.medium.bytes, [b"one\n", &b"two\n"[..taken]].concat());
            log.medium.cuts = true;
            log.append(b"three\n").unwrap();
            assert_eq!(log.medium.bytes, b"one\nthree\n");
        }
    }

    #[test]
    fn a_cut_that_is_not_durable_leaves_the_doubt() {
        let mut log = LineLog::empty(Frail { syncs: false, ..sound() });
        log.append(b"one\n").unwrap_err();
        log.make_sure().unwrap_err();
    }

    #[test]
    fn what_a_crash_left_behind_the_whole_lines_goes_before_the_first_append() {
        let left = || Frail { bytes: b"one\ntw".into(), ..sound() };
        LineLog::found(Frail { cuts: false, ..left() }, 4).unwrap_err();
        let mut log = LineLog::found(left(), 4).unwrap();
        log.append(b"three\n").unwrap();
        assert_eq!(log.medium.bytes, b"one\nthree\n");
    }
}
