//! The command line tool: `skelgen plan`, `skelgen inspect`.
#![forbid(unsafe_code)]

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
