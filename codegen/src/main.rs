//! The command line tool: `skelgen gen`, `skelgen plan`, `skelgen inspect`.
#![forbid(unsafe_code)]

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
