//! Sizes of generated files, compared with their objects.

use std::path::Path;

use skelgen::unstable::elf::{ElfObject, SectionKind};
use skelgen::unstable::plan;
use skelgen::{Options, PercpuForm};

/// Returns the size of an object's sections without debug information, symbols and relocations: the data in a loader
/// that contains the object and parses ELF.
fn sections(bytes: &[u8]) -> usize {
    let elf = ElfObject::parse(bytes).expect("the object is valid");
    let counted = elf.sections.iter().filter(|section| {
        matches!(section.kind, SectionKind::Instructions | SectionKind::Bytes) && !section.name.starts_with(".debug")
    });
    counted.map(|section| section.data.len()).sum()
}

#[test]
fn shared_functions_are_stored_once() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/corpus/objects/dup_subprog.bpf.o");
    let bytes = std::fs::read(path).expect("the object is committed");
    let plan = plan(&bytes, &Options::for_file("dup_subprog")).expect("the object is valid");
    let (blob, sections) = (plan.object.blob.len(), sections(&bytes));
    assert!(blob * 10 <= sections * 11, "the blob has {blob} bytes, the object's sections {sections}");
    // Eight programs contain the largest function; the blob contains its instructions and line records once.
    let function = |index: &u32| &plan.object.functions[*index as usize].body;
    let largest = (0..8).map(|index| function(&index).insns.len).max();
    let loaded: u32 = plan
        .object
        .programs
        .iter()
        .flat_map(|program| program.functions.iter())
        .map(|index| function(index).insns.len + function(index).line_info.len)
        .sum();
    assert!(largest.is_some_and(|largest| loaded > 8 * largest) && loaded as usize > 4 * blob, "{loaded} of {blob}");
}

/// Tests all objects with one form of percpu access: both forms would require a second body for functions that use
/// percpu data.
#[test]
fn blobs_are_not_larger_than_their_objects() {
    let objects = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/corpus/objects");
    let (mut wrong, mut count) = (Vec::new(), 0);
    for entry in std::fs::read_dir(objects).expect("the objects are committed") {
        let path = entry.expect("the directory can be read").path();
        if path.extension().is_none_or(|end| end != "o") {
            continue;
        }
        let bytes = std::fs::read(&path).expect("the object is committed");
        let mut options = Options::for_file(&path);
        options.percpu = PercpuForm::Native;
        // Skip fixtures that the generator rejects.
        let Ok(plan) = plan(&bytes, &options) else { continue };
        let (blob, sections) = (plan.object.blob.len(), sections(&bytes));
        if blob * 10 > sections * 11 {
            wrong.push(format!("{}: the blob has {blob} bytes, the object's sections {sections}", path.display()));
        }
        count += 1;
    }
    assert!(wrong.is_empty() && count > 30, "{count} objects\n{}", wrong.join("\n"));
}

#[test]
fn functions_common_to_both_percpu_forms_are_stored_once() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/corpus/objects/percpu_calls.bpf.o");
    let bytes = std::fs::read(path).expect("the object is committed");
    let plan = plan(&bytes, &Options::for_file("percpu_calls")).expect("the object is valid");
    let (with_data, without): (Vec<_>, Vec<_>) =
        plan.object.functions.iter().partition(|function| function.emulated.is_some());
    assert!(!with_data.is_empty() && !without.is_empty(), "{} with, {} without", with_data.len(), without.len());
    let program = plan.object.programs.iter().find(|program| {
        let mut emulated =
            program.functions.iter().map(|index| plan.object.functions[*index as usize].emulated.is_some());
        emulated.clone().any(|emulated| emulated) && emulated.any(|emulated| !emulated)
    });
    assert!(program.is_some(), "no program has both functions with percpu data and functions without");
}
