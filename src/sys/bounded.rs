//! Reads files of others without hanging and without filling the memory.
//!
//! A FIFO, device or socket in a file's place is an error at once, and so is a file larger than
//! the caller allows, also one that grows while it is read.

use super::at_path::{at_path, shown};
use super::dir::Dir;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

/// The content of a regular file of at most that many bytes. Links are followed.
pub fn read_bounded(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let fd = open(path, flags(), Mode::empty()).map_err(|errno| at_path("read", path, errno))?;
    read_open(fd, path, most)
}

/// The same for a file beneath a directory; no link in any component is followed.
pub fn read_beneath(dir: &Dir, rel: &Path, most: u64) -> io::Result<Vec<u8>> {
    let fd = dir.resolve_beneath(rel, flags(), "read")?;
    read_open(fd, &dir.path().join(rel), most)
}

/// Room to see the end of a file in: with less, the standard library reads into a buffer of its own.
const SPARE: usize = 64;

/// Non-blocking: opening a FIFO would otherwise wait for its writer.
fn flags() -> OFlag {
    OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC
}

fn read_open(fd: OwnedFd, path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = File::from(fd);
    let metadata = file.metadata().map_err(|error| at_path("read", path, error))?;
    if !metadata.is_file() {
        let text = format!("cannot read {}: not a regular file", shown(path));
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    // One byte more than allowed tells apart full and too large, whatever the length was before.
    // Reserved at once, since a vector that grows leaves copies behind, and some files are keys.
    let mut content = Vec::with_capacity(usize::try_from(metadata.len().min(most)).unwrap_or(0) + SPARE);
    file.take(most.saturating_add(1)).read_to_end(&mut content).map_err(|error| at_path("read", path, error))?;
    if content.len() as u64 > most {
        let text = format!("cannot read {}: larger than the {most} bytes it may have", shown(path));
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::{read_beneath, read_bounded};
    use crate::sys::dir::Dir;
    use nix::sys::stat::Mode;
    use std::io::ErrorKind;
    use std::path::Path;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn a_fifo_in_a_files_place_does_not_hang() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("fifo");
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
        let (tell, told) = mpsc::channel();
        let asked = path.clone();
        std::thread::spawn(move || tell.send(read_bounded(&asked, 10)));
        let answer = told.recv_timeout(Duration::from_secs(10)).expect("reading a FIFO hung");
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(read_bounded(temp.path(), 10).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(read_bounded(Path::new("/dev/zero"), 10).unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn the_bound_is_exact_and_named() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("file");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read_bounded(&path, 5).unwrap(), b"12345");
        let error = read_bounded(&path, 4).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
        assert!(error.to_string().contains("4 bytes") && error.to_string().contains("file"), "{error}");
        // Its length is said to be zero, as of a file that grows after it was looked at.
        assert_eq!(read_bounded(Path::new("/proc/self/status"), 8).unwrap_err().kind(), ErrorKind::FileTooLarge);
    }

    #[test]
    fn beneath_a_directory_no_link_is_followed() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        std::fs::write(temp.path().join("file"), "x").unwrap();
        dir.symlink("file", "link").unwrap();
        assert_eq!(read_bounded(&temp.path().join("link"), 5).unwrap(), b"x");
        assert_eq!(read_beneath(&dir, Path::new("file"), 5).unwrap(), b"x");
        assert!(read_beneath(&dir, Path::new("link"), 5).unwrap_err().to_string().contains("symbolic link"));
    }
}
