//! The transcripts in the help of commands, each of which shows the current output of the tool.
//!
//! A transcript is a file in `codegen/src/cli/transcripts/`. A line that begins with `$ ` is a command, run in a
//! directory with the committed objects; the lines below are its output, including standard error. A command is one of
//! the tool, possibly followed by `| sed -n FIRST,LASTp`, or `ls DIRECTORY`. To accept a change, run with `SKELGEN_BLESS=1`.
//! The transcript of `load` is not checked: its numbers depend on the machine.

use std::path::{Path, PathBuf};

use skelgen_corpus::golden;

use crate::tool::{self, skelgen};

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/cli/transcripts")
}

#[test]
fn transcripts_are_true() {
    let place = tempfile::tempdir().expect("a directory");
    for name in skelgen_corpus::objects::listed(&tool::objects(), ".bpf.o").expect("the objects are committed") {
        let file = format!("{name}.bpf.o");
        std::os::unix::fs::symlink(tool::objects().join(&file), place.path().join(file)).expect("it can be linked");
    }
    let mut wrong = Vec::new();
    for name in skelgen_corpus::objects::listed(&directory(), ".txt").expect("the transcripts are committed") {
        if name == "load" {
            continue;
        }
        let path = directory().join(format!("{name}.txt"));
        let text = std::fs::read_to_string(&path).expect("it can be read");
        let mut actual = String::new();
        for command in text.lines().filter(|line| line.starts_with("$ ")) {
            let empty = if actual.is_empty() || actual.ends_with("$ ") { "" } else { "\n" };
            actual += &format!("{empty}{command}\n{}", output(&command[2..], place.path()));
        }
        assert!(actual.lines().all(|line| line.len() <= 160), "{name} has a line that is too long for a help page");
        wrong.extend(golden::check(&path, actual.as_bytes()).err());
    }
    assert!(wrong.is_empty(), "{}\nrun with {}=1 to accept", wrong.join("\n"), golden::BLESS);
}

/// Returns the output of a command in this directory.
fn output(command: &str, place: &Path) -> String {
    let (command, shown) = command.split_once(" | sed -n ").unwrap_or((command, "1,9999p"));
    let (first, last) = shown.trim_end_matches('p').split_once(',').expect("the lines to show");
    let [first, last] = [first, last].map(|line| line.parse::<usize>().expect("the number of a line"));
    let words: Vec<&str> = command.split_whitespace().collect();
    let text = match words[..] {
        ["skelgen", ref arguments @ ..] => {
            let run = skelgen(arguments).directory(place).run();
            run.stdout + &run.stderr
        }
        ["ls", directory] => {
            let names = std::fs::read_dir(place.join(directory)).expect("the directory exists");
            let names =
                names.map(|entry| entry.expect("it is readable").file_name().into_string().expect("it is UTF-8"));
            let mut names: Vec<String> = names.map(|name| name + "\n").collect();
            names.sort();
            names.concat()
        }
        _ => panic!("unknown command: {command}"),
    };
    text.lines().take(last).skip(first - 1).map(|line| format!("{line}\n")).collect()
}

/// The help of a command ends with its transcript.
#[test]
fn every_command_shows_a_transcript() {
    for command in &tool::commands() {
        let help = skelgen(&[command, "--help"]).run().stdout;
        let transcript = std::fs::read_to_string(directory().join(format!("{command}.txt")));
        let transcript = transcript.unwrap_or_else(|_| panic!("{command} has no transcript"));
        assert!(help.contains(transcript.trim_end()), "{command} --help:\n{help}");
    }
}
