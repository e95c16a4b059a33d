//! Compiles a BPF source: the command line of clang, its output, and its list of included files.
//!
//! This module does not know cargo or skeletons; `target.rs` knows the machine.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::depend;
use crate::error::{Code, Diagnostic, Error, Result};

/// A compiler with the arguments that all sources share.
#[derive(Debug)]
pub(super) struct Compiler {
    pub(super) program: OsString,
    /// The arguments before those of the user, who can thus override them.
    pub(super) arguments: Vec<OsString>,
    pub(super) user_arguments: Vec<OsString>,
    /// The directories whose paths must not be in an object, with the names that replace them.
    pub(super) hidden: Vec<(PathBuf, &'static str)>,
    /// The directory of `vmlinux.h`, searched last, so that a header of the user takes precedence.
    pub(super) kernel_types: Option<PathBuf>,
}

/// The result of compiling one source.
#[derive(Debug)]
pub(super) struct Compiled {
    /// The compiler's warnings.
    pub(super) stderr: String,
    /// The source and the files that it includes.
    pub(super) files: Vec<PathBuf>,
}

impl Compiler {
    /// Compiles a source.
    ///
    /// # Errors
    /// [`Code::Compiler`] if the compiler cannot be run or fails, [`Code::BadPath`] for an included file whose name the
    /// compiler's dependency list cannot express, [`Code::Io`] otherwise.
    pub(super) fn compile(&self, source: &Path, object: &Path) -> Result<Compiled> {
        if source.is_dir() {
            return Err(Error::new(Code::Io, format!("cannot compile {}: it is a directory", source.display())));
        }
        let depend = object.with_extension("d");
        let mut command = Command::new(&self.program);
        command
            .args(["-g", "-O2"])
            .args(&self.arguments)
            .args(self.hidden.iter().map(hide))
            .args(["-MD", "-MF"])
            .arg(&*argument(&depend))
            .args(&self.user_arguments)
            .args(self.kernel_types.iter().flat_map(|directory| [OsStr::new("-idirafter"), directory.as_os_str()]))
            .arg("-c")
            .arg(&*argument(source))
            .arg("-o")
            .arg(&*argument(object));
        if let Ok(directory) = std::env::current_dir() {
            // clang uses `PWD` as the path of its working directory if both are the same directory.
            command.env("PWD", directory);
        }
        let output = command.output().map_err(|error| cannot_run(&self.program, &error))?;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            let program = self.program.to_string_lossy();
            let message = format!("{program} failed on {} ({})", source.display(), output.status);
            let help = help_for(&stderr);
            let diagnostic = Diagnostic::new(Code::Compiler, message).output(stderr);
            return Err(help.into_iter().fold(diagnostic, Diagnostic::with_help).into());
        }
        let rule = std::fs::read(&depend).or_else(|error| match error.kind() {
            // Some compilers do not write the dependency list.
            io::ErrorKind::NotFound => Ok(Vec::new()),
            _ => Err(Error::new(Code::Io, format!("cannot read {}: {error}", depend.display()))),
        })?;
        let files = depend::files(&rule);
        match files.iter().find(|file| !file.exists()) {
            Some(header) => Err(unknown_header(header, source).into()),
            None => Ok(Compiled { stderr, files }),
        }
    }
}

/// Returns whether a compiler can be run.
pub(super) fn can_run(program: &OsStr) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

/// Returns the argument that replaces the path of a directory in debug information and line records by a short name.
fn hide((directory, name): &(PathBuf, &'static str)) -> OsString {
    let mut argument = OsString::from("-ffile-prefix-map=");
    argument.push(directory);
    argument.push("=");
    argument.push(name);
    argument
}

/// Returns a path as a compiler argument that does not begin with `-` or `@`.
fn argument(path: &Path) -> Cow<'_, Path> {
    match path.as_os_str().as_encoded_bytes() {
        [b'-' | b'@', ..] => Path::new(".").join(path).into(),
        _ => path.into(),
    }
}

