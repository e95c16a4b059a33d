//! What skelgen makes of the committed objects, at three seams: model, plan and Rust. A difference says which phase moved.
//!
//! The expected files are in fixtures/corpus/expected; the Rust ones are compiled by fixtures/corpus. To accept a change, run
//! `SKELGEN_BLESS=1 cargo test -p skelgen --test golden` and read the difference.

use std::fs;
use std::path::{Path, PathBuf};

use skelgen::Options;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/corpus")
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
fn compare(extension: &str, make: impl Fn(&[u8], &Options) -> skelgen::Result<String>) {
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
        let text = || make(&bytes, &options).unwrap_or_else(|error| format!("{error}\n"));
        let (actual, again) = (text(), text());
        assert!(actual == again, "{}: two runs differ", path.display());
        let expected = fixtures().join("expected").join(format!("{}.{extension}", options.name));
        if bless {
            fs::write(&expected, &actual).expect("the expected file can be written");
        } else if fs::read_to_string(&expected).ok().as_deref() != Some(actual.as_str()) {
            let old = fs::read_to_string(&expected).unwrap_or_default();
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
    compare("rs", skelgen::generate);
}
