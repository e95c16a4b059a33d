//! The transcripts in the help of commands, each of which shows the current output of the tool.
//!
//! A transcript is a file in `codegen/src/cli/transcripts/`. A line that begins with `$ ` is a command, run in the
//! directory of the committed objects; the lines below are its output, including standard error. To accept a change,
//! run with `SKELGEN_BLESS=1`. The transcript of `load` is not checked: its numbers depend on the machine.

use std::path::PathBuf;

use skelgen_corpus::golden;

use crate::tool::{self, skelgen};

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/cli/transcripts")
}

#[test]
fn transcripts_are_true() {
    let mut wrong = Vec::new();
    for name in skelgen_corpus::objects::listed(&directory(), ".txt").expect("the transcripts are committed") {
        if name == "load" {
            continue;
        }
        let path = directory().join(format!("{name}.txt"));
        let text = std::fs::read_to_string(&path).expect("it can be read");
        let mut actual = String::new();
        for command in text.lines().filter(|line| line.starts_with("$ ")) {
            let mut words = command.split_whitespace().skip(1);
            assert_eq!(words.next(), Some("skelgen"), "{command}");
            let run = skelgen(&words.collect::<Vec<_>>()).run();
            let empty = if actual.is_empty() { "" } else { "\n" };
            actual += &format!("{empty}{command}\n{}{}", run.stdout, run.stderr);
        }
        assert!(actual.lines().all(|line| line.len() <= 160), "{name} has a line that is too long for a help page");
        wrong.extend(golden::check(&path, actual.as_bytes()).err());
    }
    assert!(wrong.is_empty(), "{}\nrun with {}=1 to accept", wrong.join("\n"), golden::BLESS);
}

/// The help of a command ends with its transcript.
#[test]
fn every_command_shows_a_transcript() {
    // Commands that only write files.
    let without = ["gen", "types", "header", "min-btf", "completions", "man"];
    for command in tool::commands().iter().filter(|command| !without.contains(&&command[..])) {
        let help = skelgen(&[command, "--help"]).run().stdout;
        let transcript = std::fs::read_to_string(directory().join(format!("{command}.txt")));
        let transcript = transcript.unwrap_or_else(|_| panic!("{command} has no transcript"));
        assert!(help.contains(transcript.trim_end()), "{command} --help:\n{help}");
    }
}
