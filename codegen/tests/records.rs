//! Types of records: those in map definitions, and those in options.

use std::path::Path;
use std::process::Command;

use skelgen::{Code, Options};

fn object() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/corpus/objects/records.bpf.o")
}

/// Generates the skeleton with types of records, as pairs of names.
fn generate(records: &[(&str, &str)], untyped: &[&str]) -> Result<String, (Code, String)> {
    let bytes = std::fs::read(object()).expect("the object is committed");
    let mut options = Options::for_file(object());
    options.records.extend(records.iter().map(|(map, ty)| ((*map).to_owned(), (*ty).to_owned())));
    options.untyped_maps.extend(untyped.iter().map(|&name| name.to_owned()));
    skelgen::generate(&bytes, &options).map_err(|error| (error.diagnostics()[0].code(), error.to_string()))
}

fn handle(text: &str, map: &str) -> String {
    let line = text.lines().find(|line| line.trim_start().starts_with(&format!("map {map}: rt::map::")));
    let line = line.unwrap_or_else(|| panic!("{map} has no line"));
    line.split_once("rt::map::").and_then(|(_, rest)| rest.split(" =").next()).unwrap_or_default().to_owned()
}

#[test]
fn options_name_types_in_c() {
    for (name, ty) in [
        ("sample", "types::sample"),
        (" struct  sample ", "types::sample"),
        ("enum kind", "types::kind"),
        ("u64", "u64"),
        ("unsigned long long", "u64"),
        ("int", "i32"),
    ] {
        let text = generate(&[("samples", name)], &[]).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(handle(&text, "samples"), format!("RingBuf<{ty}>"), "{name}");
    }
    // An option replaces the type in the definition, and also applies to perf event arrays with the usual definition.
    let text = generate(&[("events", "header"), ("plain", "header")], &[]).expect("the options are valid");
    assert_eq!(handle(&text, "events"), "RingBuf<types::header>");
    assert_eq!(handle(&text, "plain"), "PerfEventArray<types::header>");
    assert_eq!((handle(&text, "samples"), handle(&text, "lines")), ("RingBuf".to_owned(), "RingBuf".to_owned()));
}

#[test]
fn options_that_do_not_match_the_object_are_rejected() {
    for (records, untyped, code, part) in [
        (&[("no_map", "sample")][..], &[][..], Code::BadOptions, "an option names map `no_map`"),
        (&[("rodata", "sample")], &[], Code::BadOptions, "an option names map `rodata`"),
        (&[(".rodata", "sample")], &[], Code::BadOptions, "map `.rodata` of type array has no records"),
        (
            &[("samples", "no_type")],
            &[],
            Code::NoSuchType,
            "an option sets record type `no_type` for map `samples`, but the object has no such type",
        ),
        (&[("samples", "smaple")], &[], Code::NoSuchType, "the object has `sample`"),
        (&[("samples", "union sample")], &[], Code::NoSuchType, "`union sample`"),
        (&[("samples", "")], &[], Code::NoSuchType, "record type ``"),
        (&[("samples", "line")], &[], Code::BadOptions, "records of map `samples`: type `line` has no fixed size"),
        (&[("samples", "sample"), ("samples", "event")], &[], Code::BadOptions, "two record types"),
        (&[("samples", "sample")], &["samples"], Code::BadOptions, "untyped handle"),
    ] {
        let (found, text) = generate(records, untyped).expect_err(part);
        assert!(found == code && text.contains(part), "{text}");
    }
}

#[test]
fn one_of_several_inputs_has_the_map_and_the_type() {
    let directory = tempfile::tempdir().expect("a directory");
    let build = |map: &str, ty: &str| {
        let builder = skelgen::Builder::new().object(object()).object(object().with_file_name("counters.bpf.o"));
        builder.out_dir(directory.path()).record(map, ty).build().map_err(|error| error.code())
    };
    let text = |name: &str| std::fs::read_to_string(directory.path().join(name)).expect("it was generated");
    // Both objects have a map `events`, and one of them has the type.
    assert_eq!(build("events", "header"), Ok(()));
    assert_eq!(handle(&text("records.skel.rs"), "events"), "RingBuf<types::header>");
    assert_eq!(handle(&text("counters.skel.rs"), "events"), "RingBuf");
    assert_eq!(build("events", "no_type"), Err(Code::NoSuchType));
    assert_eq!(build("no_map", "header"), Err(Code::BadOptions));
}

#[test]
#[cfg(feature = "cli")]
fn arguments_name_a_map_and_a_type() {
    let run = |argument: &str| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_skelgen")).args(["gen", "--record", argument]).arg(object()).output();
        let output = output.expect("the tool can be run");
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let (status, text) = run("samples=struct sample");
    assert_eq!((status, handle(&text, "samples")), (Some(0), "RingBuf<types::sample>".to_owned()));
    for wrong in ["samples", "=sample", "samples="] {
        let (status, text) = run(wrong);
        assert!(status == Some(2) && text.contains("names of a map and of a type"), "{text}");
    }
    let (status, text) = run("samples=none");
    assert!(status == Some(1) && text.contains("SK0704"), "{text}");
}
