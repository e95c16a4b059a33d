//! The build step for a build.rs: compiles BPF sources or reads objects, and writes skeletons to `OUT_DIR`.
//!
//! One of the few modules with input and output. A file is written under a temporary name and renamed, so that it is
//! never incomplete. It is replaced only if its text changed, so that cargo does not rebuild without need.

mod cargo;
mod depend;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use self::cargo::Directives;
use crate::builder::{Builder, Input};
use crate::error::{Code, Diagnostic, Error, Result};
use crate::generate::{inspect, write_with_types};
use crate::options::Options;
use crate::{elf, output};

impl Builder {
    /// Writes `NAME.skel.rs` for each input. Cargo reruns the build script when the input, or a file that a source
    /// includes, changes. Warnings about an object are printed as cargo warnings.
    ///
    /// Files in cargo's `OUT_DIR` are not watched, because the build script wrote them itself. If it writes a header
    /// there, print `cargo::rerun-if-changed` for the files that the header is made from.
    ///
    /// # Errors
    /// - [`Code::Io`]: a file cannot be read or written.
    /// - [`Code::BadPath`]: a path cannot be written in a cargo directive.
    /// - [`Code::Compiler`]: the compiler cannot be run, or fails.
    /// - [`Code::BadOptions`], [`Code::NoSuchType`]: the inputs are missing or have the same name, or none has
    ///   a named map or type.
    /// - Everything that is wrong with an object, with codes and locations.
    pub fn build(self) -> Result<()> {
        let of_cargo = std::env::var_os("OUT_DIR").map(PathBuf::from);
        let mut cargo = Directives::new(of_cargo.as_deref());
        let directory = self.out_dir.clone().or(of_cargo);
        let Some(out_dir) = directory else {
            let message = "OUT_DIR is not set; call this from a build.rs, or call `out_dir`";
            return Err(Error::new(Code::BadOptions, message));
        };
        if self.inputs.is_empty() {
            return Err(Error::new(Code::BadOptions, "cannot build without inputs; call `source` or `object`"));
        }
        let mut missing = self.options.types.clone();
        let mut missing_maps: Vec<String> = self.options.named_maps().cloned().collect();
        let mut names = BTreeMap::new();
        for input in &self.inputs {
            let (Input::Source(path) | Input::Object(path)) = input;
            let name = Options::for_file(path).name;
            if let Some(other) = names.insert(name.clone(), path) {
                let message = format!("{} and {} would both generate module `{name}`", other.display(), path.display());
                return Err(Diagnostic::new(Code::BadOptions, message)
                    .with_help("rename one of the files, or use two builders, each with its own `out_dir`")
                    .into());
            }
            cargo.watch(path)?;
            let object = match input {
                Input::Source(source) => self.compile(source, &out_dir, &mut cargo)?,
                Input::Object(object) => object.clone(),
            };
            let options = Options { name, ..self.options.clone() };
            let mut objects = inspect(&read(&object)?, &options).map_err(|error| error.in_file(path))?;
            for warning in objects.warnings() {
                cargo.warn(format_args!("{}: {warning}", path.display()))?;
            }
            let skeleton = out_dir.join(format!("{}.skel.rs", options.name));
            let missing_here = output::to_file(&skeleton, |out| write_with_types(&mut objects, &options, out))
                .map_err(|error| error.in_file(path))?;
            missing.retain(|name| missing_here.contains(name));
            missing_maps.retain(|name| !crate::skeleton::has_map(&objects, name));
        }
        if let Some(name) = missing_maps.first() {
            return Err(crate::skeleton::no_map(name));
        }
        if missing.is_empty() { Ok(()) } else { Err(crate::skeleton::missing(&missing)) }
    }

    fn compile(&self, source: &Path, out_dir: &Path, cargo: &mut Directives) -> Result<PathBuf> {
        if source.is_dir() {
            return Err(Error::new(Code::Io, format!("cannot compile {}: it is a directory", source.display())));
        }
        let object = out_dir.join(Options::for_file(source).name).with_extension("bpf.o");
        cargo.watch_variable("CLANG")?;
        let clang = self.clang.clone().or_else(|| std::env::var_os("CLANG")).unwrap_or_else(|| "clang".into());
        let depend = object.with_extension("d");
        let output = Command::new(&clang)
            .args(["-g", "-O2", "--target=bpf", "-MD", "-MF"])
            .arg(&*argument(&depend))
            .args(&self.clang_args)
            .arg("-c")
            .arg(&*argument(source))
            .arg("-o")
            .arg(&*argument(&object))
            .output()
            .map_err(|error| cannot_run(&clang, &error))?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            let message = format!("{} failed on {} ({})", clang.to_string_lossy(), source.display(), output.status);
            let diagnostic = Diagnostic::new(Code::Compiler, message).output(stderr.clone());
            return Err(help_for(&stderr).into_iter().fold(diagnostic, Diagnostic::with_help).into());
        }
        // The user should see the compiler's warnings.
        stderr.lines().try_for_each(|line| cargo.warn(line))?;
        let rule = std::fs::read(&depend).or_else(|error| match error.kind() {
            // Some compilers do not write this file.
            io::ErrorKind::NotFound => Ok(Vec::new()),
            _ => Err(Error::new(Code::Io, format!("cannot read {}: {error}", depend.display()))),
        })?;
        for header in depend::files(&rule) {
            if !header.exists() {
                return Err(unknown_header(&header, source).into());
            }
            cargo.watch(&header)?;
        }
        Ok(object)
    }
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
        return about(error)
            .with_help("install clang (`apt install clang`), or set its path with `CLANG` or `Builder::clang`");
    }
    let inside = ["clang", "bin/clang"].map(|inside| path.join(inside)).into_iter().find(|path| path.is_file());
    about(&"it is a directory").with_help(match inside {
        Some(program) => {
            format!("set `CLANG` or `Builder::clang` to {}", program.display())
        }
        None => "set `CLANG` or `Builder::clang` to the path of the compiler itself".to_owned(),
    })
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
        "clang does not search the headers of the host when it compiles for BPF; on Debian and Ubuntu, add them with \
         `Builder::clang_arg(\"-I/usr/include/x86_64-linux-gnu\")`"
    } else if stderr.contains("'bpf/") && stderr.contains("file not found") {
        "install the headers of libbpf (`apt install libbpf-dev`), or add their directory with `Builder::clang_arg(\"-I...\")`"
    } else if stderr.contains("'vmlinux.h' file not found") {
        "create the file with `bpftool btf dump file /sys/kernel/btf/vmlinux format c > vmlinux.h`"
    } else {
        return None;
    })
}

