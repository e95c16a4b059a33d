//! Golden tests of the committed objects at three phases: model, plan and Rust. A difference shows which phase changed.
//!
//! The expected files are in fixtures/corpus/expected; fixtures/corpus compiles the Rust files. To accept a change, run
//! `SKELGEN_BLESS=1 cargo test -p skelgen --test golden` and read the difference. Comments in the fixture sources set
//! the options of the generator.

use skelgen::unstable::loader::with_loader;
use skelgen::{Loader, Options};
use skelgen_corpus::directives::Directives;
use skelgen_corpus::golden;
use skelgen_corpus::objects::{expected_dir, listed, objects_dir};

/// Compares or accepts the output of one phase, and reports every object that differs.
fn compare<T: AsRef<[u8]>>(extension: &str, make: impl Fn(&[u8], &Options) -> skelgen::Result<T>) {
    let mut wrong = Vec::new();
    let names = listed(objects_dir(), ".bpf.o").expect("the objects are committed");
    assert!(!names.is_empty(), "cannot find objects to test with");
    for name in names {
        let path = objects_dir().join(format!("{name}.bpf.o"));
        let bytes = std::fs::read(&path).expect("the object can be read");
        let directives = Directives::of(&name).unwrap_or_else(|error| panic!("{error}"));
        let mut options = Options::for_file(&path);
        options.optional_maps = directives.optional_maps;
        options.untyped_maps = directives.untyped_maps;
        options.records = directives.records;
        if directives.loader_program {
            options.loader = Loader::Program;
        }
        let (made, again) = (make(&bytes, &options), make(&bytes, &options));
        let bytes_of = |made: &skelgen::Result<T>| match made {
            Ok(made) => made.as_ref().to_vec(),
            Err(error) => format!("{error}\n").into_bytes(),
        };
        let actual = bytes_of(&made);
        assert!(actual == bytes_of(&again), "{}: two runs differ", path.display());
        let expected = match (&made, &directives.refused) {
            (Err(error), Some(code))
                if error.diagnostics().iter().any(|diagnostic| diagnostic.code().as_str() == *code) =>
            {
                match extension {
                    "rs" => format!("{name}.refused.txt"),
                    "blob" => continue,
                    _ => format!("{name}.{extension}"),
                }
            }
            (Err(error), Some(code)) => {
                wrong.push(format!("{name} is rejected, but not with {code} as its source states: {error}"));
                continue;
            }
            (Err(error), None) => {
                wrong.push(format!(
                    "{name} is rejected, but its source does not state `fixture: refused CODE`: {error}"
                ));
                continue;
            }
            (Ok(_), Some(code)) if extension == "rs" => {
                wrong.push(format!("{name} is not rejected, but its source states `fixture: refused {code}`"));
                continue;
            }
            (Ok(_), _) => format!("{name}.{extension}"),
        };
        wrong.extend(golden::check(&expected_dir().join(expected), &actual).err());
    }
    assert!(wrong.is_empty(), "{}\nrun with {}=1 to accept", wrong.join("\n"), golden::BLESS);
}

#[test]
fn model() {
    compare("model.txt", |bytes, options| Ok(skelgen::inspect(bytes, options)?.to_string()));
}

#[test]
fn plan() {
    compare("plan.txt", |bytes, options| Ok(skelgen::plan(bytes, options)?.to_string()));
}

#[test]
fn rust() {
    compare("rs", |bytes, options| Ok(without_blob(&skelgen::generate(bytes, options)?, &options.name).0));
}

/// Compares the blobs of generated files with those of the plans, which must be equal. A change is readable in the
/// plan.
#[test]
fn blobs() {
    compare("blob", |bytes, options| {
        let (_, blob) = without_blob(&skelgen::generate(bytes, options)?, &options.name);
        let plan = skelgen::unstable::plan(bytes, options)?;
        let plan = if options.loader == Loader::Program { with_loader(plan)? } else { plan };
        assert!(plan.object.blob == blob, "{}: the plan has a different blob", options.name);
        Ok(blob)
    });
}

/// Splits a generated file into its text, with the blob's literal replaced by an include, and the bytes of the literal.
fn without_blob(text: &str, name: &str) -> (String, Vec<u8>) {
    const BEFORE: &str = "rt::generated::abi::Blob(*";
    let begin = text.find(BEFORE).expect("it has a blob") + BEFORE.len();
    let (before, rest) = text.split_at(begin);
    let literal = rest.strip_suffix(");\n").expect("the blob ends the file");
    let blob = syn::parse_str::<syn::LitByteStr>(literal).expect("the blob is a literal").value();
    (format!("{before}include_bytes!({:?}));\n", format!("{name}.blob")), blob)
}
