//! The command-line tool, implemented in `cli/`.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    skelgen::unstable::main()
}
