//! The command line: arguments, files and output. Errors go to standard error. The exit status is 1 for errors and 2
//! for wrong arguments.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use skelgen_abi::escape::{Line, Lines, is_visible};

use crate::api::{self, inspect, plan};
use crate::error::{Code, Error, Result};
use crate::options::Options;
use crate::{PercpuForm, build, output};

#[derive(Parser)]
#[command(name = "skelgen", version, about = "Light-skeleton generator for BPF objects")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write the Rust skeleton of an object
    Gen {
        #[command(flatten)]
        input: Input,
        #[command(flatten)]
        form: Form,
        /// Output file [default: standard output]. Include it with `mod NAME;`
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        #[command(flatten)]
        types: TypeArgs,
        /// Also write the context types of programs
        #[arg(long)]
        contexts: bool,
        /// Map that can be left out of a load with `set_autocreate(false)`; its handle is an `Option`. Can be repeated
        #[arg(long = "optional-map", value_name = "NAME")]
        optional_maps: Vec<String>,
        /// Map whose type and sizes can be set before the load with `set_map_type`; its handle accepts any map type.
        /// Can be repeated
        #[arg(long = "untyped-map", value_name = "NAME")]
        untyped_maps: Vec<String>,
    },
    /// Write Rust types for every struct, union and enum of an object, of a kernel image, or of raw BTF such as
    /// /sys/kernel/btf/vmlinux
    Types {
        #[command(flatten)]
        input: Input,
        /// Output file [default: standard output]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        #[command(flatten)]
        types: TypeArgs,
    },
    /// Show the requests that a load makes to the kernel, step by step
    Plan {
        #[command(flatten)]
        input: Input,
        #[command(flatten)]
        form: Form,
    },
    /// Show the maps, programs and variables of an object, and how kernel versions load its percpu data
    Inspect {
        #[command(flatten)]
        input: Input,
        #[command(flatten)]
        form: Form,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Explain an error code such as SK0302: its meaning, an example, and what to do
    Explain {
        /// The code in the error's brackets [default: list all codes]
        #[arg(value_name = "CODE", value_parser = Code::find)]
        code: Option<Code>,
    },
}

impl Command {
    /// Returns the file that the command reads, if it reads one.
    fn file(&self) -> Option<&Path> {
        match self {
            Self::Gen { input, .. }
            | Self::Types { input, .. }
            | Self::Plan { input, .. }
            | Self::Inspect { input, .. } => Some(&input.object),
            Self::Explain { .. } => None,
        }
    }
}

#[derive(Args)]
struct Input {
    /// The BPF object
    #[arg(value_name = "OBJECT")]
    object: PathBuf,
    /// Name of the object [default: the file name up to the first dot]
    #[arg(long)]
    name: Option<String>,
}

#[derive(Args)]
struct Form {
    /// Form of percpu global data in the skeleton
    #[arg(long, value_enum, default_value_t = Percpu::Either)]
    percpu: Percpu,
}

#[derive(Args)]
struct TypeArgs {
    /// Type to write, named as in C (`event`, `struct event`), with the types it contains. `gen` writes it in addition
    /// to the types of variables and maps, `types` instead of all types. Can be repeated
    #[arg(long = "type", value_name = "NAME")]
    names: Vec<String>,
    /// Path of the runtime crate, if it has another name
    #[arg(long, value_name = "PATH", default_value = "::skelgen_runtime")]
    runtime: String,
}

impl TypeArgs {
    fn put_into(self, options: &mut Options) {
        options.types = self.names;
        options.runtime = self.runtime;
    }
}

/// The forms of percpu global data.
#[derive(Clone, Copy, ValueEnum)]
enum Percpu {
    /// Direct access, for Linux 7.3 and later
    Native,
    /// Copies in an array, for all kernels
    Emulated,
    /// Both forms; chosen at load time
    Either,
}

impl Input {
    fn read(&self) -> Result<(Vec<u8>, Options)> {
        let mut options = Options::for_file(&self.object);
        if let Some(name) = &self.name {
            options.name.clone_from(name);
        }
        Ok((build::read(&self.object)?, options))
    }
}

