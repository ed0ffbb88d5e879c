//! What an open transaction needs and is not there, with the way out. Were it ended without that, the wrong version would be
//! back once it is mounted.

use std::io;
use std::path::{Path, PathBuf};

use crate::model::escape::escaped;
use crate::model::pasteable::pasteable;
use crate::peer::journal::Journal;
use crate::peer::node::Node;
use crate::peer::state::Recovery;

/// The lineage's own directories.
pub fn tree(node: &Node, journal: &Journal) -> io::Error {
    let archive = Path::new("archive").join(journal.intent().lineage.as_str());
    let needed = [&archive, Path::new("live")].map(|path| node.letsencrypt().path().join(path));
    if journal.state().recovery() == Recovery::Undo {
        // There is nothing to go back to.
        let command = pasteable(&["mv", &journal.path().to_string_lossy(), "/root/"]);
        return error(&needed, &format!("'{command}', then 'certcast resync' on the primary"));
    }
    error(&needed, &make_anew(&needed))
}

/// The directory of a joined file.
pub fn directory(file: &Path) -> io::Error {
    let needed = [file.parent().unwrap_or(file).to_owned()];
    error(&needed, &make_anew(&needed))
}

fn make_anew(paths: &[PathBuf]) -> String {
    let paths: Vec<_> = paths.iter().map(|path| path.to_string_lossy()).collect();
    let words = [&["mkdir", "-p"], &paths.iter().map(AsRef::as_ref).collect::<Vec<_>>()[..]].concat();
    format!("'{}', then 'certcast recover'", pasteable(&words))
}

fn error(needed: &[PathBuf], way_out: &str) -> io::Error {
    let paths: Vec<_> = needed.iter().map(|path| escaped(&path.to_string_lossy())).collect();
    let needed = paths.join(" and ");
    let why = format!("an open transaction needs {needed}: is it mounted? if it is gone for good: {way_out}");
    io::Error::new(io::ErrorKind::NotFound, why)
}
