//! What waits to be sent by one route: a file of lines, each durable before a hook goes on, sent in their order.
//!
//! Killed at any moment it holds every notice that [`Spool::append`] returned for, unless it was sent; what was sent just
//! before may be sent again, under the same id. Who appends or removes holds the lock of all alerts.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Standing;
use super::notice::Notice;
use crate::sys::atomic::{self, Attributes};
use crate::sys::bounded;
use crate::sys::dir::Dir;

/// So much waits at most; then the oldest half is dropped.
pub const BYTES_AT_MOST: u64 = 32 * 1024 * 1024;
/// So much that was sent is kept before what waits, for writing all of it anew takes its time.
const COMPACTED_AT: u64 = 4 * 1024 * 1024;
/// A line is one notice, whose parts are bounded.
const LINE_AT_MOST: u64 = 64 * 1024;
/// So much that was refused is kept.
const DEAD_AT_MOST: u64 = 1024 * 1024;
const PRIVATE: Attributes = Attributes { mode: 0o600, owner: None };

/// One route's.
#[derive(Clone, Debug)]
pub struct Spool {
    directory: PathBuf,
    key: String,
}

/// What is known of a route besides what waits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Since when it fails, and how.
    pub failing: Option<(Timestamp, String)>,
    /// How often its receiver would not take the first that waits.
    pub refusals: u32,
    /// How many were dropped, as too much waited or one was too long, since there was last nothing to send.
    pub dropped: u64,
}

impl Spool {
    /// Of the route of this name: it stays the same when a wrong URL is mended, and what waits is sent then.
    pub fn of(directory: &Path, key: String) -> Spool {
        Spool { directory: directory.to_owned(), key }
    }

    /// Its name on the disk.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Puts notices behind all others; on return they are on the disk.
    pub fn append(&self, notices: &[&Notice]) -> io::Result<()> {
        if notices.is_empty() {
            return Ok(());
        }
        let path = self.path("queue");
        let mut line = Vec::new();
        for notice in notices {
            serde_json::to_writer(&mut line, notice)?;
            line.push(b'\n');
        }
        let length = || fs::metadata(&path).map_or(0, |known| known.len());
        if length() + u64::try_from(line.len()).unwrap_or(u64::MAX) > BYTES_AT_MOST {
            self.drop_the_oldest()?;
        }
        let length = length();
        let is_new = length == 0;
        let mut file = OpenOptions::new().create(true).append(true).read(true).mode(0o600).open(&path)?;
        // What a killed run began is no line, and must not become the beginning of this one.
        if length > 0 && !ends_a_line(&path, length)? {
            line.insert(0, b'\n');
        }
        file.write_all(&line)?;
        file.sync_all()?;
        if is_new { Dir::open(&self.directory)?.sync() } else { Ok(()) }
    }

    /// The first that wait.
    pub fn first(&self, at_most: usize) -> io::Result<Vec<Notice>> {
        let Some(mut lines) = self.lines()? else { return Ok(Vec::new()) };
        let mut notices = Vec::new();
        while notices.len() < at_most {
            match next_line(&mut lines)? {
                None => break,
                // What is none was torn by a kill.
                Some(line) => notices.extend(serde_json::from_slice::<Notice>(&line)),
            }
        }
        Ok(notices)
    }

    /// Drops what is before the first notice if it is longer than any that is written: nothing behind it would ever be sent.
    /// Whether there was such a line.
    pub fn drop_too_long(&self) -> io::Result<bool> {
        let Some(mut lines) = self.lines()? else { return Ok(false) };
        while let Some(line) = next_line(&mut lines)? {
            if serde_json::from_slice::<Notice>(&line).is_ok() {
                return Ok(false);
            }
        }
        // At the end there is nothing to pass over.
        if lines.skip_until(b'\n')? == 0 {
            return Ok(false);
        }
        let health = self.health();
        self.note(&Health { dropped: health.dropped + 1, ..health })?;
        self.go_on_at(lines)?;
        Ok(true)
    }

    /// Removes those that were sent: all up to and with this one.
    pub fn remove_up_to(&self, id: &str) -> io::Result<()> {
        let Some(mut lines) = self.lines()? else { return Ok(()) };
        while let Some(line) = next_line(&mut lines)? {
            if serde_json::from_slice::<Notice>(&line).is_ok_and(|notice| notice.id == id) {
                return self.go_on_at(lines);
            }
        }
        Ok(())
    }

