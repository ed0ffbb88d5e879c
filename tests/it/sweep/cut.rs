//! Where a program is cut: the n-th call of one system call, by strace.

use std::collections::BTreeMap;
use std::fmt;

/// What happens at the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process is killed before the call is done.
    Kill,
    /// This call fails.
    Once(&'static str),
    /// This call and all of its kind after it fail: a disk that stays full.
    FromNowOn(&'static str),
}

/// One cut.
#[derive(Clone, Debug)]
pub struct Cut {
    call: String,
    nth: usize,
    /// Threads and programs too; each counts for itself.
    follow: bool,
    fault: Fault,
}

/// The calls through which a disk says that it is full, broken or read-only.
const DISK: [&str; 19] = [
    "write",
    "fsync",
    "fdatasync",
    "rename",
    "renameat",
    "renameat2",
    "openat",
    "openat2",
    "linkat",
    "symlinkat",
    "fchmod",
    "fchown",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "ftruncate",
    "flock",
    "getdents64",
];
/// A disk that is full for a moment or for good, one that breaks once or for good, one that was mounted anew, a quota.
pub const FAILURES: [Fault; 6] = [
    Fault::Once("ENOSPC"),
    Fault::FromNowOn("ENOSPC"),
    Fault::Once("EIO"),
    Fault::FromNowOn("EIO"),
    Fault::FromNowOn("EROFS"),
    Fault::Once("EDQUOT"),
];

/// While a crash is being recovered from.
pub const FAILURES_AGAIN: [Fault; 2] = [Fault::FromNowOn("ENOSPC"), Fault::Once("EIO")];

impl Cut {
    /// Whether it is at this call.
    pub fn is_at(&self, call: &str) -> bool {
        self.call == call
    }

    /// The words for strace.
    pub fn words(&self, no_exchange: bool) -> Vec<String> {
        let Cut { call, nth, .. } = self;
        let fault = match self.fault {
            Fault::Kill => format!("signal=KILL:when={nth}"),
            Fault::Once(error) => format!("error={error}:when={nth}"),
            Fault::FromNowOn(error) => format!("error={error}:when={nth}+"),
        };
        let traced = if no_exchange { format!("renameat2,{call}") } else { call.clone() };
        let mut words = strace(&traced);
        words.extend(self.follow.then(|| "-f".to_owned()));
        words.extend(without_exchange(no_exchange));
        words.extend(["-e".into(), format!("inject={call}:{fault}")]);
        words
    }

    /// Whether it is a kill.
    pub fn kills(&self) -> bool {
        self.fault == Fault::Kill
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{} {:?}", self.call, self.nth, self.fault)?;
        if self.follow { f.write_str(" (threads too)") } else { Ok(()) }
    }
}

fn strace(calls: &str) -> Vec<String> {
    let traced = format!("trace={calls}");
    ["strace", "-qq", "-o", "/dev/null", "-e", &traced].map(str::to_owned).to_vec()
}

fn without_exchange(no_exchange: bool) -> Vec<String> {
    if no_exchange { vec!["-e".into(), "inject=renameat2:error=EINVAL".into()] } else { Vec::new() }
}

/// The words for a run that is not cut.
pub fn uncut(no_exchange: bool) -> Vec<String> {
    if !no_exchange {
        return Vec::new();
    }
    [strace("renameat2"), without_exchange(true)].concat()
}

/// The words for a run whose calls are written to a file.
pub fn recorded(to: &str, no_exchange: bool) -> Vec<String> {
    let words = ["strace", "-f", "-qq", "-o", to].map(str::to_owned).to_vec();
    [words, without_exchange(no_exchange)].concat()
}

/// Every place where a recorded run of the program can be cut, in no order.
pub fn places(record: &str, no_exchange: bool, failures: &[Fault]) -> Vec<Cut> {
    let mut counts: BTreeMap<u32, BTreeMap<&str, usize>> = BTreeMap::new();
    let mut main = None;
    let mut programs = Vec::new();
    for line in record.lines() {
        let Some((id, rest)) = line.split_once(char::is_whitespace) else { continue };
        let Ok(id) = id.parse::<u32>() else { continue };
        let Some((call, _)) = rest.trim_start().split_once('(') else { continue };
        if !call.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            continue;
        }
        if call == "execve" && *main.get_or_insert(id) != id {
            programs.push(id);
        }
        *counts.entry(id).or_default().entry(call).or_default() += 1;
    }
    let own = counts.remove(&main.expect("the record begins with execve")).unwrap();
    let threads = counts.into_iter().filter(|(id, _)| !programs.contains(id)).flat_map(|(_, counts)| counts);
    let mut beyond: BTreeMap<&str, usize> = BTreeMap::new();
    for (call, count) in threads {
        let most = beyond.entry(call).or_default();
        *most = (*most).max(count);
    }
    // A call that always fails changes nothing: a kill there is a kill at the next one.
    let fit = |call: &str| call != "execve" && !(no_exchange && call == "renameat2");
    let mut cuts = Vec::new();
    let cut = |call: &str, nth, follow, fault| Cut { call: call.to_owned(), nth, follow, fault };
    for (&call, &count) in own.iter().filter(|(call, _)| fit(call)) {
        cuts.extend((1..=count).map(|nth| cut(call, nth, false, Fault::Kill)));
    }
    for (&call, &count) in beyond.iter().filter(|(call, _)| fit(call)) {
        let begin = own.get(call).copied().unwrap_or(0) + 1;
        cuts.extend((begin..=count).map(|nth| cut(call, nth, true, Fault::Kill)));
    }
    for (&call, &count) in own.iter().filter(|(call, _)| fit(call) && DISK.contains(call)) {
        for &fault in failures {
            cuts.extend((1..=count).map(|nth| cut(call, nth, false, fault)));
        }
    }
    cuts
}