/// Reads an object file, except for its debug information, which is zero in the result. Other files are read
/// completely.
///
/// # Errors
/// [`Code::Io`] with the file's name.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    File::open(path)
        .and_then(elf::partial::read)
        .map_err(|error| Error::new(Code::Io, format!("cannot read {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_several_inputs_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("empty.bpf.o"), "").expect("the directory can be written");
        let built = Builder::new().out_dir(directory.path()).object(path("empty.bpf.o")).build();
        let error = built.expect_err("it is not an object").to_string();
        assert!(error.contains("SK0101") && error.contains("/empty.bpf.o"), "{error}");
    }

    #[test]
    fn two_skeletons_of_one_name_are_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/corpus/objects/tiny.bpf.o");
        let again = directory.path().join("tiny.o");
        std::fs::copy(&tiny, &again).expect("the directory can be written");
        let built = Builder::new().out_dir(directory.path()).object(&tiny).object(&again).build();
        let error = built.expect_err("both write the same file").to_string();
        assert!(error.contains("`tiny`") && error.contains("/tiny.bpf.o") && error.contains("/tiny.o"), "{error}");
    }

    #[test]
    fn compiler_output_is_readable_in_build_scripts() {
        let directory = tempfile::tempdir().expect("a directory");
        let compiler = directory.path().join("compiler");
        let script =
            "#!/bin/sh\necho \"x.c:1: error: 'asm/types.h' file not found\" >&2\necho '    1 | line' >&2\nexit 1\n";
        std::fs::write(&compiler, script).expect("a script");
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&compiler, permissions).expect("permissions can be set");
        let built = Builder::new().out_dir(directory.path()).clang(&compiler).source("x.c").build();
        let shown = format!("{:?}", built.expect_err("it always fails"));
        assert!(
            shown.starts_with("error[SK0702]: ") && shown.contains("file not found\n   |      1 | line\n"),
            "{shown}"
        );
        assert!(shown.contains("clang_arg(\"-I/usr/include/x86_64-linux-gnu\")"), "{shown}");
    }

    #[test]
    fn paths_that_cargo_cannot_watch_are_refused() {
        use std::os::unix::ffi::OsStrExt;
        let directory = tempfile::tempdir().expect("a directory");
        for (name, why) in [
            (&b"a\ncargo::warning=b"[..], "control character"),
            (b"a\r", "control character"),
            (b"a\x1b[31m", "control character"),
            (b"a ", "ends with a space"),
            (b"a\xe2\x80\xae", "how the rest of a line is shown"),
            (b"a\xff", "not UTF-8"),
        ] {
            let path = directory.path().join(OsStr::from_bytes(name));
            std::fs::write(&path, "").expect("the directory can be written");
            for builder in [Builder::new().object(&path), Builder::new().source(&path).clang("/no/such/compiler")] {
                let error = builder.out_dir(directory.path()).build().expect_err("it cannot be watched");
                let text = error.to_string();
                assert_eq!(error.diagnostics()[0].code, Code::BadPath, "{text}");
                assert!(text.contains(why) && text.chars().all(|c| !c.is_control() || c == '\n'), "{text}");
            }
        }
    }

    #[test]
    fn a_directory_is_not_a_compiler_or_a_source() {
        let directory = tempfile::tempdir().expect("a directory");
        let source = directory.path().join("x.bpf.c");
        std::fs::write(&source, "int x;\n").expect("the directory can be written");
        let error = |clang: &Path, source: &Path| {
            let built = Builder::new().out_dir(directory.path()).clang(clang).source(source).build();
            built.expect_err("it is a directory").to_string()
        };
        let text = error(directory.path(), &source);
        assert!(
            text.contains("SK0702") && text.contains("it is a directory") && !text.contains("apt install"),
            "{text}"
        );
        std::fs::create_dir(directory.path().join("bin")).expect("the directory can be written");
        std::fs::write(directory.path().join("bin/clang"), "").expect("the directory can be written");
        let text = error(directory.path(), &source);
        assert!(
            text.contains(&format!(
                "set `CLANG` or `Builder::clang` to {}",
                directory.path().join("bin/clang").display()
            )),
            "{text}"
        );
        let text = error(Path::new("clang"), directory.path());
        assert!(text.contains("cannot compile") && text.contains("it is a directory"), "{text}");
    }

    #[test]
    fn paths_are_not_options() {
        for (path, argument) in [("-x.c", "./-x.c"), ("@x.c", "./@x.c"), ("a/-x.c", "a/-x.c"), ("/x", "/x")] {
            assert_eq!(super::argument(Path::new(path)).as_os_str(), argument);
        }
    }
}
