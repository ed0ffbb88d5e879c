//! The manual and the completions, by groff's and the shells' own judgement.
#![cfg(test)]

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn run(program: &str, words: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Output {
    let ran = Command::new(program).args(words).output();
    ran.unwrap_or_else(|error| panic!("{program}: {error}; ./tests/run installs it"))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

fn certcast(words: &[&str]) -> Output {
    run(env!("CARGO_BIN_EXE_certcast"), words)
}

/// The commands that `--help` lists.
fn commands() -> Vec<String> {
    let help = said(&certcast(&["--help"]));
    let (_, list) = help.split_once("Commands:\n").unwrap();
    let lines = list.lines().map_while(|line| line.strip_prefix("  "));
    // What stands further in goes on with the line before.
    lines
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| Some(line.split_whitespace().next()?.to_owned()))
        .collect()
}

/// A script that completes certcast, in a file.
fn script(shell: &str, home: &Path) -> String {
    let path = home.join(format!("_certcast.{shell}"));
    fs::write(&path, certcast(&["completions", shell]).stdout).unwrap();
    path.display().to_string()
}

#[test]
fn every_command_has_a_page_with_which_groff_finds_no_fault() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().display().to_string();
    assert!(certcast(&["man", &directory]).status.success());
    for command in commands().iter().filter(|command| *command != "help") {
        let page = home.path().join(format!("certcast-{command}.1")).display().to_string();
        let checked = run("groff", ["-man", "-Tutf8", "-ww", "-z", &page]);
        assert!(checked.status.success() && checked.stderr.is_empty(), "{command}: {}", said(&checked));
        let shown = said(&run("groff", ["-man", "-Tascii", "-P-cbou", &page]));
        assert!(shown.contains("NAME") && shown.contains(&format!("certcast-{command}")), "{shown}");
    }
    assert!(home.path().join("certcast.1").is_file());

    let nowhere = certcast(&["man", "/nowhere"]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(said(&nowhere).starts_with("certcast: cannot write the manual to /nowhere: "), "{}", said(&nowhere));
}

#[test]
fn each_shell_completes_a_command_and_its_options() {
    let home = tempfile::tempdir().unwrap();
    let bash = "source $0; COMP_WORDS=(certcast \"$@\"); COMP_CWORD=$#; _certcast certcast \"${!#}\" \"\"; \
                printf '%s\\n' \"${COMPREPLY[@]}\"";
    let file = script("bash", home.path());
    let complete = |words: &[&str]| said(&run("bash", ["-c", bash, &file].iter().chain(words)));
    assert_eq!(complete(&["reh"]), "rehearse\n");
    assert_eq!(complete(&["resync", "--dry"]), "--dry-run\n");

    let file = script("fish", home.path());
    let fish = |line: &str| said(&run("fish", ["-c", &format!("source {file}; complete -C '{line}'")]));
    assert!(fish("certcast reh").starts_with("rehearse\t"), "{}", fish("certcast reh"));
    assert!(fish("certcast resync --dry").starts_with("--dry-run\t"), "{}", fish("certcast resync --dry"));

    let file = script("zsh", home.path());
    let checked = run("zsh", ["-n", &file]);
    assert!(checked.status.success() && checked.stderr.is_empty(), "{}", said(&checked));
    let defined =
        run("zsh", ["-c", "autoload -Uz compinit; compinit -u -D; source $0; print $_comps[certcast]", &file]);
    assert_eq!(said(&defined), "_certcast\n");
}
