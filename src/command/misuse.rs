//! A command line that says nothing to do: what is wrong with it, or the help that was asked for.

use std::ffi::OsString;
use std::process;

use clap::{ArgMatches, CommandFactory, Error};

use crate::cli::Cli;
use crate::command::check::{self, Verdict};
use crate::model::exit_code::ExitCode;

/// Says it, and gives the exit code.
pub fn report(error: &Error, arguments: impl IntoIterator<Item = OsString>) -> process::ExitCode {
    let code = code(error, arguments);
    if code == Verdict::Unknown as u8 {
        check::unknown(error.to_string().lines().next().unwrap_or_default());
    }
    // A reader that is gone is no failure.
    _ = error.print();
    process::ExitCode::from(code)
}

/// clap's own codes, but for `check`: monitoring would take its 2 for critical.
fn code(error: &Error, arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let words: Vec<_> = arguments.into_iter().collect();
    let is_check = || {
        let read = Cli::command().ignore_errors(true).try_get_matches_from(&words).ok();
        // clap reads no further than to an option that it does not know.
        let first =
            || words.iter().find_map(|word| Cli::command().find_subcommand(word).map(|it| it.get_name().to_owned()));
        let named = read.as_ref().and_then(ArgMatches::subcommand_name).map(str::to_owned);
        named.or_else(first).is_some_and(|command| command == "check")
    };
    match error.exit_code() {
        0 => 0,
        _ if is_check() => Verdict::Unknown as u8,
        _ => ExitCode::Usage as u8,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn a_wrong_command_line_of_check_is_unknown_to_monitoring_and_of_others_a_usage_error() {
        for (words, wanted) in [
            ("check --warning", 3),
            ("check --warning soon", 3),
            ("check --bogus", 3),
            ("check ../../etc", 3),
            ("--log /dev/null check --bogus", 3),
            ("--confg /dev/null check", 3),
            ("--confg /dev/null rehearse check", 2),
            ("check --help", 0),
            ("--version", 0),
            ("status --bogus", 2),
            ("resync --peer check --bogus", 2),
            ("rehearse check --bogus", 2),
            ("checks", 2),
            ("", 2),
        ] {
            let arguments = || ["certcast"].into_iter().chain(words.split_whitespace()).map(OsString::from);
            let error = Cli::try_parse_from(arguments()).unwrap_err();
            assert_eq!(code(&error, arguments()), wanted, "{words}");
        }
    }
}
