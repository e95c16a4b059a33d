//! Lowering of the committed objects to step tables for the loader program.
//!
//! `lowered.txt` lists the size of each table, or why an object cannot be lowered. Lowering compares each table with its
//! plan; the tests here change tables and check that the comparison fails.

use std::fmt::Write as _;
use std::path::Path;

use skelgen::unstable::loader::{compare, lower};
use skelgen::{Code, Options};
use skelgen_corpus::golden;
use skelgen_corpus::objects::{listed, objects_dir};

#[test]
fn every_object_is_lowered_or_refused_with_a_reason() {
    let mut list = String::new();
    let (mut lowered, mut refused) = (0, 0);
    for name in listed(objects_dir(), ".bpf.o").expect("the objects are committed") {
        let path = objects_dir().join(format!("{name}.bpf.o"));
        let bytes = std::fs::read(&path).expect("the object can be read");
        let Ok(plan) = skelgen::unstable::plan(&bytes, &Options::for_file(&path)) else { continue };
        match lower(&plan) {
            Ok(table) => {
                lowered += 1;
                let (steps, bytes) = (table.table.layout.steps, table.table.bytes.len());
                writeln!(list, "{name}: {steps} steps, {bytes} bytes, {} from the process", table.host_size)
            }
            Err(error) => {
                refused += 1;
                let reasons: Vec<_> = error.diagnostics().iter().map(skelgen::Diagnostic::message).collect();
                assert!(error.diagnostics().iter().all(|one| one.code() == Code::LoaderProgram), "{name}: {error}");
                writeln!(list, "{name}: {}", reasons.join("; "))
            }
        }
        .expect("text can be written");
    }
    assert!(lowered > refused, "{lowered} objects are lowered, {refused} refused");
    let expected = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lowered/lowered.txt");
    golden::check(&expected, list.as_bytes()).unwrap_or_else(|difference| panic!("{difference}"));
}

/// Words that no step of the comparison reads are padding, fields that steps write before they are read, the place of the
/// values of the process, and lookups for programs that are not the first user of a symbol.
#[test]
fn changed_tables_differ_from_their_plan() {
    for name in ["medium", "weak", "jumps", "templates", "modules", "percpu"] {
        let path = objects_dir().join(format!("{name}.bpf.o"));
        let bytes = std::fs::read(&path).expect("the object can be read");
        let plan = skelgen::unstable::plan(&bytes, &Options::for_file(&path)).expect("the object has a plan");
        let lowered = lower(&plan).expect("the plan can be lowered");
        let is_unseen = |at: &usize| {
            let mut changed = lowered.clone();
            changed.table.bytes[*at] ^= 1;
            compare(&plan, &changed).is_ok()
        };
        let words = lowered.table.bytes.len() / 4;
        let unseen = (0..words).map(|word| word * 4).filter(is_unseen).count();
        assert!(unseen * 7 < words, "{name}: {unseen} of {words} words can change");
    }
}

#[test]
fn a_table_of_another_plan_differs() {
    let plan_of = |name: &str| {
        let path = objects_dir().join(format!("{name}.bpf.o"));
        let bytes = std::fs::read(&path).expect("the object can be read");
        skelgen::unstable::plan(&bytes, &Options::for_file(&path)).expect("the object has a plan")
    };
    let (tiny, medium) = (plan_of("tiny"), plan_of("medium"));
    assert_eq!(compare(&tiny, &lower(&tiny).expect("it can be lowered")), Ok(()));
    assert!(compare(&tiny, &lower(&medium).expect("it can be lowered")).is_err());
    let mut without_license = medium.clone();
    without_license.object.license = c"other".into();
    let difference = compare(&without_license, &lower(&medium).expect("it can be lowered")).expect_err("it differs");
    assert!(difference.contains("the license"), "{difference}");
}
