//! Tests with objects that are compiled here: for big-endian machines, and with large zero data.

use std::path::{Path, PathBuf};
use std::process::Command;

use skelgen::unstable::insn::{Endian, disassemble};
use skelgen::unstable::{inspect, plan};
use skelgen::{Options, generate};

/// Returns the object of a fixture source, compiled for this target; `None` without the compiler.
fn compile(name: &str, target: &str) -> Option<Vec<u8>> {
    compile_file(&Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../fixtures/corpus/bpf/{name}.bpf.c")), target)
}

fn compile_file(source: &Path, target: &str) -> Option<Vec<u8>> {
    let directory = tempfile::tempdir().expect("a directory");
    let object: PathBuf = directory.path().join("object.o");
    let mut command = Command::new("clang-19");
    command.args(["-g", "-O2", "-mcpu=v3", "-target", target, "-c"]).arg(source).arg("-o").arg(&object);
    match command.status() {
        Ok(status) => {
            assert!(status.success(), "{} does not compile", source.display());
            Some(std::fs::read(object).expect("the compiler wrote it"))
        }
        Err(error) => {
            eprintln!("skipped: clang-19 cannot be run: {error}");
            None
        }
    }
}

#[test]
fn a_source_has_the_same_code_in_both_byte_orders() {
    for name in ["subprogs", "medium", "percpu"] {
        let (Some(little), Some(big)) = (compile(name, "bpfel"), compile(name, "bpfeb")) else { return };
        let options = Options::for_file(name);
        let objects = [&little, &big].map(|bytes| inspect(bytes, &options).expect("the object is valid"));
        assert_eq!(objects.each_ref().map(|object| object.endian), [Endian::Little, Endian::Big]);
        let [little_code, big_code] = objects.map(|object| {
            let code = object.functions.iter().map(|function| disassemble(&function.code.insns));
            code.collect::<Vec<_>>()
        });
        assert_eq!(little_code, big_code, "{name}");
        // Printing a plan decodes the instructions that the kernel gets.
        let code = |bytes| {
            let text = plan(bytes, &options).expect("the object is valid").to_string();
            text.split_once("\nprogram ").map(|(_, code)| code.to_owned()).expect("it has programs")
        };
        assert_eq!(code(&little), code(&big), "{name}");
        let btf = plan(&big, &options).expect("the object is valid").object;
        let span = btf.btf.expect("it has types");
        assert_eq!(btf.blob[span.offset as usize..][..2], [0xeb, 0x9f], "BTF is in the object's order");
    }
}

#[test]
fn a_file_asserts_the_byte_order_of_its_target() {
    let Some(big) = compile("subprogs", "bpfeb") else { return };
    let text = generate(&big, &Options::for_file("subprogs")).expect("the object is valid");
    assert!(text.contains("= tables::OBJECT, endian \"big\";"));
}

/// The addresses in initial values are unknown until the programs run, and no loader sets them. All outputs mention
/// these variables.
#[test]
fn addresses_in_initial_values_are_reported() {
    let directory = tempfile::tempdir().expect("a directory");
    let source = directory.path().join("addresses.bpf.c");
    let text = "char LICENSE[] __attribute__((section(\"license\"), used)) = \"GPL\";\nint there = 1, plain = 2;\n\
                struct { int first; int *where; } holds = { 3, &there };\nstatic const char *volatile words[] = { \"a\", \"b\" };\n\
                __attribute__((section(\"raw_tp\"), used)) int count(void *ctx) { return *words[*holds.where] + plain; }\n";
    std::fs::write(&source, text).expect("it can be written");
    let Some(object) = compile_file(&source, "bpfel") else { return };
    let options = Options::for_file("addresses.bpf.o");
    let model = inspect(&object, &options).expect("the object is valid");
    let warnings = model.warnings().join("\n");
    assert!(warnings.contains("section .data: the initial value of `holds`, `words` contains addresses"), "{warnings}");
    let summary = model.summary(options.percpu).to_string();
    let with = |name: &str| summary.lines().any(|line| line.contains(name) && line.contains("with addresses"));
    assert!(with(" holds,") && with(" words[2],") && !with(" plain") && !with(" there"), "{summary}");
    let text = generate(&object, &options).expect("the object is valid");
    let lines = text.lines().filter(|line| line.contains("addresses in its initial value are not set"));
    assert_eq!(lines.map(|line| line.contains(" holds`; ")).collect::<Vec<_>>(), [true]);
    let plain = inspect(&compile("subprogs", "bpfel").expect("there is a compiler"), &options);
    assert!(plain.is_ok_and(|object| object.warnings().is_empty()));
}

/// The size of a skeleton does not depend on the amount of zero data.
#[test]
fn zeros_take_no_space() {
    let skeleton = |words: u32| {
        let directory = tempfile::tempdir().expect("a directory");
        let source = directory.path().join("zeros.bpf.c");
        let text = format!(
            "char LICENSE[] __attribute__((section(\"license\"), used)) = \"GPL\";\nint words[{words}];\n\
             __attribute__((section(\"raw_tp\"), used)) int count(void *ctx) {{ return words[{}]++; }}\n",
            words - 1
        );
        std::fs::write(&source, text).expect("it can be written");
        let object = compile_file(&source, "bpfel")?;
        Some(generate(&object, &Options::for_file("zeros")).expect("the object is valid"))
    };
    let (Some(small), Some(large)) = (skeleton(4), skeleton(4 << 20)) else { return };
    assert!(large.len() < small.len() + 200, "{} and {} bytes", small.len(), large.len());
}

/// A file name that is not UTF-8 is an error and does not corrupt the output.
#[test]
fn a_source_with_a_name_that_is_not_utf8_is_reported() {
    use std::os::unix::ffi::OsStrExt;
    let directory = tempfile::tempdir().expect("a directory");
    let source = directory.path().join(std::ffi::OsStr::from_bytes(b"x\xff\x1b.bpf.c"));
    std::fs::write(&source, "int there = 1;\n").expect("it can be written");
    let Some(object) = compile_file(&source, "bpfel") else { return };
    let error = inspect(&object, &Options::for_file("x")).expect_err("the name is not text");
    let text = error.to_string();
    assert_eq!(error.diagnostics().len(), 1);
    assert!(text.contains("error[SK0106]: name `x\\xff\\x1b.bpf.c` of the source file is not UTF-8"), "{text}");
    assert!(!text.contains("damaged"), "{text}");
}
