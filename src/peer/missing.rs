//! What an open transaction needs and is not there, with the way out. Were it ended without that, the wrong version would be
//! back once it is mounted.

use std::io;
use std::path::{Path, PathBuf};

use crate::model::escape::escaped;
use crate::model::pasteable::pasteable;
use crate::peer::journal::Journal;
use crate::peer::node::Node;
use crate::peer::state::{Before, Intent, JoinedFile, Recovery};

/// A lineage's own directories.
pub fn tree(node: &Node, journal: &Journal, intent: &Intent) -> io::Error {
    let archive = Path::new("archive").join(intent.lineage.as_str());
    let needed = [&archive, Path::new("live")].map(|path| node.letsencrypt().path().join(path));
    error(&needed, journal, matches!(intent.before, Before::Number(_)))
}

/// The directory of a joined file.
pub fn directory(file: &JoinedFile, journal: &Journal) -> io::Error {
    error(&[file.path.parent().unwrap_or(&file.path).to_owned()], journal, file.existed)
}

/// `had_old`: what was there before was in what is gone, so there is nothing to go back to.
fn error(needed: &[PathBuf], journal: &Journal, had_old: bool) -> io::Error {
    let paths: Vec<_> = needed.iter().map(|path| path.to_string_lossy()).collect();
    let make = pasteable(&[&["mkdir", "-p"], &paths.iter().map(AsRef::as_ref).collect::<Vec<_>>()[..]].concat());
    let way_out = if had_old && journal.state().recovery() == Recovery::Undo {
        let forget = pasteable(&["mv", &journal.path().to_string_lossy(), "/root/"]);
        let others =
            if journal.intents().len() > 1 { "reload the services, as other lineages moved with it, " } else { "" };
        format!("'{make}' and '{forget}', {others}then 'certcast resync' on the primary")
    } else {
        format!("'{make}', then 'certcast recover'")
    };
    let needed = paths.iter().map(|path| escaped(path)).collect::<Vec<_>>().join(" and ");
    let why = format!("an open transaction needs {needed}: is it mounted? if it is gone for good: {way_out}");
    io::Error::new(io::ErrorKind::NotFound, why)
}
