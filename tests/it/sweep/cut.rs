//! Where a program is cut: the n-th call of one system call, whichever of its threads makes it.

use std::collections::HashMap;
use std::fmt;

use nix::errno::Errno;
use nix::libc;

/// What happens at the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// The process is killed before the call is done.
    Kill,
    /// This call fails.
    Once(Errno),
    /// This call and all of its kind after it fail: a disk that stays full.
    FromNowOn(Errno),
}

/// A system call, by the kernel's number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Call(pub i64);

/// One cut.
#[derive(Clone, Debug)]
pub struct Cut {
    /// At this call.
    pub call: Call,
    /// When it is made for the n-th time.
    pub nth: usize,
    /// What happens.
    pub blow: Blow,
    /// Which of all calls that was when they were recorded.
    pub at: usize,
}

macro_rules! named {
    ($($name:ident)*) => { &[$((stringify!($name), Call(libc::$name))),*] };
}

/// The calls that bring something onto a disk.
const WRITES: &[(&str, Call)] = named!(
    SYS_write SYS_fsync SYS_fdatasync SYS_rename SYS_renameat SYS_renameat2
);

/// The other calls through which a disk says that it is full, broken or read-only.
const DISK: &[(&str, Call)] = named!(
    SYS_openat SYS_openat2 SYS_linkat SYS_symlinkat SYS_fchmod SYS_fchown SYS_unlink SYS_unlinkat SYS_mkdir SYS_mkdirat
    SYS_ftruncate SYS_flock SYS_getdents64
);

/// Calls that change nothing that another process could see: a kill there leaves what a kill at the next call leaves
/// that does.
const SILENT: &[(&str, Call)] = named!(
    SYS_read SYS_pread64 SYS_readv SYS_lseek SYS_stat SYS_fstat SYS_lstat SYS_newfstatat SYS_statx SYS_statfs
    SYS_fstatfs SYS_access SYS_faccessat2 SYS_readlink SYS_readlinkat SYS_getcwd SYS_getdents64 SYS_fcntl SYS_dup
    SYS_dup2 SYS_dup3 SYS_ioctl SYS_uname
    SYS_mmap SYS_munmap SYS_mremap SYS_mprotect SYS_madvise SYS_brk SYS_futex SYS_sched_yield SYS_sched_getaffinity
    SYS_clock_gettime SYS_clock_nanosleep SYS_nanosleep SYS_gettimeofday SYS_getrandom SYS_poll SYS_ppoll
    SYS_epoll_create1 SYS_epoll_ctl SYS_epoll_wait SYS_epoll_pwait SYS_eventfd2 SYS_timerfd_create SYS_timerfd_settime
    SYS_rt_sigaction SYS_rt_sigprocmask SYS_rt_sigreturn SYS_sigaltstack SYS_arch_prctl SYS_prctl SYS_prlimit64
    SYS_rseq SYS_set_robust_list SYS_set_tid_address SYS_getpid SYS_gettid SYS_getppid SYS_getuid SYS_geteuid
    SYS_getgid SYS_getegid SYS_getpgrp SYS_umask SYS_pipe2 SYS_socket SYS_bind SYS_connect SYS_getsockname
    SYS_getpeername SYS_getsockopt SYS_setsockopt SYS_recvfrom SYS_recvmsg SYS_sendto SYS_sendmsg SYS_shutdown
    SYS_sched_getparam SYS_sched_getscheduler SYS_getrusage SYS_sysinfo SYS_membarrier
);

/// The rest that is known by name.
const OTHERS: &[(&str, Call)] = named!(
    SYS_close SYS_clone SYS_clone3 SYS_vfork SYS_fork SYS_execve SYS_exit SYS_exit_group SYS_wait4 SYS_waitid SYS_kill
    SYS_tgkill SYS_mount SYS_umount2 SYS_unshare SYS_setns SYS_open SYS_chmod SYS_chown SYS_fchmodat SYS_fchownat
    SYS_utimensat SYS_setpgid SYS_chdir SYS_fchdir SYS_pidfd_open SYS_writev SYS_socketpair SYS_close_range
);