/// Returns the error about a compiler that cannot be run.
fn cannot_run(clang: &OsStr, error: &io::Error) -> Diagnostic {
    let name = clang.to_string_lossy();
    let about = |why: &dyn std::fmt::Display| Diagnostic::new(Code::Compiler, format!("cannot run {name}: {why}"));
    let path = Path::new(clang);
    if path.components().count() < 2 || !path.is_dir() {
        let directories = std::env::var_os("PATH").filter(|_| name == "clang");
        return about(error).with_help(match directories.and_then(|directories| newest_clang(&directories)) {
            Some(other) => format!("set `CLANG` or `Builder::clang` to {other}, which is in `PATH`"),
            None => "install clang (`apt install clang`), or set its path with `CLANG` or `Builder::clang`".to_owned(),
        });
    }
    let inside = ["clang", "bin/clang"].map(|inside| path.join(inside)).into_iter().find(|path| path.is_file());
    about(&"it is a directory").with_help(match inside {
        Some(program) => {
            format!("set `CLANG` or `Builder::clang` to {}", program.display())
        }
        None => "set `CLANG` or `Builder::clang` to the path of the compiler itself".to_owned(),
    })
}

/// Returns the name of the newest clang in directories (the value of `PATH`) among those with a version in their name,
/// such as `clang-19`: distributions that have several versions may have no plain `clang`.
fn newest_clang(directories: &OsStr) -> Option<String> {
    let files = std::env::split_paths(directories).filter_map(|directory| std::fs::read_dir(directory).ok()).flatten();
    let names = files.filter_map(|file| file.ok()?.file_name().into_string().ok());
    let versions = names.filter_map(|name| name.strip_prefix("clang-")?.parse::<u32>().ok());
    versions.max().map(|version| format!("clang-{version}"))
}

/// Returns the error about an included file that does not exist at the path in the compiler's dependency list.
fn unknown_header(header: &Path, source: &Path) -> Diagnostic {
    let message = format!("{} includes {}, but that file does not exist", source.display(), header.display());
    Diagnostic::new(Code::BadPath, message).with_help(
        "rename the directory if its name contains a line feed or a backslash, which the compiler's dependency list \
         cannot express",
    )
}

/// Returns help for compiler errors that are not caused by the source.
fn help_for(stderr: &str) -> Option<&'static str> {
    Some(if stderr.contains("'asm/") && stderr.contains("file not found") {
        "install the kernel's headers for the target architecture: `apt install linux-libc-dev`, or the package of a \
         different architecture, such as `linux-libc-dev:arm64`; `SKELGEN_CLANG_ARGS=--sysroot=...` sets a sysroot"
    } else if stderr.contains("'bpf/") && stderr.contains("file not found") {
        "add the directory of the header with `Builder::clang_args([\"-I...\"])`; skelgen has the headers of libbpf that \
         programs include: bpf_helpers.h, bpf_tracing.h, bpf_core_read.h, bpf_endian.h and usdt.bpf.h"
    } else {
        return None;
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_not_options() {
        for (path, argument) in [("-x.c", "./-x.c"), ("@x.c", "./@x.c"), ("a/-x.c", "a/-x.c"), ("/x", "/x")] {
            assert_eq!(super::argument(Path::new(path)).as_os_str(), argument);
        }
    }

    #[test]
    fn the_newest_compiler_is_found() {
        let directory = tempfile::tempdir().expect("a directory");
        assert_eq!(newest_clang(directory.path().as_os_str()), None);
        for name in ["clang-9", "clang-19", "clang-format-20", "clang-x", "clang++-21"] {
            std::fs::write(directory.path().join(name), "").expect("the directory can be written");
        }
        let path = std::env::join_paths([Path::new("/no/such/directory"), directory.path()]).expect("no colons");
        assert_eq!(newest_clang(&path).as_deref(), Some("clang-19"));
    }
}
