//! Whether others than root and we may change a file or directory: judged by its owner and mode.

use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::model::pasteable::pasteable;

/// How others may change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// It belongs to this user, who is neither root nor the one we run as.
    Owner(u32),
    /// Its group or everybody may write it.
    Mode(u32),
}

impl Exposure {
    /// None where only root and the user we run as may change it.
    pub fn of(metadata: &Metadata) -> Option<Exposure> {
        let me = nix::unistd::geteuid().as_raw();
        Exposure::judge((metadata.uid(), metadata.gid()), metadata.mode() & 0o7777, metadata.is_dir(), me)
    }

    fn judge((owner, group): (u32, u32), mode: u32, is_directory: bool, me: u32) -> Option<Exposure> {
        if owner != 0 && owner != me {
            return Some(Exposure::Owner(owner));
        }
        // In a sticky directory others may add names, but not replace those that are there.
        if is_directory && mode & 0o1000 != 0 {
            return None;
        }
        // Root's own group is root's affair.
        let others = if group == 0 { 0o002 } else { 0o022 };
        (mode & others != 0).then_some(Exposure::Mode(mode))
    }

    /// The command that ends it.
    pub fn remedy(self, path: &Path) -> String {
        match self {
            Exposure::Owner(_) => pasteable(&["chown", "root", &path.to_string_lossy()]),
            Exposure::Mode(_) => pasteable(&["chmod", "go-w", &path.to_string_lossy()]),
        }
    }
}

impl fmt::Display for Exposure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exposure::Owner(user) => write!(f, "it belongs to user {user}, who may change it"),
            Exposure::Mode(mode) => write!(f, "others may write it (mode {mode:04o})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Exposure::{self, Mode, Owner};

    #[test]
    fn only_root_and_we_may_be_able_to_change_it() {
        let file = |owner, mode| Exposure::judge(owner, mode, false, 7);
        let directory = |owner, mode| Exposure::judge(owner, mode, true, 7);
        for fine in [((0, 0), 0o644), ((7, 7), 0o600), ((0, 50), 0o640), ((0, 0), 0o664), ((7, 7), 0o644)] {
            assert_eq!((file(fine.0, fine.1), directory(fine.0, fine.1)), (None, None), "{fine:?}");
        }
        assert_eq!(file((8, 0), 0o600), Some(Owner(8)));
        assert_eq!(file((0, 50), 0o660), Some(Mode(0o660)));
        assert_eq!(file((0, 0), 0o646), Some(Mode(0o646)));
        assert_eq!(file((0, 0), 0o1646), Some(Mode(0o1646)), "a file is not sticky");
        assert_eq!(directory((0, 0), 0o777), Some(Mode(0o777)));
        assert_eq!(directory((0, 0), 0o1777), None);
        assert_eq!(directory((8, 0), 0o1777), Some(Owner(8)));
    }

    #[test]
    fn it_is_told_who_may_change_it() {
        assert_eq!(Owner(8).to_string(), "it belongs to user 8, who may change it");
        assert_eq!(Mode(0o66).to_string(), "others may write it (mode 0066)");
    }

    #[test]
    fn the_remedy_is_for_that_path_whatever_its_name_is() {
        let path = Path::new("/srv/it's; reboot");
        assert_eq!(Mode(0o666).remedy(path), r"chmod go-w '/srv/it'\''s; reboot'");
        assert_eq!(Owner(8).remedy(path), r"chown root '/srv/it'\''s; reboot'");
    }
}
