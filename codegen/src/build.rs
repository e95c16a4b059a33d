//! The build step for a build.rs: compiles BPF sources or reads objects, and writes skeletons to `OUT_DIR`.
//!
//! This is one of the few modules that read and write files. A file is written under a temporary name and renamed, so
//! that it is never incomplete. It is replaced only if its text changed, so that cargo does not rebuild without need.

mod cargo;
mod checked_in;
mod compile;
mod depend;
mod headers;
pub(crate) mod kernel;
mod parallel;
mod target;
mod vmlinux;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};

use skelgen_abi::escape::Line;

use self::cargo::Directives;
use self::checked_in::{CheckedIn, Mode};
use self::compile::{Compiled, Compiler};
use self::target::Target;
use crate::builder::Builder;
use crate::error::{Code, Diagnostic, Error, Result};
use crate::generate::{self, inspect, write_existing};
use crate::options::Options;
use crate::skeleton::Missing;
use crate::{elf, output};

/// An input with the name of its module.
struct Named<'a> {
    path: &'a Path,
    is_source: bool,
    name: String,
    object: PathBuf,
    skeleton: PathBuf,
}

/// The environment variable with arguments for the compiler.
const ARGUMENTS: &str = "SKELGEN_CLANG_ARGS";

impl Builder {
    /// Writes `NAME.skel.rs` for each input. Cargo reruns the build script when the input, or a file that a source
    /// includes, changes. Warnings about an object are printed as cargo warnings.
    ///
    /// Files in cargo's `OUT_DIR` are not watched, because the build script wrote them itself. If it writes a header
    /// there, print `cargo::rerun-if-changed` for the files that the header is generated from.
    ///
    /// # Errors
    /// - [`Code::Io`]: a file cannot be read or written.
    /// - [`Code::BadPath`]: a path cannot be written in a cargo directive.
    /// - [`Code::Compiler`]: the compiler cannot be run, or fails.
    /// - [`Code::BadOptions`]: there is no input, `OUT_DIR` is not set, a module's name is invalid, set before the first
    ///   input or that of two inputs, or the value of `SKELGEN_CHECKED_IN` is unknown.
    /// - [`Code::BadOptions`], [`Code::NoSuchType`]: no input has a map or type that an option names.
    /// - [`Code::OutOfDate`]: a checked-in skeleton is missing or differs from the generated one.
    /// - All problems of an object, each with its code and location.
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
        let inputs = self.named_inputs(&out_dir)?;
        for input in &inputs {
            cargo.watch(input.path)?;
        }
        let mode = self.mode(&inputs, &mut cargo)?;
        let checked_in = |name: &str| self.checked_in.as_ref().map(|directory| CheckedIn::new(directory, name));
        if mode == Mode::Verify {
            // A checked-in skeleton can change although its source does not.
            for file in inputs.iter().filter_map(|input| checked_in(&input.name)) {
                cargo.watch(file.path())?;
            }
        }
        if mode == Mode::Use {
            if std::env::var_os(checked_in::VARIABLE).is_none() && std::env::var_os("DOCS_RS").is_none() {
                let program = PathBuf::from(self.program());
                cargo.warn(format_args!(
                    "`{}` cannot be run, so the checked-in skeletons are used, whether or not they match the sources",
                    program.display()
                ))?;
            }
            for (input, file) in inputs.iter().filter_map(|input| Some((input, checked_in(&input.name)?))) {
                cargo.watch(file.path())?;
                file.use_as(&input.skeleton)?;
            }
            return Ok(());
        }
        let mut compiled = self.compile(&inputs, &out_dir, &mut cargo)?.into_iter();
        let mut missing: Option<Missing> = None;
        for input in inputs {
            let path = input.path;
            if input.is_source {
                let Some(compiled) = compiled.next() else { continue };
                // Show the compiler's warnings to the user.
                compiled.stderr.lines().try_for_each(|line| cargo.warn(line))?;
                compiled.files.iter().try_for_each(|file| cargo.watch(file))?;
            }
            let options = Options { name: input.name, ..self.options.clone() };
            let mut objects = inspect(&read(&input.object)?, &options).map_err(|error| error.in_file(path))?;
            for warning in objects.warnings() {
                cargo.warn(format_args!("{}: {warning}", path.display()))?;
            }
            let missing_here = generate::missing(&objects, &options);
            match &mut missing {
                Some(missing) => missing.retain(&missing_here),
                None => missing = Some(missing_here),
            }
            output::to_file(&input.skeleton, |out| write_existing(&mut objects, &options, out))
                .map_err(|error| error.in_file(path))?;
            if let Some(file) = checked_in(&options.name) {
                file.update(mode, &input.skeleton)?;
            }
        }
        // A map or type that an option names must exist in at least one input, not in each.
        missing.map_or(Ok(()), |missing| missing.check())
    }

    /// Returns the inputs with the names of their modules, and the paths of their objects.
    fn named_inputs(&self, out_dir: &Path) -> Result<Vec<Named<'_>>> {
        if let Some(name) = &self.misplaced_name {
            let message = format!("cannot name a module `{name}` before an input is added");
            return Err(Diagnostic::new(Code::BadOptions, message)
                .with_help("call `source` or `object` before `name`")
                .into());
        }
        let mut others = BTreeMap::new();
        let mut named = Vec::new();
        for input in &self.inputs {
            let path = &*input.path;
            let name = input.name.clone().unwrap_or_else(|| Options::for_file(path).name);
            if name.is_empty() || name.contains('/') {
                let message = format!("cannot name the module of {} `{name}`", path.display());
                return Err(Diagnostic::new(Code::BadOptions, message)
                    .with_help("use a name that is not empty and has no `/`: it names the Rust module and a file")
                    .into());
            }
            if let Some(other) = others.insert(name.clone(), path) {
                let message = format!("{} and {} would both generate module `{name}`", other.display(), path.display());
                return Err(Diagnostic::new(Code::BadOptions, message)
                    .with_help("set the name of one of them with `Builder::name`")
                    .into());
            }
            let object = if input.is_source { out_dir.join(format!("{name}.bpf.o")) } else { path.to_owned() };
            let skeleton = out_dir.join(format!("{name}.skel.rs"));
            named.push(Named { path, is_source: input.is_source, name, object, skeleton });
        }
        Ok(named)
    }

    /// Returns the mode for checked-in skeletons.
    fn mode(&self, inputs: &[Named<'_>], cargo: &mut Directives) -> Result<Mode> {
        if self.checked_in.is_none() {
            return Ok(Mode::Ignore);
        }
        for name in [checked_in::VARIABLE, "DOCS_RS", "CLANG"] {
            cargo.watch_variable(name)?;
        }
        let value = std::env::var(checked_in::VARIABLE).ok();
        Mode::of(value.as_deref(), || {
            let is_documented = std::env::var_os("DOCS_RS").is_some();
            let compiles = inputs.iter().any(|input| input.is_source);
            !is_documented && (!compiles || compile::can_run(&self.program()))
        })
    }

    /// Returns the compiler to run: a path, or a name to look up in `PATH`.
    fn program(&self) -> OsString {
        let variable = || std::env::var_os("CLANG");
        self.clang.clone().or_else(variable).unwrap_or_else(|| "clang".into())
    }

    /// Compiles the sources, several at a time, and returns what the compiler reported about each.
    fn compile(&self, inputs: &[Named<'_>], out_dir: &Path, cargo: &mut Directives) -> Result<Vec<Compiled>> {
        let sources: Vec<&Named<'_>> = inputs.iter().filter(|input| input.is_source).collect();
        if sources.is_empty() {
            return Ok(Vec::new());
        }
        cargo.watch_variable("CLANG")?;
        cargo.watch_variable(ARGUMENTS)?;
        let mut compiler = self.compiler(out_dir)?;
        if let Some(kernel) = &self.vmlinux {
            vmlinux::write(Some(kernel), out_dir, cargo)?;
            compiler.kernel_types = Some(out_dir.to_owned());
        }
        let mut results = compile_all(&compiler, &sources);
        let misses_types = |result: &Result<Compiled>| result.as_ref().is_err_and(vmlinux::is_missing);
        if self.vmlinux.is_none() && results.iter().any(misses_types) {
            vmlinux::write(None, out_dir, cargo)?;
            compiler.kernel_types = Some(out_dir.to_owned());
            let (places, again): (Vec<_>, Vec<_>) =
                results.iter_mut().zip(sources).filter(|(result, _)| misses_types(result)).unzip();
            for (place, result) in places.into_iter().zip(compile_all(&compiler, &again)) {
                *place = result;
            }
        }
        results.into_iter().collect()
    }

    /// Returns the compiler with the arguments for all sources.
    fn compiler(&self, out_dir: &Path) -> Result<Compiler> {
        let variable = std::env::var_os;
        let program = self.program();
        let mut arguments = Target::of_build().arguments();
        // clang searches directories of `-isystem` before those of the system, and directories of `-idirafter` after
        // them.
        let place = if self.bundled_headers { "-isystem" } else { "-idirafter" };
        arguments.extend([place.into(), headers::write(out_dir)?.into_os_string()]);
        let given = variable(ARGUMENTS).map(|given| given.to_string_lossy().into_owned()).unwrap_or_default();
        let given = given.split_whitespace().map(OsString::from);
        let user_arguments = self.clang_args.iter().cloned().chain(given).collect();
        let manifest = variable("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let here = std::env::current_dir().ok();
        let mut hidden: Vec<_> = manifest.into_iter().chain(here).map(|directory| (directory, ".")).collect();
        hidden.push((out_dir.to_owned(), "out"));
        Ok(Compiler { program, arguments, user_arguments, hidden, kernel_types: None })
    }
}

/// Compiles sources, several at a time.
fn compile_all(compiler: &Compiler, sources: &[&Named<'_>]) -> Vec<Result<Compiled>> {
    let work = |input: &&Named<'_>| compiler.compile(input.path, &input.object);
    // Cargo shows this line with `-vv`, and if the build fails.
    let report = |input: &&Named<'_>| eprintln!("skelgen: compiling {}", Line(input.path.display()));
    parallel::map(sources, parallel::jobs(), work, report)
}

/// Reads a file. The debug information of an object file is not read; its bytes are zero in the result.
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
    fn inputs_have_the_names_that_are_set() {
        let directory = tempfile::tempdir().expect("a directory");
        let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/corpus/objects/tiny.bpf.o");
        let builder = || Builder::new().out_dir(directory.path());
        builder().object(&tiny).object(&tiny).name("other").build().expect("two modules");
        assert!(["tiny.skel.rs", "other.skel.rs"].iter().all(|file| directory.path().join(file).is_file()));
        for builder in [builder().name("other").object(&tiny), builder().object(&tiny).name("a/b")] {
            assert_eq!(builder.build().expect_err("nothing is named").code(), Code::BadOptions);
        }
    }

    #[test]
    fn checked_in_skeletons_replace_a_missing_compiler() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        std::fs::create_dir(path("out")).expect("the directory can be written");
        std::fs::write(path("x.bpf.c"), "int x;\n").expect("the directory can be written");
        let builder = || Builder::new().out_dir(path("out")).clang("/no/such/compiler").source(path("x.bpf.c"));
        assert_eq!(builder().build().expect_err("no compiler").code(), Code::Compiler);
        let absent = builder().checked_in(directory.path()).build().expect_err("no file").to_string();
        assert!(absent.contains("SKELGEN_CHECKED_IN=write"), "{absent}");
        std::fs::write(path("x.skel.rs"), "mod x {}\n").expect("the directory can be written");
        builder().checked_in(directory.path()).build().expect("the file is used");
        assert_eq!(std::fs::read_to_string(path("out/x.skel.rs")).expect("it was copied"), "mod x {}\n");
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
        assert!(shown.contains("apt install linux-libc-dev"), "{shown}");
    }

    #[test]
    fn sources_get_the_types_of_the_kernel_if_they_include_them() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        let objects = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/corpus/objects");
        // A compiler that needs the header, and compiles to a fixture.
        let script = format!(
            "#!/bin/sh\nfor last; do :; done\necho \"$*\" >> {0}/runs\n\
             if ! test -f {0}/vmlinux.h; then echo \"x.c:1: 'vmlinux.h' file not found\" >&2; exit 1; fi\n\
             grep -q 'struct redirect_cpu {{' {0}/vmlinux.h && cp {1}/tiny.bpf.o {0}/x.bpf.o\n",
            directory.path().display(),
            objects.display()
        );
        std::fs::write(path("compiler"), script).expect("a script");
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(path("compiler"), permissions).expect("permissions can be set");
        std::fs::write(path("x.bpf.c"), "").expect("a source");
        let build = |builder: Builder| {
            let builder = builder.out_dir(directory.path()).clang(path("compiler")).source(path("x.bpf.c"));
            let result = builder.build();
            (result, std::fs::read_to_string(path("runs")).expect("the compiler ran").lines().count())
        };
        let (result, runs) = build(Builder::new().vmlinux(objects.join("typed.bpf.o")));
        result.expect("the header has the types of this file");
        assert_eq!(runs, 1);
        let time = std::fs::metadata(path("vmlinux.h")).and_then(|file| file.modified()).expect("it was written");
        let (result, _) = build(Builder::new().vmlinux(objects.join("typed.bpf.o")));
        result.expect("the header is the same");
        let again = std::fs::metadata(path("vmlinux.h")).and_then(|file| file.modified()).expect("it was written");
        assert_eq!(time, again);
        // A kernel that was built again has other types, and can have the same release.
        let text = std::fs::read_to_string(path("vmlinux.h")).expect("it was written");
        let rebuilt = |name: &str| {
            std::fs::copy(objects.join(name), path("kernel")).expect("the fixture exists");
            let (result, _) = build(Builder::new().vmlinux(path("kernel")));
            result.expect("the fixture has the type that the compiler needs");
            std::fs::read_to_string(path("vmlinux.h")).expect("it was written")
        };
        assert!(rebuilt("typed.bpf.o") == text);
        std::fs::write(path("vmlinux.h"), format!("{text}/* the same */")).expect("the file can be written");
        assert!(rebuilt("typed.bpf.o").ends_with("/* the same */"), "it is not written again");
        let (line, rest) = text.split_once("hash ").expect("the first line has a hash");
        let other = format!("{line}hash {:016x}{}", 0, &rest[16..]);
        std::fs::write(path("vmlinux.h"), other).expect("the file can be written");
        assert!(rebuilt("typed.bpf.o") == text, "it is written again");
        std::fs::write(path("runs"), "\n").expect("the file can be written");
        std::fs::remove_file(path("vmlinux.h")).expect("it exists");
        if Path::new(kernel::RUNNING).exists() {
            // The running kernel has no such type.
            let (result, runs) = build(Builder::new());
            assert!(result.is_err());
            assert_eq!(runs, 3, "the second run finds the header");
            let text = std::fs::read_to_string(path("vmlinux.h")).expect("it was written");
            assert!(text.contains("struct task_struct {"));
        }
    }

    #[test]
    fn paths_that_cargo_cannot_watch_are_refused() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        let directory = tempfile::tempdir().expect("a directory");
        for (name, why) in [
            (&b"a\ncargo::warning=b"[..], "control character"),
            (b"a\r", "control character"),
            (b"a\x1b[31m", "control character"),
            (b"a ", "ends with a space"),
            (b"a\xe2\x80\xae", "bidirectional control character"),
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
}
