//! Minimized BTF (`skelgen min-btf`): relocations to it have the same results as to the complete BTF.
//!
//! The test minimizes the running kernel's types and those of objects, for each fixture with CO-RE relocations and for
//! all of them together. `SKELGEN_BTF=FILE:FILE` adds the raw BTF of other kernels, `SKELGEN_OBJECTS=DIRECTORY` other
//! objects, and `SKELGEN_BPFTOOL=BPFTOOL` compares with what `bpftool gen min_core_btf` keeps.
#![cfg(feature = "cli")]

mod parts;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use skelgen::unstable::btf::Btf;
use skelgen::unstable::insn::Endian;
use skelgen::unstable::{Relocations, min_btf, relocations};
use skelgen_runtime::generated::resolved_relocations;

use parts::{Part, parts};

/// An object with CO-RE relocations.
struct Object {
    path: PathBuf,
    relocations: Relocations,
    /// The object's types, and its CO-RE records as the kernel has them.
    types: Vec<u8>,
    records: Vec<u8>,
}

impl Object {
    /// Reads an object; `None` if it has no relocations or is not valid.
    fn read(path: &Path) -> Option<Self> {
        let bytes = std::fs::read(path).expect("the file can be read");
        let relocations = relocations(&bytes).ok()?;
        let (types, records) = (relocations.types(), relocations.records());
        Some(Self { path: path.to_owned(), relocations, types, records }).filter(|object| !object.records.is_empty())
    }

    fn results(&self, kernel: &Path) -> Vec<String> {
        resolved_relocations(&self.types, kernel, &self.records).expect("the types can be read")
    }
}

const NATIVE: Endian = if cfg!(target_endian = "big") { Endian::Big } else { Endian::Little };

/// Returns the objects in a directory, in the order of their names.
fn objects_in(directory: &Path) -> Vec<Object> {
    let entries = std::fs::read_dir(directory).expect("the directory can be read");
    let paths = entries.map(|entry| entry.expect("the directory can be read").path());
    let mut paths: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|end| end == "o")).collect();
    paths.sort();
    paths.iter().filter_map(|path| Object::read(path)).collect()
}

/// Returns the part of a kernel's types that objects need.
fn minimized(kernel: &[u8], objects: &[&Object]) -> Vec<u8> {
    let objects: Vec<_> = objects.iter().map(|object| &object.relocations).collect();
    min_btf(kernel, &objects).expect("the types are valid")
}

/// Compares the results of the relocations of objects to a kernel's BTF and to the BTF minimized for these objects.
/// Returns the number of relocations, and the size of the minimized BTF in bytes.
fn same_results(kernel: &Path, objects: &[&Object]) -> (usize, usize) {
    let small = minimized(&std::fs::read(kernel).expect("the file can be read"), objects);
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), &small).expect("the file can be written");
    let mut count = 0;
    for object in objects {
        let (expected, found) = (object.results(kernel), object.results(file.path()));
        count += expected.len();
        for (index, (expected, found)) in expected.iter().zip(&found).enumerate() {
            let (object, kernel) = (object.path.display(), kernel.display());
            assert_eq!(expected, found, "{object}, record {index}, relocated to {kernel} and to a part of it");
        }
    }
    (count, small.len())
}

/// Compares with what bpftool keeps for each object. Returns the differences without a known reason.
fn compare_with_bpftool(bpftool: &OsStr, kernel: &Path, objects: &[&Object]) -> Vec<String> {
    let bytes = std::fs::read(kernel).expect("the file can be read");
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("bpftool.btf");
    let (mut equal, mut enumerators, mut refused, mut unknown) = (0, 0, 0, Vec::new());
    for object in objects {
        let ours = parts(&Btf::parse(&minimized(&bytes, &[object]), NATIVE).expect("it is valid"));
        let _ = std::fs::remove_file(&path);
        let run = Command::new(bpftool).args(["gen", "min_core_btf"]).args([kernel, &path, &object.path]).output();
        if !run.expect("bpftool can be run").status.success() {
            refused += 1;
            continue;
        }
        let theirs = parts(&Btf::parse(&std::fs::read(&path).expect("it was written"), NATIVE).expect("it is valid"));
        equal += usize::from(ours == theirs);
        for part in theirs.difference(&ours) {
            match part {
                // bpftool keeps all enumerators of an enum; relocations need only those that they name.
                Part::Enumerator(name, ..)
                    if ours.iter().any(|part| matches!(part, Part::Type(_, ours, _) if ours == name)) =>
                {
                    enumerators += 1;
                }
                part => unknown.push(format!("{}: only bpftool's: {part:?}", object.path.display())),
            }
        }
        unknown.extend(ours.difference(&theirs).map(|part| format!("{}: only ours: {part:?}", object.path.display())));
    }
    println!(
        "  bpftool keeps the same types, members and enumerators for {equal} of {} objects, {enumerators} more \
         enumerators for the others, and refuses {refused}",
        objects.len()
    );
    unknown
}

#[test]
fn relocations_to_minimized_btf_have_the_same_results() {
    let fixtures = objects_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/corpus/objects"));
    let more = std::env::var_os("SKELGEN_OBJECTS").map(|directory| objects_in(Path::new(&directory)));
    let all: Vec<&Object> = fixtures.iter().chain(more.iter().flatten()).collect();
    let running = PathBuf::from("/sys/kernel/btf/vmlinux");
    let kernels = std::env::var("SKELGEN_BTF").unwrap_or_default();
    let kernels = kernels.split(':').filter(|path| !path.is_empty()).map(PathBuf::from);
    for kernel in Some(running).filter(|path| path.exists()).into_iter().chain(kernels) {
        let (mut records, mut most) = (0, 0);
        for object in &all {
            let (count, bytes) = same_results(&kernel, &[object]);
            (records, most) = (records + count, most.max(bytes));
        }
        let (_, bytes) = same_results(&kernel, &all);
        println!(
            "{}: {} objects, {records} relocations, at most {most} bytes for one object, {bytes} for all",
            kernel.display(),
            all.len()
        );
        if let Some(bpftool) = std::env::var_os("SKELGEN_BPFTOOL") {
            let unknown = compare_with_bpftool(&bpftool, &kernel, &all);
            assert!(unknown.is_empty(), "{}", unknown[..unknown.len().min(20)].join("\n"));
        }
    }
    // The types of each fixture as those of a kernel: all fields exist, and no kernel is needed.
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("types.btf");
    for kernel in &fixtures {
        std::fs::write(&path, &kernel.types).expect("the directory can be written");
        for object in &fixtures {
            same_results(&path, &[object]);
        }
    }
}

/// Checks that the test above detects a difference.
#[test]
fn results_depend_on_the_types() {
    let fixtures = objects_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/corpus/objects"));
    let core = fixtures.iter().find(|object| object.path.ends_with("core.bpf.o")).expect("the fixture exists");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), &core.types).expect("the file can be written");
    let expected = core.results(file.path());
    let other = fixtures.iter().find(|object| object.path.ends_with("medium.bpf.o")).expect("the fixture exists");
    std::fs::write(file.path(), minimized(&core.types, &[other])).expect("the file can be written");
    assert_ne!(core.results(file.path()), expected);
}
