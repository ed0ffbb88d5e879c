//! Reading the file: bounded, and never waiting.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::OFlag;

use super::{Config, ConfigError};
use crate::model::exposure::Exposure;

const MOST_BYTES: u64 = 1 << 20;

/// Reads and checks a configuration file, which nobody but root and we may be able to change; nor what is kept in the
/// state directory that it names.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let config = Config::parse(&read(path)?, path)?;
    refuse_exposed(&config.node.state, "and by what is noted in it files are moved and removed")?;
    Ok(config)
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => ConfigError::Missing(path.into()),
        io::ErrorKind::PermissionDenied => ConfigError::Forbidden(path.into()),
        _ => ConfigError::Read { path: path.into(), source },
    };
    // Without O_NONBLOCK, opening a FIFO waits for its writer, perhaps for ever.
    let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path).map_err(failed)?;
    refuse_unfit(&file, path).map_err(failed)??;
    // By its name and, where that is a link, where it is: in both places it could be replaced.
    for place in [Some(path.to_owned()), std::fs::canonicalize(path).ok()].into_iter().flatten() {
        let parent = place.parent().filter(|parent| !parent.as_os_str().is_empty());
        refuse_exposed(parent.unwrap_or(Path::new(".")), "and so replace the configuration in it")?;
    }

    let mut bytes = Vec::new();
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(ConfigError::TooLarge(path.into()));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
        ConfigError::NotUtf8 { path: path.into(), line: good.matches('\n').count() + 1 }
    })
}

/// Asks the open file, not the path: what was looked at is what is read.
fn refuse_unfit(file: &File, path: &Path) -> io::Result<Result<(), ConfigError>> {
    let metadata = file.metadata()?;
    let kind = metadata.file_type();
    let what = match () {
        () if kind.is_file() => None,
        () if kind.is_dir() => Some("a directory"),
        () if kind.is_fifo() => Some("a FIFO"),
        () => Some("a device"),
    };
    Ok(match what {
        Some(what) => Err(ConfigError::NotAFile { path: path.into(), what }),
        None => exposed(Exposure::of(&metadata), path, "and root runs the commands in it"),
    })
}

/// What is not there, or cannot be looked at, is its user's affair.
fn refuse_exposed(path: &Path, why: &'static str) -> Result<(), ConfigError> {
    exposed(std::fs::metadata(path).ok().and_then(|metadata| Exposure::of(&metadata)), path, why)
}

fn exposed(exposure: Option<Exposure>, path: &Path, why: &'static str) -> Result<(), ConfigError> {
    exposure.map_or(Ok(()), |exposure| Err(ConfigError::Exposed { path: path.into(), exposure, why }))
}

#[cfg(test)]
mod tests {
    use super::load;
    use crate::model::config::ConfigError;
    use crate::model::pasteable::pasteable;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn each_unreadable_file_has_its_own_message() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("latin1"), b"# ok\n# caf\xe9\n").unwrap();
        fs::write(path("large"), " ".repeat(1 << 20) + "\n").unwrap();
        fs::write(path("open"), "").unwrap();
        fs::set_permissions(path("open"), Permissions::from_mode(0o646)).unwrap();
        mkfifo(&path("fifo"), Mode::S_IRUSR | Mode::S_IWUSR).unwrap();

        let message = |name: &str| load(&path(name)).unwrap_err().to_string();
        let named = |name: &str| path(name).display().to_string();
        assert!(
            message("none").ends_with("there is no such file; docs/operations.md shows one, --config names another")
        );
        assert!(message(".").contains("this is a directory, not a regular file"));
        assert!(message("fifo").contains("this is a FIFO, not a regular file"));
        assert!(message("latin1").ends_with("latin1:2: the file is not UTF-8 text; save it as UTF-8"));
        assert!(message("large").contains("larger than 1 MiB"));
        assert!(message("open").ends_with(&format!("run: chmod go-w {}", pasteable(&[named("open")]))));
        assert!(message("open/below").ends_with("the file cannot be read"));
        assert!(message("none").starts_with(&named("none")));
    }

    #[test]
    fn the_largest_file_that_is_allowed_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        fs::write(&path, "\n".repeat(1 << 20)).unwrap();
        load(&path).unwrap();
    }

    #[test]
    fn a_file_of_somebody_else_is_forbidden_with_the_remedy() {
        let error = ConfigError::Forbidden("/etc/certcast/config.toml".into());
        assert_eq!(
            error.to_string(),
            "/etc/certcast/config.toml: permission denied; run certcast as root or as the user the file belongs to"
        );
    }
}
