//! A program whose system calls are counted, and of which some are not let through.
//!
//! It is done with ptrace, as strace does it, but counted over all threads together: strace counts each thread for
//! itself, so that a call of a thread could never be cut of which the main thread has made as many before. Programs that
//! are started are not followed.

use std::collections::HashMap;

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Event, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::cut::{Blow, Call, Cut};

/// The kernel's number for a stop at the entry of a call, of a thread that has one.
const ENTRY: u8 = libc::PTRACE_SYSCALL_INFO_ENTRY;

/// What is done to a program's calls.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Calls that always fail.
    pub never: Option<(Call, Errno)>,
    /// The one call that is cut.
    pub cut: Option<Cut>,
}

/// What was seen of a program.
#[derive(Debug, Default)]
pub struct Followed {
    /// Its calls in their order.
    pub calls: Vec<Call>,
    /// Whether it came to the call that was to be cut.
    pub is_cut: bool,
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
    let mut tracer = Tracer { program, rules, begun: false, counts: HashMap::new(), followed: Followed::default() };
    let mut failing = HashMap::new();
    loop {
        match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)) {
            Err(Errno::EINTR) => {}
            Err(Errno::ECHILD) => return tracer.followed,
            Err(error) => panic!("cannot wait for {program}: {error}"),
            Ok(WaitStatus::PtraceSyscall(thread)) => {
                if let Some(errno) = failing.remove(&thread) {
                    unless_dead(fail(thread, errno));
                } else if is_entry(thread) {
                    let refused = tracer.entered(thread);
                    failing.extend(refused.map(|errno| (thread, errno)));
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
    followed: Followed,
}

impl Tracer<'_> {
    /// What the call of a thread that is about to make it is to fail with, if it is.
    fn entered(&mut self, thread: Pid) -> Option<Errno> {
        let mut registers = alive(ptrace::getregs(thread))?;
        let call = Call(registers.orig_rax.cast_signed());
        if !self.begun {
            return None;
        }
        self.followed.calls.push(call);
        let count = self.counts.entry(call).or_default();
        *count += 1;
        let cut = self.rules.cut.as_ref().filter(|cut| cut.call == call);
        let blow = cut.and_then(|cut| match cut.blow {
            Blow::FromNowOn(_) if *count >= cut.nth => Some(cut.blow),
            Blow::Kill | Blow::Once(_) if *count == cut.nth => Some(cut.blow),
            _ => None,
        });
        self.followed.is_cut |= blow.is_some();
        let errno = match blow {
            Some(Blow::Kill) => {
                // What is held at the entry of a call does not make it any more.
                unless_dead(kill(self.program, Signal::SIGKILL));
                return None;
            }
            Some(Blow::Once(errno) | Blow::FromNowOn(errno)) => errno,
            None => self.rules.never.filter(|(never, _)| *never == call)?.1,
        };
        // No call has this number: the kernel makes none.
        registers.orig_rax = u64::MAX;
        alive(ptrace::setregs(thread, registers))?;
        Some(errno)
    }
}

fn is_entry(thread: Pid) -> bool {
    alive(ptrace::syscall_info(thread)).is_some_and(|info| info.op == ENTRY)
}

fn fail(thread: Pid, errno: Errno) -> nix::Result<()> {
    let mut registers = ptrace::getregs(thread)?;
    registers.rax = (-i64::from(errno as i32)).cast_unsigned();
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