impl Form {
    fn put_into(self, options: &mut Options) {
        options.percpu = match self.percpu {
            Percpu::Native => PercpuForm::Native,
            Percpu::Emulated => PercpuForm::Emulated,
            Percpu::Either => PercpuForm::Either,
        };
    }
}

/// Runs the tool with the arguments of the process.
pub fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(error) => return print_usage_error(&error),
    };
    let file = command.file().map(Path::to_owned);
    match run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error = file.into_iter().fold(error, |error, file| error.in_file(&file));
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints an error about the arguments, or the help or version text.
fn print_usage_error(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    // The message contains arguments unescaped, and one with a line feed would begin a new line. Parse escaped
    // arguments to get the same error with those.
    let arguments = std::env::args_os().map(|argument| Line(argument.to_string_lossy()).to_string());
    let escaped = match Cli::try_parse_from(arguments) {
        Ok(_) => Line(&text).to_string(),
        Err(error) => error.render().to_string(),
    };
    let escaped = Lines(&escaped).to_string();
    if escaped == text {
        error.exit();
    }
    eprint!("{escaped}");
    ExitCode::from(2)
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Gen { input, form, output, types, contexts, optional_maps, untyped_maps } => {
            let (bytes, mut options) = input.read()?;
            form.put_into(&mut options);
            types.put_into(&mut options);
            options.contexts = contexts;
            options.optional_maps = optional_maps;
            options.untyped_maps = untyped_maps;
            let object = inspect(&bytes, &options)?;
            // The object's debug information is many times larger than everything that follows.
            drop(bytes);
            for warning in object.warnings() {
                eprintln!("warning: {}: {warning}", Line(input.object.display()));
            }
            write(output, |out| object.write(out))
        }
        Command::Types { input, output, types } => {
            let (bytes, mut options) = input.read()?;
            types.put_into(&mut options);
            print(output, &api::types(&bytes, &options)?)
        }
        Command::Plan { input, form } => {
            let (bytes, mut options) = input.read()?;
            form.put_into(&mut options);
            print(None, &plan(&bytes, &options)?.to_string())
        }
        Command::Inspect { input, form, json } => {
            let (bytes, mut options) = input.read()?;
            form.put_into(&mut options);
            let object = inspect(&bytes, &options)?;
            if json {
                let text = serde_json::to_string_pretty(&object)
                    .map_err(|error| Error::new(Code::Io, format!("cannot write JSON: {error}")))?;
                print(None, &(visible_json(&text) + "\n"))
            } else {
                print(None, &object.to_string())
            }
        }
        Command::Explain { code: Some(code) } => print(None, code.explanation()),
        Command::Explain { code: None } => {
            let lines = Code::ALL.iter().map(|code| format!("{code}  {}\n", code.title()));
            print(None, &lines.collect::<String>())
        }
    }
}

/// Writes what `produce` makes to a file, or to standard output.
fn write(output: Option<PathBuf>, produce: impl FnOnce(&mut dyn fmt::Write) -> Result<()>) -> Result<()> {
    match output {
        Some(path) => output::to_file(&path, produce),
        None => output::to_stdout(produce),
    }
}

/// Escapes all invisible characters of JSON. Except for line feeds, they occur only in strings.
fn visible_json(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for c in text.chars() {
        if is_visible(c) || c == '\n' {
            visible.push(c);
        } else {
            visible.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    visible
}

/// Writes text to a file, or to standard output.
fn print(output: Option<PathBuf>, text: &str) -> Result<()> {
    // The writer reports why it failed.
    write(output, |out| out.write_str(text).map_err(|_| Error::new(Code::Io, "cannot write the text")))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn visible_json_has_the_same_values() {
        let names = ["a\u{7f}\u{9b}b", "\n\r\t\u{1b}", "\u{202e}\u{feff}\u{e0041}", "ü\\\"`"];
        let text = serde_json::to_string_pretty(&names).expect("text can be written");
        let visible = super::visible_json(&text);
        assert!(visible.lines().all(|line| line.chars().all(skelgen_abi::escape::is_visible)), "{visible:?}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&visible).expect("it is JSON"), names);
    }

    #[test]
    fn arguments_do_not_contradict_each_other() {
        super::Cli::command().debug_assert();
    }
}
