//! What skelgen makes of the committed objects, at three seams: model, plan and Rust. A difference says which phase moved.
//!
//! The expected files are in fixtures/expected; the Rust ones are compiled by the fixtures package. To accept a change, run
//! `SKELGEN_BLESS=1 cargo test -p skelgen --test golden` and read the difference.

use std::fs;
use std::path::{Path, PathBuf};

use skelgen::Options;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures")
}

fn objects() -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(fixtures().join("objects"))
        .expect("the objects are committed")
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "o"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "there are no objects to test with");
    paths
}

/// Compares all of one seam, or accepts it, and reports every object that differs.
fn compare<T: AsRef<[u8]> + From<String> + PartialEq>(
    extension: &str,
    make: impl Fn(&[u8], &Options) -> skelgen::Result<T>,
) {
    let bless = std::env::var_os("SKELGEN_BLESS").is_some();
    let mut wrong = Vec::new();
    for path in objects() {
        let mut options = Options::for_file(&path);
        if options.name == "pins" {
            options.optional_maps.push("extra".to_owned());
        }
        if options.name == "chosen" {
            options.untyped_maps.push("events".to_owned());
        }
        let bytes = fs::read(&path).expect("the object can be read");
        let text = || make(&bytes, &options).unwrap_or_else(|error| format!("{error}\n").into());
        let (actual, again) = (text(), text());
        assert!(actual == again, "{}: two runs differ", path.display());
        let expected = fixtures().join("expected").join(format!("{}.{extension}", options.name));
        if bless {
            fs::write(&expected, &actual).expect("the expected file can be written");
            continue;
        }
        let old = fs::read(&expected).unwrap_or_default();
        if old != actual.as_ref() {
            let [old, actual] = [&old, actual.as_ref()].map(String::from_utf8_lossy);
            let line = old.lines().zip(actual.lines()).position(|(old, new)| old != new);
            let line = line.unwrap_or(old.lines().count().min(actual.lines().count()));
            wrong.push(format!(
                "{} line {}\n  expected: {}\n  actual:   {}",
                expected.display(),
                line + 1,
                old.lines().nth(line).unwrap_or("(end)"),
                actual.lines().nth(line).unwrap_or("(end)")
            ));
        }
    }
    assert!(wrong.is_empty(), "{}\nrun with SKELGEN_BLESS=1 to accept", wrong.join("\n"));
}

#[test]
fn model() {
    compare("model.txt", |bytes, options| Ok(skelgen::inspect(bytes, options)?.summary(options.percpu).to_string()));
}

#[test]
fn plan() {
    compare("plan.txt", |bytes, options| Ok(skelgen::plan(bytes, options)?.to_string()));
}

#[test]
fn rust() {
    compare("rs", |bytes, options| Ok(without_blob(&skelgen::generate(bytes, options)?, &options.name).0));
}

/// The blobs of the generated files, which the plan's objects hold too. One that differs shows in the plan.
#[test]
fn blobs() {
    compare("blob", |bytes, options| {
        let (_, blob) = without_blob(&skelgen::generate(bytes, options)?, &options.name);
        assert!(skelgen::plan(bytes, options)?.object.blob == blob, "{}: the plan has another blob", options.name);
        Ok(blob)
    });
}

/// A generated file in which the blob's literal is a file beside it, and the bytes of the literal: nobody reads those.
fn without_blob(text: &str, name: &str) -> (String, Vec<u8>) {
    const BEFORE: &str = "rt::abi::Blob(*";
    let begin = text.find(BEFORE).expect("it has a blob") + BEFORE.len();
    let (before, rest) = text.split_at(begin);
    let literal = rest.strip_suffix(");\n").expect("the blob ends the file");
    let blob = syn::parse_str::<syn::LitByteStr>(literal).expect("the blob is a literal").value();
    (format!("{before}include_bytes!({:?}));\n", format!("{name}.blob")), blob)
}
