//! The command line tool; what it does is in `cli/`.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    skelgen::unstable::main()
}
