//! Whether anything of a lineage is here, for comparing and for a person. What cannot be read is never taken for gone.

use std::io;

use crate::model::names::LineageName;
use crate::peer::admission;
use crate::peer::node::Node;
use crate::wire::presence::Presence;

/// What is here of a lineage.
pub fn of(node: &Node, lineage: &LineageName) -> Presence {
    let found = admission::installed(node, lineage).and_then(|version| match version {
        Some(_) => Ok(Presence::Here { version }),
        None if has_something(node, lineage)? => Ok(Presence::Here { version: None }),
        None => Ok(Presence::Gone),
    });
    found.unwrap_or_else(|error| {
        tracing::warn!(%lineage, %error, "cannot compare");
        Presence::Unknown { cause: error.to_string() }
    })
}

/// Whether a tree, torn or made by hand, or a key of it is here.
fn has_something(node: &Node, lineage: &LineageName) -> io::Result<bool> {
    for directory in ["live", "archive"] {
        if let Some(dir) = node.letsencrypt().open_if_there(directory)?
            && dir.exists(lineage.as_str())?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::model::config;

    #[test]
    fn only_where_nothing_is_left_it_is_gone() {
        let home = tempfile::tempdir().unwrap();
        let (tree, file) = (home.path().join("letsencrypt"), home.path().join("config.toml"));
        let state = home.path().join("state");
        fs::create_dir(&tree).unwrap();
        fs::write(&file, format!("[node]\nname = \"web2\"\nletsencrypt = {tree:?}\nstate = {state:?}\n")).unwrap();
        let node = Node::open(config::load(&file).unwrap(), false).unwrap();
        let presence = || of(&node, &"www.site.test".parse().unwrap());
        assert_eq!(presence(), Presence::Gone);

        let in_part = Presence::Here { version: None };
        for left in ["archive/www.site.test", "live/www.site.test"] {
            fs::create_dir_all(tree.join(left)).unwrap();
            assert_eq!(presence(), in_part, "{left}");
            fs::remove_dir(tree.join(left)).unwrap();
            assert_eq!(presence(), Presence::Gone);
        }
        // A tree that was moved to a disk which is not there now.
        for directory in ["live", "archive"] {
            fs::remove_dir(tree.join(directory)).unwrap();
            symlink("/nonexistent", tree.join(directory)).unwrap();
            let Presence::Unknown { cause } = presence() else { panic!("{directory}: {:?}", presence()) };
            assert!(cause.contains(&format!("/letsencrypt/{directory}")), "{cause}");
            fs::remove_file(tree.join(directory)).unwrap();
        }
    }
}
