//! The edges to the operating system, one guarantee a file, each said at the top of it.
//!
//! Nothing here knows what a certificate is. Errors are [`std::io::Error`] with the path in the
//! message and the kind kept, so that a caller can branch on the kind.

pub mod addresses;
pub mod ancestry;
pub mod atomic;
pub mod bounded;
pub mod dir;
pub mod line_log;
pub mod lock;
pub mod mount_namespace;
pub mod parallel;
pub mod process;
pub mod ready;
pub mod sync;
pub mod terminal;
pub mod timed;
pub mod timetable;
pub mod voice;

mod at_path;
