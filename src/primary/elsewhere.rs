//! Lineages that a certbot with another directory (its --config-dir) has brought: where each is, so that `resync` finds it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::model::config::Config;
use crate::model::names::LineageName;
use crate::primary::lineage::{self, LineageError};
use crate::sys::atomic::{self, Attributes};
use crate::sys::bounded::read_bounded;
use crate::sys::dir::Dir;

const PATH_AT_MOST: u64 = 64 * 1024;

/// Remembers where a lineage is, unless that is the configured directory. The caller holds the lock of deliveries.
pub fn note(config: &Config, letsencrypt: &Path, lineage: &LineageName) -> io::Result<()> {
    let real = fs::canonicalize(letsencrypt)?;
    let is_home = fs::canonicalize(&config.node.letsencrypt).is_ok_and(|home| home == real);
    if is_home || found(config)?.get(lineage).is_some_and(|known| known == letsencrypt) {
        return Ok(());
    }
    let directory = directory(config);
    fs::create_dir_all(&directory)?;
    atomic::remove_leftovers(&Dir::open(&directory)?)?;
    let attributes = Attributes { mode: 0o600, owner: None };
    atomic::replace_path(&directory.join(lineage.as_str()), letsencrypt.as_os_str().as_bytes(), &attributes)
}

/// Those that are still there, or whose directory is away as a whole; none of a name that the configured one has too, or brings
/// others to the peers by.
pub fn found(config: &Config) -> io::Result<BTreeMap<LineageName, PathBuf>> {
    let entries = match fs::read_dir(directory(config)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        entries => entries?,
    };
    let mut found = BTreeMap::new();
    for entry in entries {
        let entry = entry?;
        let Some(Ok(lineage)) = entry.file_name().to_str().map(str::parse::<LineageName>) else { continue };
        let letsencrypt = PathBuf::from(OsString::from_vec(read_bounded(&entry.path(), PATH_AT_MOST)?));
        let is_in = |letsencrypt: &Path| letsencrypt.join("live").join(lineage.as_str()).is_dir();
        // A disk that is not mounted is no lineage that certbot has deleted.
        let is_there = is_in(&letsencrypt) || !letsencrypt.join("live").is_dir();
        let is_at_home = |name: &LineageName| config.node.letsencrypt.join("live").join(name.as_str()).is_dir();
        let is_taken = is_at_home(&lineage) || config.deploy.superseded_by(&lineage, is_at_home).is_some();
        if is_there && !is_taken {
            found.insert(lineage, letsencrypt);
        }
    }
    Ok(found)
}

/// The names of all lineages that this primary brings: those in the configured directory, and these.
pub fn with_all_at_home(config: &Config) -> Result<Vec<LineageName>, LineageError> {
    let found = found(config).map_err(|error| LineageError::Io(directory(config), error))?;
    let mut names = lineage::all(&config.node.letsencrypt)?;
    names.extend(found.into_keys());
    Ok(names)
}

fn directory(config: &Config) -> PathBuf {
    config.node.state.join("elsewhere")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lineage_is_found_where_it_was_until_certbot_deletes_it_there_and_the_configured_directory_goes_first() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        let text = format!("[node]\nname = \"web1\"\nletsencrypt = {:?}\nstate = {:?}\n", path("home"), path("state"));
        let config = Config::parse(&text, Path::new("config.toml")).unwrap();
        let lineage: LineageName = "www".parse().unwrap();
        let made = |tree: &str| fs::create_dir_all(path(tree).join("live/www")).unwrap();
        let others = || found(&config).unwrap().into_iter().collect::<Vec<_>>();
        made("home");
        std::os::unix::fs::symlink("home", path("link")).unwrap();
        note(&config, &path("link"), &lineage).unwrap();
        assert!(!path("state").exists(), "it is the configured directory by another name");

        made("other");
        note(&config, &path("other"), &lineage).unwrap();
        assert_eq!(others(), [], "it is in the configured directory too");
        fs::remove_dir(path("home/live/www")).unwrap();
        assert_eq!(others(), [(lineage.clone(), path("other"))]);
        assert_eq!(with_all_at_home(&config).unwrap(), std::slice::from_ref(&lineage));
        fs::rename(path("other/live"), path("other/unmounted")).unwrap();
        assert_eq!(others(), [(lineage.clone(), path("other"))]);
        fs::rename(path("other/unmounted"), path("other/live")).unwrap();
        fs::remove_dir(path("other/live/www")).unwrap();
        assert_eq!(others(), []);
        made("another");
        note(&config, &path("another"), &lineage).unwrap();
        assert_eq!(others(), [(lineage, path("another"))]);
    }
}
