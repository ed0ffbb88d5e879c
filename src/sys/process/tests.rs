use super::{DEFAULT_PATH, Finished, Run, RunError, child_env};
use crate::model::deadline::Deadline;
use crate::sys::ancestry::{self, ProcessId};
use std::ffi::OsString;
use std::thread;
use std::time::{Duration, Instant};

fn argv(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn run_for(words: &[&str], budget: Duration) -> Result<Finished, RunError> {
    Run::new(&argv(words), Deadline::after(budget)).run()
}

fn run(words: &[&str]) -> Result<Finished, RunError> {
    run_for(words, Duration::from_secs(60))
}

/// Whether it dies within a bounded wait: SIGKILL takes effect soon, not at once.
fn is_dead_soon(process: &ProcessId) -> bool {
    let limit = Deadline::after(Duration::from_secs(10));
    while ancestry::is_alive(process) {
        if limit.has_passed() {
            return false;
        }
        thread::yield_now();
    }
    true
}

#[test]
fn status_and_both_streams_come_back_in_order() {
    let done = run(&["sh", "-c", "echo one; echo two >&2; echo three; exit 3"]).unwrap();
    assert_eq!(done.status.code(), Some(3));
    assert_eq!(done.output, "one\ntwo\nthree");
}

#[test]
fn words_reach_the_program_as_they_are() {
    let done = run(&["printf", "%s|", "a b", "$HOME", "*", ";id", ""]).unwrap();
    assert_eq!(done.output, "a b|$HOME|*|;id||");
}

#[test]
fn the_input_is_empty() {
    assert_eq!(run(&["cat"]).unwrap().output, "");
}

#[test]
fn the_whole_group_is_killed_at_the_deadline() {
    let words = ["sh", "-c", "sleep 300 & echo $!; wait"];
    let Err(RunError::Deadline { output, took, .. }) = run_for(&words, Duration::from_secs(3)) else {
        panic!("it was not stopped");
    };
    assert!(took < Duration::from_secs(10), "{took:?}");
    let grandchild: i32 = output.parse().unwrap();
    // Gone already is as good; what matters is that the number is not that sleep any more.
    if let Some(process) = ancestry::process(grandchild) {
        assert!(is_dead_soon(&process), "the grandchild {grandchild} lives on");
    }
}

#[test]
fn a_grandchild_that_holds_the_output_open_does_not_hang_us_and_lives_on() {
    let begun = Instant::now();
    let done = run(&["sh", "-c", "sleep 300 & echo $!"]).unwrap();
    let took = begun.elapsed();
    let daemon = ancestry::process(done.output.parse().unwrap()).expect("a daemon that was started is not killed");
    assert!(ancestry::is_alive(&daemon));
    ancestry::terminate(&daemon).unwrap();
    assert!(done.status.success());
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn a_flood_is_capped_and_its_end_is_kept() {
    let words = argv(&["sh", "-c", "yes 0123456789 | head -c 5000000; echo; echo the end"]);
    let done = Run::new(&words, Deadline::after(Duration::from_secs(60))).run().unwrap();
    assert!(done.output.ends_with("\nthe end"), "{}", done.output);
    assert!(done.output.len() < super::OUTPUT_CAP + 100, "{}", done.output.len());
    assert!(done.output.contains("493"), "what was dropped is said: {}", done.output);
}

#[test]
fn an_endless_flood_ends_at_the_deadline() {
    let Err(RunError::Deadline { output, took, .. }) = run_for(&["yes"], Duration::from_millis(200)) else {
        panic!("it was not stopped");
    };
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(output.len() <= super::OUTPUT_CAP + 100);
}

#[test]
fn a_program_that_closes_its_output_is_still_waited_for() {
    let done = run(&["sh", "-c", "exec >&- 2>&-; sleep 0.2; exit 4"]).unwrap();
    assert_eq!(done.status.code(), Some(4));
}

#[test]
fn escapes_in_the_output_are_inert() {
    let done = run(&["printf", "\\033[31mred\\nline\\377"]).unwrap();
    assert_eq!(done.output, "\\u{1b}[31mred\nline\u{fffd}");
}

#[test]
fn a_missing_program_is_told_apart_and_no_program_is_an_error() {
    assert!(matches!(run(&["/no/such/program"]), Err(RunError::NotFound { .. })));
    assert!(matches!(run(&["no-such-program-anywhere"]), Err(RunError::NotFound { .. })));
    assert!(matches!(run(&[]), Err(RunError::Io { .. })));
    assert!(matches!(run(&["/etc"]), Err(RunError::Io { .. })));
    assert!(matches!(run(&["echo", "a\0b"]), Err(RunError::Io { .. })));
}

#[test]
fn the_environment_is_cleaned_and_has_a_path() {
    let own = |pairs: &[(&str, &str)]| {
        let pairs: Vec<(OsString, OsString)> = pairs.iter().map(|&(n, v)| (n.into(), v.into())).collect();
        child_env(pairs.into_iter())
    };
    let leaked = own(&[("CERTBOT_TOKEN", "x"), ("RENEWED_LINEAGE", "x"), ("HOME", "/root"), ("PATH", "/bin")]);
    let completed = "/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin";
    assert_eq!(leaked, [("HOME".into(), "/root".into()), ("PATH".into(), completed.into())]);
    let chosen = [("SSH_ORIGINAL_COMMAND", "x"), ("LC_ALL", "x"), ("LANG", "x"), ("LANGUAGE", "x"), ("PATH", "/bin")];
    assert_eq!(own(&chosen), [("PATH".into(), completed.into())]);
    assert_eq!(own(&[("PATH", DEFAULT_PATH)]), [("PATH".into(), DEFAULT_PATH.into())]);
    assert_eq!(own(&[]), [("PATH".into(), DEFAULT_PATH.into())]);
    assert_eq!(own(&[("PATH", "")]), [("PATH".into(), DEFAULT_PATH.into())]);
}

#[test]
fn programs_of_many_threads_do_not_mix() {
    thread::scope(|scope| {
        let running: Vec<_> =
            (0..8).map(|code| scope.spawn(move || run(&["sh", "-c", &format!("echo {code}; exit {code}")]))).collect();
        for (code, running) in running.into_iter().enumerate() {
            let done = running.join().unwrap().unwrap();
            assert_eq!(done.output, code.to_string());
            assert_eq!(done.status.code(), i32::try_from(code).ok());
        }
    });
}
