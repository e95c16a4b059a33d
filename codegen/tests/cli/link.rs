//! `skelgen link`: its output for two fixtures, and its errors.

use skelgen_corpus::golden;

use super::tool::{self, skelgen};

const BOTH: [&str; 2] = ["linked_probe.bpf.o", "linked_store.bpf.o"];

/// Links files in a directory with the committed objects, and returns the object.
fn linked(directory: &std::path::Path, objects: &[&str]) -> Vec<u8> {
    let output = directory.join("linked.bpf.o");
    let path = output.to_str().expect("it is UTF-8");
    let run = skelgen(&[&["link"], objects, &["-o", path]].concat()).run();
    assert_eq!((run.status, run.stderr.as_str()), (0, ""), "{objects:?}");
    std::fs::read(output).expect("it was written")
}

#[test]
fn the_order_of_objects_does_not_matter() {
    let directory = tempfile::tempdir().expect("a directory");
    let (one, other) = (linked(directory.path(), &BOTH), linked(directory.path(), &[BOTH[1], BOTH[0]]));
    assert!(one == other);
    // A linked object can be linked again.
    let path = directory.path().join("first.bpf.o");
    std::fs::write(&path, &one).expect("the directory can be written");
    let again = linked(directory.path(), &[path.to_str().expect("it is UTF-8")]);
    let plan = |bytes: &[u8]| {
        skelgen::plan(bytes, &skelgen::Options::for_file("linked")).expect("the object is complete").to_string()
    };
    assert_eq!(plan(&again), plan(&one));
    let path = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cli/expected/link-plan.txt");
    if let Err(difference) = golden::check(&path, plan(&one).as_bytes()) {
        panic!("{difference}");
    }
}

/// Of an archive, only the objects that define missing names are linked.
#[test]
fn archives_are_searched() {
    let directory = tempfile::tempdir().expect("a directory");
    let object = |name: &'static str| (name, std::fs::read(tool::objects().join(name)).expect("it is committed"));
    let archive = |name: &str, members: &[(&str, Vec<u8>)]| {
        let mut bytes = b"!<arch>\n".to_vec();
        for (name, data) in members {
            // The fields of a member: name, time, owner, group, mode, size.
            let name = format!("{name:.14}/");
            bytes.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 644, data.len()).bytes());
            bytes.extend(data);
            bytes.resize(bytes.len().next_multiple_of(2), b'\n');
        }
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).expect("the directory can be written");
        path.to_str().expect("it is UTF-8").to_owned()
    };
    let both = linked(directory.path(), &BOTH);
    let library = archive("library.a", &[object("counters.bpf.o"), object(BOTH[1])]);
    assert!(linked(directory.path(), &[BOTH[0], &library]) == both);
    assert!(linked(directory.path(), &[&archive("all.a", &BOTH.map(object))]) == both);

    let run = skelgen(&["link", BOTH[0], &archive("other.a", &[object("counters.bpf.o")])]).run();
    assert!(run.status == 1 && run.stderr.contains("no file defines `keep`"), "{}", run.stderr);
    let text = archive("text.a", &[("readme", b"text".to_vec())]);
    let run = skelgen(&["link", BOTH[0], &text]).run();
    assert!(run.status == 1 && run.stderr.contains("text.a(readme)"), "{}", run.stderr);
}

#[test]
fn files_and_users_are_named_in_errors() {
    for (objects, texts) in [
        (
            &["linked_probe.bpf.o"][..],
            &["SK0902", "`keep`", "`twice` (linked_probe.bpf.o)", "`probe` (linked_probe.bpf.o)"][..],
        ),
        (
            &["counters.bpf.o", "globals.bpf.o", "counters.bpf.o"],
            &["SK0901", "`count` is defined in counters.bpf.o and in"],
        ),
        (&["missing.bpf.o", "counters.bpf.o"], &["SK0701", "missing.bpf.o"]),
        (&["counters.bpf.o", "/dev/null"], &["SK0101", "/dev/null"]),
    ] {
        let run = skelgen(&[&["link"], objects].concat()).run();
        let has = texts.iter().all(|text| run.stderr.contains(text));
        assert!((run.status, run.stdout.as_str()) == (1, "") && has, "{objects:?}: {}", run.stderr);
    }
    assert_eq!(skelgen(&["link"]).run().status, 2);
}
