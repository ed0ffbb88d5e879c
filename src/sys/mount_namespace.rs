//! A view of the file system that only one piece of work has.
//!
//! The mounts are made by a thread of its own in a mount namespace of its own. Nothing outside
//! sees them at any moment, and they end with the thread: also after a panic, a kill or a power
//! cut there is nothing to undo.

use crate::model::escape::escaped;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;

/// Why the work was not done; it was not begun.
#[derive(Debug, thiserror::Error)]
pub enum OverlayError {
    /// We may not make namespaces or mounts here: not root, a container without that right, or a
    /// system where they are switched off.
    #[error("no private view of the file system is allowed here (CAP_SYS_ADMIN, user.max_mnt_namespaces)")]
    NotPermitted,
    /// The thread or the namespace could not be made.
    #[error("cannot make a private view of the file system")]
    Namespace(#[source] io::Error),
    /// One of the mounts failed.
    #[error("cannot show {} in place of {}", escaped(&from.to_string_lossy()), escaped(&to.to_string_lossy()))]
    Bind {
        /// What should be seen.
        from: PathBuf,
        /// Where.
        to: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Does the work where each source (the first of a pair) is seen in place of its target.
///
/// Programs and threads that the work starts see the same. They must end with the work: one that
/// lives on keeps its view.
pub fn with_overlaid<T: Send>(
    binds: &[(PathBuf, PathBuf)],
    work: impl FnOnce() -> T + Send,
) -> Result<T, OverlayError> {
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("overlay".into())
            .spawn_scoped(scope, || overlay(binds).map(|()| work()))
            .map_err(OverlayError::Namespace)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn overlay(binds: &[(PathBuf, PathBuf)]) -> Result<(), OverlayError> {
    // CLONE_FS first: threads share their working directory, and such a thread cannot leave.
    unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).map_err(namespace_error)?;
    let none = None::<&str>;
    // Without this a shared mount, as systemd makes them all, would carry our mounts outside.
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).map_err(namespace_error)?;
    for (from, to) in binds {
        mount(Some(from), to, none, MsFlags::MS_BIND, none).map_err(|errno| bind_error(errno, from, to))?;
    }
    // The working directory is the old view's; taken anew, relative paths see the mounts too.
    let here = std::env::current_dir().unwrap_or_else(|_| Path::new("/").to_owned());
    std::env::set_current_dir(&here).or_else(|_| std::env::set_current_dir("/")).map_err(OverlayError::Namespace)
}

/// EACCES is how security modules refuse a mount to root.
fn bind_error(errno: Errno, from: &Path, to: &Path) -> OverlayError {
    match errno {
        Errno::EPERM | Errno::EACCES => OverlayError::NotPermitted,
        errno => OverlayError::Bind { from: from.to_owned(), to: to.to_owned(), source: errno.into() },
    }
}

/// EACCES is how security modules refuse a mount to root; ENOSPC, that `user.max_mnt_namespaces` is
/// reached, which is how some switch namespaces off; EINVAL and ENOSYS, that the kernel has none.
fn namespace_error(errno: Errno) -> OverlayError {
    match errno {
        Errno::EPERM | Errno::EACCES | Errno::ENOSPC | Errno::EINVAL | Errno::ENOSYS => OverlayError::NotPermitted,
        errno => OverlayError::Namespace(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::{OverlayError, bind_error, namespace_error, with_overlaid};
    use crate::model::deadline::Deadline;
    use crate::sys::process::Run;
    use nix::errno::Errno;
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    const NEEDS_ROOT: &str = "this test needs root with CAP_SYS_ADMIN; without it nothing is shown";

    fn old_and_new() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let temp = tempfile::tempdir().unwrap();
        let (old, new) = (temp.path().join("old"), temp.path().join("new"));
        for dir in [&old, &new] {
            fs::create_dir(dir).unwrap();
            fs::write(dir.join("which"), dir.file_name().unwrap().to_str().unwrap()).unwrap();
        }
        (temp, old, new)
    }

    #[test]
    fn the_work_and_its_programs_see_the_overlay_and_nobody_else_does() {
        let (_temp, old, new) = old_and_new();
        let seen = old.join("which");
        let (ask, asked) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        // A thread from before the overlay: what a reader elsewhere sees while it is there.
        let outside = thread::spawn({
            let seen = seen.clone();
            move || {
                while asked.recv().is_ok() {
                    tell.send((fs::read_to_string(&seen).unwrap(), fs::read_to_string("/proc/thread-self/mountinfo")))
                        .unwrap();
                }
            }
        });
        let (in_thread, in_program, (elsewhere, mounts)) = with_overlaid(&[(new, old.clone())], move || {
            ask.send(()).unwrap();
            let elsewhere = told.recv().unwrap();
            let argv = ["cat".to_owned(), seen.to_str().unwrap().to_owned()];
            let program = Run::new(&argv, Deadline::after(Duration::from_secs(20))).run().unwrap();
            (fs::read_to_string(&seen).unwrap(), program.output, elsewhere)
        })
        .expect(NEEDS_ROOT);
        outside.join().unwrap();
        assert_eq!(in_thread, "new");
        assert_eq!(in_program, "new");
        assert_eq!(elsewhere, "old");
        assert!(!mounts.unwrap().contains(old.to_str().unwrap()));
        assert_eq!(fs::read_to_string(old.join("which")).unwrap(), "old");
    }

    #[test]
    fn a_bind_that_fails_is_named_and_the_work_is_not_done() {
        let (temp, old, _new) = old_and_new();
        let absent = temp.path().join("absent");
        let answer = with_overlaid(&[(absent.clone(), old)], || panic!("the work must not begin"));
        match answer {
            Err(OverlayError::Bind { from, .. }) => assert_eq!(from, absent),
            Err(other) => panic!("{NEEDS_ROOT}: {other}"),
            Ok(()) => unreachable!(),
        }
    }

    #[test]
    fn a_system_without_namespaces_is_no_failure() {
        for errno in [Errno::EPERM, Errno::EACCES, Errno::ENOSPC, Errno::EINVAL, Errno::ENOSYS] {
            assert!(matches!(namespace_error(errno), OverlayError::NotPermitted), "{errno}");
        }
        assert!(matches!(namespace_error(Errno::ENOMEM), OverlayError::Namespace(_)));
    }

    #[test]
    fn a_mount_that_is_not_allowed_is_no_failure_and_any_other_is() {
        let error = |errno| bind_error(errno, Path::new("/from"), Path::new("/to"));
        assert!([Errno::EPERM, Errno::EACCES].into_iter().all(|no| matches!(error(no), OverlayError::NotPermitted)));
        assert!(matches!(error(Errno::ENOENT), OverlayError::Bind { .. }));
    }

    #[test]
    fn a_panic_of_the_work_is_passed_on() {
        let caught = std::panic::catch_unwind(|| with_overlaid(&[], || panic!("from the work")));
        let panic = caught.map(|answer| answer.map_err(|error| error.to_string())).expect_err(NEEDS_ROOT);
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"from the work"));
    }
}
