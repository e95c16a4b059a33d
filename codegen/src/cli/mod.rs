//! The command line: arguments, files and output. Errors go to standard error.
//!
//! Each command is a file in `commands/` with its arguments and their implementation, registered by a line there.
//! Shared code is here: inputs (`input.rs`), output (`screen.rs`, `render.rs`) and exit statuses (`status.rs`).
//! Commands call the public functions of the library and the driver; they do not know how a phase works.

mod commands;
mod input;
pub(crate) mod kernel;
mod layout;
mod live;
mod relocations;
mod render;
mod screen;
mod status;
mod trusted;

pub use self::layout::draw;

use std::process::ExitCode;

use clap::{ColorChoice, CommandFactory, Parser};
use skelgen_abi::escape::{Line, Lines};

use self::commands::Command;
use self::screen::Screen;
use self::status::Status;

#[derive(Parser)]
#[command(name = "skelgen", version, about = "Light-skeleton generator for BPF objects", after_help = status::HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// When to use colors. By default for a terminal, unless the environment variable NO_COLOR is set
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: ColorChoice,
}

/// Runs the tool with the arguments of the process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return print_usage_error(&error),
    };
    screen::set_color(cli.color);
    let mut screen = Screen::default();
    let status = match cli.command.execute(&mut screen) {
        Ok(()) => screen.status(),
        Err(error) => {
            screen.error(&error);
            Status::Failed
        }
    };
    status.into()
}

/// Returns the definition of the command line, from which completions and manual pages are generated.
fn definition() -> clap::Command {
    Cli::command()
}

/// Prints an error about the arguments, or the help or version text.
fn print_usage_error(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    // The message contains the arguments unescaped, and a line feed in an argument would begin a new line. Parse the
    // escaped arguments again, to get the same error with escaped text.
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
    Status::Usage.into()
}

#[cfg(test)]
mod tests {
    #[test]
    fn arguments_do_not_contradict_each_other() {
        super::definition().debug_assert();
    }
}
