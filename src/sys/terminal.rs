//! How wide the terminal is that standard output goes to.

use std::io::{self, IsTerminal};

use rustix::termios::tcgetwinsize;

/// Its columns; none where it is no terminal, or one that does not say.
pub fn columns() -> Option<usize> {
    let output = io::stdout();
    let size = output.is_terminal().then(|| tcgetwinsize(&output).ok()).flatten();
    size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0)
}