    /// What is before this place is done with. Killed on the way, it is sent once more.
    fn go_on_at(&self, mut lines: BufReader<File>) -> io::Result<()> {
        let place = lines.stream_position()?;
        if place == lines.get_ref().metadata()?.len() {
            self.forget_cursor()?;
            return fs::remove_file(self.path("queue"));
        }
        if place > COMPACTED_AT {
            return self.keep_rest(lines);
        }
        atomic::replace_path(&self.path("cursor"), place.to_string().as_bytes(), &PRIVATE)
    }

    /// Puts the first one aside: its receiver will not have it.
    pub fn bury(&self, notice: &Notice) -> io::Result<()> {
        let path = self.path("dead");
        if fs::metadata(&path).is_ok_and(|known| known.len() > DEAD_AT_MOST) {
            fs::rename(&path, self.path("dead.old"))?;
        }
        let mut line = serde_json::to_vec(notice)?;
        line.push(b'\n');
        let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
        file.write_all(&line)?;
        file.sync_all()?;
        self.remove_up_to(&notice.id)
    }

    /// What is known of the route.
    pub fn health(&self) -> Health {
        let text = bounded::read_bounded(&self.path("health"), LINE_AT_MOST).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Notes it.
    pub fn note(&self, health: &Health) -> io::Result<()> {
        atomic::replace_path(&self.path("health"), &serde_json::to_vec(health)?, &PRIVATE)
    }

    /// How the route stands.
    pub fn standing(&self, label: String) -> Standing {
        let Health { failing, dropped, .. } = self.health();
        let waiting = self.lines().ok().flatten().map_or(0, |lines| lines.split(b'\n').map_while(Result::ok).count());
        // Who has looked at them removes the file.
        let dead = File::open(self.path("dead"))
            .map_or(0, |file| BufReader::new(file).split(b'\n').map_while(Result::ok).count());
        Standing { label, waiting, dead, dropped, failing }
    }

    fn path(&self, end: &str) -> PathBuf {
        self.directory.join(format!("{}.{end}", self.key))
    }

    fn lines(&self) -> io::Result<Option<BufReader<File>>> {
        match File::open(self.path("queue")) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            file => {
                let mut file = file?;
                let text = bounded::read_bounded(&self.path("cursor"), 64).unwrap_or_default();
                let place = String::from_utf8_lossy(&text).parse().unwrap_or(0);
                if place <= file.metadata()?.len() {
                    file.seek(SeekFrom::Start(place))?;
                }
                Ok(Some(BufReader::new(file)))
            }
        }
    }

    /// Always before its file becomes another one, in which its place would be a wrong one.
    fn forget_cursor(&self) -> io::Result<()> {
        match fs::remove_file(self.path("cursor")) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn drop_the_oldest(&self) -> io::Result<()> {
        let Some(mut lines) = self.lines()? else { return Ok(()) };
        let (mut passed, mut dropped) = (0, 0);
        while passed < BYTES_AT_MOST / 2
            && let Some(line) = next_line(&mut lines)?
        {
            passed += u64::try_from(line.len()).unwrap_or(u64::MAX);
            dropped += 1;
        }
        let health = self.health();
        self.note(&Health { dropped: health.dropped + dropped, ..health })?;
        self.keep_rest(lines)
    }

    fn keep_rest(&self, mut rest: BufReader<File>) -> io::Result<()> {
        let mut text = Vec::new();
        Read::by_ref(&mut rest).take(2 * BYTES_AT_MOST).read_to_end(&mut text)?;
        self.forget_cursor()?;
        atomic::replace_path(&self.path("queue"), &text, &PRIVATE)
    }
}

/// A whole line without its end; what has none was never written, or is longer than any.
fn next_line(lines: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    Read::by_ref(lines).take(LINE_AT_MOST).read_until(b'\n', &mut line)?;
    Ok((line.pop() == Some(b'\n')).then_some(line))
}

fn ends_a_line(path: &Path, length: u64) -> io::Result<bool> {
    use std::os::unix::fs::FileExt;
    let mut last = [0];
    File::open(path)?.read_exact_at(&mut last, length - 1)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests;
