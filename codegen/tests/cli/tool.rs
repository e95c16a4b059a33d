//! Runs of the tool in the directory of the committed objects.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A run of the tool that has not yet started.
pub(crate) struct Invocation {
    command: Command,
    input: Vec<u8>,
}

/// The result of a run of the tool.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Returns the directory of the committed objects.
pub(crate) fn objects() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fixtures/corpus/objects")
}

/// Returns a run of the tool with these arguments, without input.
pub(crate) fn skelgen(arguments: &[&str]) -> Invocation {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skelgen"));
    command.args(arguments).current_dir(objects()).env_remove("NO_COLOR");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Invocation { command, input: Vec::new() }
}

/// Returns the names of the commands, as the help text lists them.
pub(crate) fn commands() -> Vec<String> {
    let help = skelgen(&["--help"]).run().stdout;
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names =
        listed.take_while(|line| !line.is_empty()).filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names: Vec<_> = names.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
    assert!(names.len() > 5, "{help}");
    names.into_iter().filter(|name| name != "help").collect()
}

impl Invocation {
    /// Sets the directory to run in.
    pub(crate) fn directory(mut self, directory: &Path) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// Sets the bytes of standard input.
    pub(crate) fn input(mut self, bytes: &[u8]) -> Self {
        self.input = bytes.to_owned();
        self
    }

    /// Sets an environment variable.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs the tool to its end.
    pub(crate) fn run(mut self) -> Run {
        let mut child = self.command.spawn().expect("the tool runs");
        let mut stdin = child.stdin.take().expect("it has standard input");
        let input = self.input;
        let writer = std::thread::spawn(move || {
            // A tool that does not read its input may end before all of it is written.
            let _ = stdin.write_all(&input);
        });
        let output = child.wait_with_output().expect("the tool ends");
        writer.join().expect("the input is written");
        Run {
            status: output.status.code().expect("no signal ends the tool"),
            stdout: String::from_utf8(output.stdout).expect("text is printed"),
            stderr: String::from_utf8(output.stderr).expect("text is printed"),
        }
    }
}
