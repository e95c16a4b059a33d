//! Tests of files of types, and of types that are requested by name or as contexts of programs.

use std::path::{Path, PathBuf};

use skelgen::{Builder, Code, Layout, Options};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../fixtures/corpus/objects/{name}.bpf.o"))
}

fn object(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).expect("the object is committed")
}

fn options(name: &str, types: &[&str]) -> Options {
    let mut options = Options::for_file(path(name));
    options.types = types.iter().map(|name| (*name).to_owned()).collect();
    options
}

#[test]
fn a_file_has_every_type_in_one_order() {
    let bytes = object("layouts");
    let file = skelgen::unstable::types(&bytes, &options("layouts", &[])).expect("the types can be written");
    assert_eq!(file.covered, file.structs + file.unions + file.enums);
    assert!(file.structs > 50 && file.unions > 10 && file.enums >= 10);
    let again = skelgen::types(&bytes, &options("layouts", &[])).expect("the types can be written");
    assert_eq!(file.text, again);
    let mut inline = options("layouts", &[]);
    inline.layout = Layout::Module;
    let module = skelgen::types(&bytes, &inline).expect("the types can be written");
    assert!(module.contains("pub mod layouts {") && module.ends_with("}\n"));
}

#[test]
fn some_types_and_what_they_contain() {
    let file = skelgen::types(&object("layouts"), &options("layouts", &["struct other", "ordinary_t"]));
    let text = file.expect("the types exist");
    for there in ["pub struct other: ", "pub struct node: ", "pub struct ordinary: ", "pub type ordinary_t = ordinary;"]
    {
        assert!(text.contains(there), "{there}");
    }
    assert!(!text.contains("pub struct numbers"));
}

#[test]
fn a_missing_type_is_reported() {
    for wrong in ["nothing_like_it", "union other", "struct only_declared", "", "struct a b"] {
        let file = skelgen::unstable::types(&object("layouts"), &options("layouts", &[wrong]));
        let error = file.map(|file| file.covered).expect_err(wrong);
        assert_eq!(error.diagnostics()[0].code(), Code::NoSuchType);
        assert!(error.to_string().contains(&format!("`{wrong}`")), "{error}");
    }
    let error = skelgen::generate(&object("tiny"), &options("tiny", &["event"])).expect_err("the object has no event");
    assert_eq!(error.diagnostics()[0].code(), Code::NoSuchType);
}

#[test]
fn a_skeleton_has_contexts_and_named_types_on_request() {
    let bytes = object("kinds");
    let without = skelgen::generate(&bytes, &options("kinds", &[])).expect("the object is valid");
    assert!(!without.contains("pub struct bpf_iter__task"));
    let mut with = options("kinds", &["struct bpf_iter_meta"]);
    with.contexts = true;
    let with = skelgen::generate(&bytes, &with).expect("the object is valid");
    assert!(with.contains("pub struct bpf_iter__task: ") && with.contains("pub struct bpf_iter_meta: "));
    let directory = tempfile::tempdir().expect("a directory can be made");
    Builder::new()
        .object(path("kinds"))
        .context_types()
        .out_dir(directory.path())
        .build()
        .expect("the object is valid");
    let text = std::fs::read_to_string(directory.path().join("kinds.skel.rs")).expect("it was written");
    assert!(text.contains("pub struct bpf_iter__task: "));
}

#[test]
fn the_path_of_the_runtime_can_be_set() {
    let bytes = object("typed");
    let mut there = options("typed", &[]);
    there.runtime = "crate::bpf::runtime".to_owned();
    let skeleton = skelgen::generate(&bytes, &there).expect("the object is valid");
    let types = skelgen::types(&bytes, &there).expect("the types can be written");
    assert!([skeleton, types].iter().all(|text| text.contains("\nuse crate::bpf::runtime as rt;\n")));
    for wrong in ["", "a b", "::a;", "a::", "1"] {
        there.runtime = wrong.to_owned();
        let error = skelgen::generate(&bytes, &there).expect_err(wrong);
        assert_eq!(error.diagnostics()[0].code(), Code::BadName);
        assert!(skelgen::types(&bytes, &there).is_err());
    }
    let directory = tempfile::tempdir().expect("a directory can be made");
    Builder::new().object(path("tiny")).runtime("::rt").out_dir(directory.path()).build().expect("the object is valid");
    let text = std::fs::read_to_string(directory.path().join("tiny.skel.rs")).expect("it was written");
    assert!(text.contains("    use ::rt as rt;\n"));
}

#[test]
fn one_of_several_inputs_must_have_a_type() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let builder = || Builder::new().object(path("tiny")).object(path("kinds")).out_dir(directory.path());
    builder().type_named("bpf_iter_meta").build().expect("one of them has it");
    let error = builder().type_named("bpf_iter_meta").type_named("event").build().expect_err("none has it");
    assert!(error.to_string().contains("`event`") && !error.to_string().contains("bpf_iter_meta`"), "{error}");
}

#[test]
fn invisible_variables_are_omitted() {
    let text = skelgen::generate(&object("globals"), &options("globals", &[])).expect("the object is valid");
    for seen in ["=> in_u8: u8,", "=> may_be_overridden: u32,", "=> custom: u32,", "=> custom_zero: "] {
        assert!(text.contains(seen), "{seen}");
    }
    for unseen in ["=> file_local", "=> not_for_others", "=> private_total"] {
        assert!(!text.contains(unseen), "{unseen}");
    }
}

#[test]
fn members_of_shared_variables_are_cells_and_those_of_constants_are_not() {
    let text = skelgen::generate(&object("globals"), &options("globals", &[])).expect("the object is valid");
    let cells = text.split("pub mod cells {").nth(1).expect("there are cells");
    assert!(cells.contains("=> left: u16,"));
    assert!(cells.contains("=> inner: [super::padded; 2],"));
    let text = skelgen::generate(&object("tiny"), &options("tiny", &[])).expect("the object is valid");
    assert!(!text.contains("pub mod cells {"));
}

/// Returns the definitions of structs in generated text, by name.
fn definitions(text: &str) -> std::collections::BTreeMap<&str, &str> {
    let starts = text.match_indices("pub struct ").map(|(at, word)| (at, &text[at + word.len()..]));
    starts
        .filter_map(|(at, rest)| {
            let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '#').next()?;
            let body = &text[at..];
            Some((name, &body[..body.find("\n}").unwrap_or(body.len())]))
        })
        .collect()
}

/// The Rust text of a type is the same whether it is generated alone or with all other types of the object.
#[test]
fn a_type_is_written_the_same_without_the_others() {
    let mut compared = 0;
    for name in ["layouts", "globals", "bitfields", "core"] {
        let bytes = object(name);
        let whole = skelgen::types(&bytes, &options(name, &[])).expect("the types can be written");
        let whole = definitions(&whole);
        let known: Vec<&str> = whole.keys().copied().collect();
        for wanted in known {
            let c_name = wanted.trim_start_matches("r#");
            let Ok(alone) = skelgen::types(&bytes, &options(name, &[c_name])) else {
                // Skip a type whose Rust name differs from its C name: the type is anonymous, or the name is ambiguous
                // or reserved.
                continue;
            };
            for (ty, definition) in definitions(&alone) {
                assert_eq!(whole.get(ty), Some(&definition), "{name}: `{ty}`, from `{wanted}` alone");
                compared += 1;
            }
        }
    }
    assert!(compared > 100, "{compared}");
}