/// Whether what was written is on the disk.
pub const FSYNC: Call = Call(libc::SYS_fsync);
/// The same of a file's content alone.
pub const FDATASYNC: Call = Call(libc::SYS_fdatasync);
/// Of a directory.
pub const MKDIRAT: Call = Call(libc::SYS_mkdirat);
/// With the flags for an exchange.
pub const RENAMEAT2: Call = Call(libc::SYS_renameat2);
/// What a shell does between its commands.
pub const WAIT4: Call = Call(libc::SYS_wait4);
/// Between the links that are renamed one by one.
pub const RENAMEAT: Call = Call(libc::SYS_renameat);
/// To a file.
pub const WRITE: Call = Call(libc::SYS_write);
/// To a pipe, an event or the like; counted apart, for no disk makes it fail. The kernel has no such number.
pub const WRITE_ELSEWHERE: Call = Call(-libc::SYS_write);

/// How calls fail.
#[derive(Debug)]
pub struct Failures {
    /// Those that bring something onto a disk.
    writes: &'static [Blow],
    /// The other ones. Our program tells none of these errors from another, so fewer will do.
    others: &'static [Blow],
}

/// A disk that is full for a moment or for good, one that breaks once or for good, one that was mounted anew, a quota.
pub const FAILURES: Failures = Failures {
    writes: &[
        Blow::Once(Errno::ENOSPC),
        Blow::FromNowOn(Errno::ENOSPC),
        Blow::Once(Errno::EIO),
        Blow::FromNowOn(Errno::EIO),
        Blow::FromNowOn(Errno::EROFS),
        Blow::Once(Errno::EDQUOT),
    ],
    others: &[Blow::FromNowOn(Errno::ENOSPC), Blow::Once(Errno::EIO)],
};

/// While a crash is being recovered from.
pub const FAILURES_AGAIN: Failures = Failures { writes: FAILURES.others, others: FAILURES.others };

/// A disk that fails once to take what was written.
pub const ONE_FAILURE: Failures = Failures { writes: &[Blow::Once(Errno::EIO)], others: &[] };

/// None: only kills.
pub const NO_FAILURES: Failures = Failures { writes: &[], others: &[] };

impl Call {
    fn is_in(self, list: &[(&str, Call)]) -> bool {
        list.iter().any(|(_, call)| *call == self)
    }

    /// Whether nothing outside of the process shows whether it was made.
    pub fn is_silent(self) -> bool {
        self.is_in(SILENT)
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match [WRITES, DISK, SILENT, OTHERS].concat().iter().find(|(_, call)| call == self) {
            Some((name, _)) => f.write_str(name.trim_start_matches("SYS_")),
            None if *self == WRITE_ELSEWHERE => f.write_str("write-to-pipe"),
            None => write!(f, "call{}", self.0),
        }
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}#{} {:?}", self.call, self.nth, self.blow)
    }
}

/// Every place where a recorded run can be cut: each of its calls by a kill, those of the disk by failures too. A call
/// that always fails changes nothing: a kill there is a kill at the next one.
pub fn places(calls: &[Call], never: Option<Call>, failures: &Failures) -> Vec<Cut> {
    let mut counts: HashMap<Call, usize> = HashMap::new();
    let mut kills = Vec::new();
    for (at, &call) in calls.iter().enumerate() {
        let nth = counts.entry(call).or_default();
        *nth += 1;
        kills.push(Cut { call, nth: *nth, blow: Blow::Kill, at });
    }
    kills.retain(|cut| Some(cut.call) != never);
    let failing = |list: &'static [(&str, Call)], blows: &'static [Blow]| {
        let cuts: Vec<_> = kills.iter().filter(|cut| cut.call.is_in(list)).collect();
        blows.iter().flat_map(move |&blow| cuts.clone().into_iter().map(move |cut| Cut { blow, ..cut.clone() }))
    };
    let (writes, others) = (failing(WRITES, failures.writes), failing(DISK, failures.others));
    kills.iter().cloned().chain(writes).chain(others).collect()
}
