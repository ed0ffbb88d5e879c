//! A program whose system calls are counted, and of which some are not let through.
//!
//! It is done with ptrace, as strace does it, but counted over all threads together: strace counts each thread for
//! itself, so that a call of a thread could never be cut of which the main thread has made as many before. Programs that
//! are started are not followed. Calls and their results are read and written in the registers of an `x86_64`.

use std::collections::HashMap;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Event, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::cut::{Blow, Call, Cut, FDATASYNC, FSYNC, MKDIRAT, RENAMEAT, RENAMEAT2, WRITE, WRITE_ELSEWHERE};

/// The kernel's number for a stop at the entry of a call, of a thread that has one.
const ENTRY: u8 = libc::PTRACE_SYSCALL_INFO_ENTRY;

/// What is done to a program's calls.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Calls that always fail.
    pub never: Option<(Call, Errno)>,
    /// The one call that is cut.
    pub cut: Option<Cut>,
    /// What is cut is not done and said to be, as to a program that does not look.
    pub is_blind: bool,
}

/// What was seen of a program.
#[derive(Debug, Default)]
pub struct Followed {
    /// Its calls in their order.
    pub calls: Vec<Call>,
    /// Whether it came to the call that was to be cut.
    pub is_cut: bool,
    /// What it was not let write or sync before it renamed anything staged.
    pub unwritten: Vec<PathBuf>,
}

/// Follows a program from its next `execve` to its end. `go` is called when it is held, and makes it go on. To be called in
/// a thread that has no children of its own.
pub fn follow(program: Pid, rules: &Rules, go: impl FnOnce()) -> Followed {
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(program, options).unwrap();
    ptrace::interrupt(program).unwrap();
    go();
    let mut tracer = Tracer {
        program,
        rules,
        begun: false,
        counts: HashMap::new(),
        is_switched: false,
        made: None,
        followed: Followed::default(),
    };
    let mut answers = HashMap::new();
    loop {
        match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)) {
            Err(Errno::EINTR) => {}
            Err(Errno::ECHILD) => return tracer.followed,
            Err(error) => panic!("cannot wait for {program}: {error}"),
            Ok(WaitStatus::PtraceSyscall(thread)) => {
                if let Some(answer) = answers.remove(&thread) {
                    unless_dead(tell(thread, answer));
                } else if is_entry(thread) {
                    let answer = tracer.entered(thread);
                    answers.extend(answer.map(|answer| (thread, answer)));
                }
                unless_dead(ptrace::syscall(thread, None));
            }
            Ok(WaitStatus::PtraceEvent(thread, _, event)) => {
                tracer.begun |= event == Event::PTRACE_EVENT_EXEC as i32;
                unless_dead(ptrace::syscall(thread, None));
            }
            Ok(WaitStatus::Stopped(thread, signal)) => unless_dead(ptrace::syscall(thread, signal)),
            Ok(_) => {}
        }
    }
}

struct Tracer<'r> {
    program: Pid,
    rules: &'r Rules,
    begun: bool,
    counts: HashMap<Call, usize>,
    is_switched: bool,
    /// The directory that was made last, until the one it is in is synced.
    made: Option<PathBuf>,
    followed: Followed,
}

impl Tracer<'_> {
    /// What a thread is told of the call that it is about to make, if that is not to be made.
    fn entered(&mut self, thread: Pid) -> Option<i64> {
        let mut registers = alive(ptrace::getregs(thread))?;
        if !self.begun {
            return None;
        }
        let call = match Call(registers.orig_rax.cast_signed()) {
            WRITE if !is_on_disk(thread, registers.rdi) => WRITE_ELSEWHERE,
            call => call,
        };
        self.followed.calls.push(call);
        self.is_switched |= [RENAMEAT, RENAMEAT2].contains(&call) && text(thread, registers.rsi).contains(".stage-");
        if call == MKDIRAT {
            self.made = opened(thread, registers.rdi).map(|parent| parent.join(text(thread, registers.rsi)));
        }
        let written = [WRITE, FSYNC, FDATASYNC].contains(&call).then(|| self.written(thread, registers.rdi));
        let count = self.counts.entry(call).or_default();
        *count += 1;
        let cut = self.rules.cut.as_ref().filter(|cut| cut.call == call);
        let blow = cut.and_then(|cut| match cut.blow {
            Blow::FromNowOn(_) if *count >= cut.nth => Some(cut.blow),
            Blow::Kill | Blow::Once(_) if *count == cut.nth => Some(cut.blow),
            _ => None,
        });
        self.followed.is_cut |= blow.is_some();
        let answer = match blow {
            Some(Blow::Kill) => {
                // What is held at the entry of a call does not make it any more.
                unless_dead(kill(self.program, Signal::SIGKILL));
                return None;
            }
            Some(Blow::Once(errno) | Blow::FromNowOn(errno)) => {
                self.followed.unwritten.extend(written.filter(|_| !self.is_switched));
                if self.rules.is_blind { 0 } else { -i64::from(errno as i32) }
            }
            None => -i64::from(self.rules.never.filter(|(never, _)| *never == call)?.1 as i32),
        };
        // No call has this number: the kernel makes none.
        registers.orig_rax = u64::MAX;
        alive(ptrace::setregs(thread, registers))?;
        Some(answer)
    }

    /// What a call brings onto the disk: a file, or a directory for the sake of the one that was made in it.
    fn written(&mut self, thread: Pid, descriptor: u64) -> PathBuf {
        let path = opened(thread, descriptor).unwrap_or_default();
        self.made.take_if(|made| made.parent() == Some(&path)).unwrap_or(path)
    }
}

/// No disk has pipes and the like.
fn is_on_disk(thread: Pid, descriptor: u64) -> bool {
    opened(thread, descriptor).is_some_and(|path| path.is_absolute() && !path.starts_with("/dev"))
}

fn opened(thread: Pid, descriptor: u64) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{thread}/fd/{descriptor}")).ok()
}

/// What a thread's pointer points to, as far as a file name can go.
fn text(thread: Pid, at: u64) -> String {
    let mut bytes = [0; 255];
    let memory = std::fs::File::open(format!("/proc/{thread}/mem"));
    let length = memory.and_then(|memory| memory.read_at(&mut bytes, at)).unwrap_or_default();
    let end = bytes.iter().take(length).position(|byte| *byte == 0).unwrap_or(length);
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn is_entry(thread: Pid) -> bool {
    alive(ptrace::syscall_info(thread)).is_some_and(|info| info.op == ENTRY)
}

fn tell(thread: Pid, answer: i64) -> nix::Result<()> {
    let mut registers = ptrace::getregs(thread)?;
    registers.rax = answer.cast_unsigned();
    ptrace::setregs(thread, registers)
}

/// A thread may die of another one's doing at any moment, stopped or not.
fn alive<T>(result: nix::Result<T>) -> Option<T> {
    match result {
        Err(Errno::ESRCH) => None,
        result => Some(result.unwrap()),
    }
}

fn unless_dead(result: nix::Result<()>) {
    _ = alive(result);
}
